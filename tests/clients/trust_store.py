"""
Make Chromium trust an authority: python trust_store.py FOLDER PEM, with FOLDER that of its NSS store.

Browsers on Linux keep what a user trusts in a store of NSS, `$HOME/.pki/nssdb`. The usual tool for it, certutil, is in
a package that Chromium does not need; the library is in one that it does. Run as a process of its own, as NSS keeps
one store for each process.
"""

from __future__ import annotations

import ctypes
import ssl
import sys
from pathlib import Path


class Item(ctypes.Structure):
    """NSS's SECItem."""

    _fields_ = [("type", ctypes.c_int), ("data", ctypes.c_char_p), ("len", ctypes.c_uint)]


class Trust(ctypes.Structure):
    """NSS's CERTCertTrust."""

    _fields_ = [("ssl", ctypes.c_uint), ("email", ctypes.c_uint), ("object", ctypes.c_uint)]


def trust(folder: Path, pem: Path) -> None:
    """Put the authority into the store, which is made, trusted for servers."""
    folder.mkdir(parents=True)
    nss = ctypes.CDLL("libnss3.so")
    pointer = ctypes.c_void_p
    for name in ("PK11_GetInternalKeySlot", "CERT_GetDefaultCertDB", "CERT_NewTempCertificate"):
        getattr(nss, name).restype = pointer
    nss.PK11_InitPin.argtypes = [pointer, ctypes.c_char_p, ctypes.c_char_p]
    nss.CERT_NewTempCertificate.argtypes = [pointer, pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
    nss.PK11_ImportCert.argtypes = [pointer, pointer, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
    nss.CERT_ChangeCertTrust.argtypes = [pointer, pointer, pointer]
    _check(nss.NSS_InitReadWrite(f"sql:{folder}".encode()))
    slot = nss.PK11_GetInternalKeySlot()
    _check(nss.PK11_InitPin(slot, None, None))
    der = ssl.PEM_cert_to_DER_cert(pem.read_text())
    item = Item(0, der, len(der))
    certificate = nss.CERT_NewTempCertificate(nss.CERT_GetDefaultCertDB(), ctypes.byref(item), None, 0, 1)
    _check(nss.PK11_ImportCert(slot, certificate, 0, b"gceshim", 0))
    servers = Trust()
    _check(nss.CERT_DecodeTrustString(ctypes.byref(servers), b"C,,"))
    _check(nss.CERT_ChangeCertTrust(nss.CERT_GetDefaultCertDB(), certificate, ctypes.byref(servers)))
    nss.CERT_DestroyCertificate(pointer(certificate))
    nss.PK11_FreeSlot(pointer(slot))
    _check(nss.NSS_Shutdown())


def _check(status: int) -> None:
    if status != 0:
        raise SystemExit("NSS refuses")


if __name__ == "__main__":
    trust(Path(sys.argv[1]), Path(sys.argv[2]))
