"""Signing as clients do, and as no client should, without the library that checks."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
from dataclasses import asdict
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from gceshim.auth.service_accounts.accounts import PrivateKey, ServiceAccount, ServiceAccounts, address
from gceshim.stores.base import DocumentRecord
from tests.auth.world import ACCOUNT, PAIR, World

GOOGLE = "https://oauth2.googleapis.com/token"
COMPUTE = "https://compute.googleapis.com/"


def encoded(part: bytes, *, padded: bool = False) -> str:
    text = base64.urlsafe_b64encode(part).decode()
    return text if padded else text.rstrip("=")


def content(header: Any, claims: Any, *, padded: bool = False) -> str:
    """What is signed; `bytes` are taken as they are."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    return ".".join(encoded(part, padded=padded) for part in parts)


def signed(header: Any, claims: Any, pem: str, *, padded: bool = False, algorithm: type[HashAlgorithm] = SHA256) -> str:
    """A JWT with a right RSA signature, whatever its header says."""
    private = _loaded(pem)
    text = content(header, claims, padded=padded)
    return f"{text}.{encoded(private.sign(text.encode(), padding.PKCS1v15(), algorithm()), padded=padded)}"


@functools.cache
def _loaded(pem: str) -> rsa.RSAPrivateKey:
    private = load_pem_private_key(pem.encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return private


def signed_sha512(header: Any, claims: Any, pem: str) -> str:
    """The same by RS512's digest."""
    return signed(header, claims, pem, algorithm=SHA512)


def keyed_hash(header: Any, claims: Any, secret: bytes) -> str:
    """A JWT with an HS256 signature."""
    text = content(header, claims)
    return f"{text}.{encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def accounts(there: World) -> ServiceAccounts:
    return ServiceAccounts(there.store, there.vault(), now=there.now)


async def robot(there: World, name: str = "ci") -> tuple[ServiceAccount, PrivateKey]:
    """A service account and its key."""
    return await accounts(there).create(name, ACCOUNT, PAIR)


@functools.cache
def private_pem(number: int = 0) -> str:
    """A private key, one for each number: making them takes time."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def quick_robot(there: World, name: str = "ci") -> tuple[ServiceAccount, PrivateKey]:
    """A service account whose key is not made anew, put where `ServiceAccounts` keeps them."""
    pem = private_pem(sum(name.encode()))
    public = _loaded(pem).public_key()
    public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    created = there.now().isoformat()
    body = {
        "clientId": "1" * 21,
        "account": asdict(ACCOUNT),
        "created": created,
        "keys": [{"id": f"key-of-{name}", "created": created, "publicPem": public_pem}],
    }
    email = address(name, ACCOUNT)
    await there.store.documents.insert(DocumentRecord("", "serviceAccounts", email, there.now(), body))
    await there.vault().add(email, ACCOUNT, PAIR)
    return await accounts(there).get(email), PrivateKey(f"key-of-{name}", pem)


def header_of(key: PrivateKey) -> dict[str, Any]:
    return {"typ": "JWT", "alg": "RS256", "kid": key.id}


def claims_of(there: World, account: ServiceAccount, **changed: Any) -> dict[str, Any]:
    """Those of an assertion for the token endpoint; None leaves a claim out."""
    now = int(there.now().timestamp())
    claims = {"iss": account.email, "aud": GOOGLE, "iat": now, "exp": now + 3600, "scope": "openid email"} | changed
    return {name: value for name, value in claims.items() if value is not None}


def bearer_claims(there: World, account: ServiceAccount, **changed: Any) -> dict[str, Any]:
    """Those of a self-signed token for the API."""
    return claims_of(there, account, **{"sub": account.email, "aud": COMPUTE, "scope": None} | changed)
