"""
A certificate authority for one server, and that server's certificate.

The authority is narrow: it signs no other authority (`pathlen` 0), and vouches for the names that it was made for and
for nothing else (name constraints). Whoever steals its key cannot pose as any other site to those who trust it.

Source: RFC 5280 sections 4.2.1.6, 4.2.1.9, 4.2.1.10; what OpenSSL's X509_V_FLAG_X509_STRICT asks for, which Python's
`ssl` sets from 3.13 on; browsers take no server certificate that is good for more than 398 days.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

LOCAL: Final = ("localhost", "127.0.0.1", "::1")
MOST_DAYS: Final = 397
AUTHORITY_DAYS: Final = 3650
RSA_BITS: Final = 2048
EARLIER: Final = timedelta(hours=1)
"""Clocks of clients that are slow take a new certificate too."""

_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: Key

    @property
    def certificate_pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def parse_host(text: str) -> str:
    """
    A host in the form that certificates hold: an IP address, a DNS name, or `*.` and a DNS name, in lower case.

    :raises ValueError: it is none of these.
    """
    text = text.strip().lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    labels = text.removeprefix("*.").split(".")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError(f"{text!r} is no host name and no IP address")
    return text


def make_authority(hosts: Sequence[str], now: datetime, *, use_rsa: bool = False) -> Pair:
    """An authority for these hosts (see `parse_host`), good for ten years."""
    key = _new_key(use_rsa)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"gceshim authority {secrets.token_hex(4)}")])
    certificate = (
        _begun(name, name, key, now, now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.NameConstraints([_subtree(host) for host in hosts], None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    return Pair(certificate, key)


def make_server(authority: Pair, hosts: Sequence[str], now: datetime, days: int, *, use_rsa: bool = False) -> Pair:
    """
    A server's certificate for these hosts, with a key of its own; never good for longer than the authority.

    :raises ValueError: the authority does not vouch for one of the hosts, or is no longer good.
    """
    if now >= authority.certificate.not_valid_after_utc:
        raise ValueError("the authority is no longer good")
    if foreign := [host for host in hosts if not vouches_for(authority.certificate, host)]:
        raise ValueError(f"the authority was not made for {', '.join(foreign)}")
    key = _new_key(use_rsa)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    until = min(now + timedelta(days=min(days, MOST_DAYS)) - EARLIER, authority.certificate.not_valid_after_utc)
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _begun(name, authority.certificate.subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False, use_rsa=use_rsa), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority.key, SHA256())
    )
    return Pair(certificate, key)


def load(certificate_pem: bytes, key_pem: bytes) -> Pair:
    """
    A certificate and its key from PEM.

    :raises ValueError: they cannot be read, or do not belong together.
    """
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    try:
        key = load_pem_private_key(key_pem, None)
    except TypeError as exc:
        raise ValueError("the key is encrypted") from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError("the key is neither RSA nor of an elliptic curve")  # noqa: TRY004 it is a file's content
    if key.public_key() != certificate.public_key():
        raise ValueError("the key is not that of the certificate")
    return Pair(certificate, key)


def names(certificate: x509.Certificate) -> list[str]:
    """The hosts that a certificate is for, in the form of `parse_host`."""
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    found = [name.lower() for name in alternative.get_values_for_type(x509.DNSName)]
    return found + [str(address) for address in alternative.get_values_for_type(x509.IPAddress)]


def covers(certificate: x509.Certificate, host: str) -> bool:
    """Whether clients take the certificate for this host: an exact name, or one label in the place of a `*`."""
    host = parse_host(host)
    there = names(certificate)
    return host in there or ("." in host and not _is_address(host) and f"*.{host.partition('.')[2]}" in there)


def vouches_for(authority: x509.Certificate, host: str) -> bool:
    """Whether the name constraints of an authority allow this host."""
    try:
        allowed = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    except x509.ExtensionNotFound:
        return True
    if _is_address(host):
        network = ipaddress.ip_network(host)  # as constraints are written, and this one was by us: of one address
        return any(isinstance(tree, x509.IPAddress) and tree.value == network for tree in allowed)
    bare = host.removeprefix("*.")
    trees = [tree.value.lower() for tree in allowed if isinstance(tree, x509.DNSName)]
    return any(bare == tree or bare.endswith(f".{tree}") for tree in trees)


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether this authority made the certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _begun(subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, until: datetime) -> x509.CertificateBuilder:
    whole = now.astimezone(UTC).replace(microsecond=0)
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=whole - EARLIER,
        not_valid_after=until,
    )


def _new_key(use_rsa: bool) -> Key:
    if use_rsa:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def _usage(*, authority: bool, use_rsa: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=use_rsa and not authority,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _name(host: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(host)) if _is_address(host) else x509.DNSName(host)


def _subtree(host: str) -> x509.GeneralName:
    """A name constraint: the one address, or the name and all below it."""
    if _is_address(host):
        return x509.IPAddress(ipaddress.ip_network(host))
    return x509.DNSName(host.removeprefix("*."))
