"""SSH key pairs.

Source: ManagementServerImpl, the SSH key methods.
"""

import base64
import binascii
import hashlib

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gceshim.simulator import entities as model
from gceshim.simulator import errors, scopes
from gceshim.simulator.call import Call
from gceshim.simulator.filters import Rows
from gceshim.simulator.registry import Listing, Provenance, Row, command

KEY_TYPES = ("ssh-rsa", "ssh-dss", "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521")


def _own(call: Call, owner: model.Account) -> list[model.KeyPair]:
    return [row for row in call.state.rows(model.KeyPair) if row.account is owner]


@command("createSSHKeyPair", Provenance.RECORDED)
def create_ssh_key_pair(call: Call) -> Row:
    owner, name = scopes.owner_for_new(call), call.args.need_text("name")
    if any(row.name == name for row in _own(call, owner)):
        raise errors.invalid(f"A key pair with name '{name}' already exists.")
    # 1024 bits: the server's default is larger, but no secret rests on these keys and they must be quick to make.
    private = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    pair = _enter(call, owner, name, public.decode())
    return {**key_pair_row(pair), "privatekey": pem.decode()}


@command("registerSSHKeyPair", Provenance.DOCUMENTED)
def register_ssh_key_pair(call: Call) -> Row:
    owner, name = scopes.owner_for_new(call), call.args.need_text("name")
    public_key = call.args.need_text("publickey").strip()
    if any(row.name == name for row in _own(call, owner)):
        raise errors.invalid(f"A key pair with name '{name}' already exists for this account.")
    _blob(public_key)
    if any(row.public_key.split()[:2] == public_key.split()[:2] for row in _own(call, owner)):
        raise errors.invalid(f"A key pair with key '{public_key}' already exists for this account.")
    return key_pair_row(_enter(call, owner, name, public_key))


def _blob(public_key: str) -> bytes:
    parts = public_key.split()
    if len(parts) < 2 or parts[0] not in KEY_TYPES:
        raise errors.invalid("Public key is invalid")
    try:
        blob = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError) as exc:
        raise errors.invalid("Public key is invalid") from exc
    if not blob[4:].startswith(parts[0].encode()):
        raise errors.invalid("Public key is invalid")
    return blob


def _enter(call: Call, owner: model.Account, name: str, public_key: str) -> model.KeyPair:
    digest = hashlib.md5(_blob(public_key), usedforsecurity=False).hexdigest()
    fingerprint = ":".join(digest[at : at + 2] for at in range(0, 32, 2))
    return call.state.new(model.KeyPair, name=name, account=owner, fingerprint=fingerprint, public_key=public_key)


def key_pair_row(pair: model.KeyPair) -> Row:
    owner = scopes.owner_fields(pair.account)
    del owner["domainpath"]
    return {"id": pair.uuid, "name": pair.name, "fingerprint": pair.fingerprint, "hasannotations": False, **owner}


@command("listSSHKeyPairs", Provenance.RECORDED, subject=model.KeyPair)
def list_ssh_key_pairs(call: Call) -> Listing:
    rows = Rows(call, call.state.rows(model.KeyPair)).ids(model.KeyPair).same("name", lambda row: row.name)
    rows.same("fingerprint", lambda row: row.fingerprint)
    rows.like("keyword", lambda row: row.name, lambda row: row.fingerprint).owned()
    rows.found.reverse()
    return Listing(rows.found, key_pair_row)


@command("deleteSSHKeyPair", Provenance.DOCUMENTED)
def delete_ssh_key_pair(call: Call) -> None:
    owner, name = scopes.owner_for_new(call), call.args.need_text("name")
    for row in _own(call, owner):
        if row.name == name:
            call.state.remove(row)
            return
    raise errors.invalid(
        f"A key pair with name '{name}' does not exist for account {owner.name} in specified domain id"
    )
