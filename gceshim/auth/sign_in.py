"""Signing in: from what a person types to credentials that are stored under their subject."""

from __future__ import annotations

import abc
import contextlib
import hashlib
import re
from dataclasses import replace
from typing import Final

from gceshim.auth.credentials import MAX_SUBJECT_LENGTH, CredentialVault, StoredCredentials
from gceshim.auth.errors import BackendUnavailable, CredentialsExist, CredentialsNotFound, SignInRefused, WrongKey
from gceshim.model import Account, Credentials
from gceshim.stores.errors import StoreError

MAX_TYPED_LENGTH: Final = 512
OWN_DOMAIN: Final = "gceshim.internal"
"""Under which this server makes up e-mail addresses of people."""
NOT_FROM_ELSEWHERE: Final = (OWN_DOMAIN, "gserviceaccount.com")
"""Domains of addresses that only this server gives out: nobody brings one, or it would look like another's."""

KEYS_REFUSED: Final = "CloudStack does not accept this API key and secret key."
PASSWORD_REFUSED: Final = "CloudStack does not accept this user name, password and domain."  # noqa: S105 what is said
STORE_UNAVAILABLE: Final = "The server's store is not available."

_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_MAX_EMAIL_LENGTH: Final = 254
_TRIES: Final = 5


class Backend(abc.ABC):
    """Whom the cloud knows. Both calls may take seconds."""

    @abc.abstractmethod
    async def whoami(self, credentials: Credentials) -> Account:
        """
        The account that a key pair belongs to.

        :raises SignInRefused: the pair is not accepted. :raises BackendUnavailable: it cannot be told.
        """

    @abc.abstractmethod
    async def sign_in(self, username: str, password: str, domain: str) -> Credentials:
        """
        The key pair of a user: the one they have, or a new one if they have none.

        :param domain: as the backend writes a path of domains; "" for the topmost.
        :raises SignInRefused: there is no such user or the password is another; the two are not told apart.
        :raises BackendUnavailable: it cannot be told.
        """


class SignIn:
    """Asks the backend whether somebody is who they say, and stores their key pair in the vault."""

    def __init__(self, backend: Backend, vault: CredentialVault) -> None:
        self._backend = backend
        self._vault = vault

    async def with_keys(self, api_key: str, secret: str) -> StoredCredentials:
        """
        Sign in by a key pair.

        :raises SignInRefused: it is not a pair that is accepted. :raises BackendUnavailable: it cannot be told now.
        """
        credentials = Credentials(api_key.strip(), secret.strip())
        if not _sendable(credentials.api_key, credentials.secret_key):
            raise SignInRefused(KEYS_REFUSED)
        return await self._keep(credentials)

    async def with_password(self, username: str, password: str, domain: str) -> StoredCredentials:
        """
        Sign in as a user of a domain ("" for the topmost).

        :raises SignInRefused: wrong, whichever part. :raises BackendUnavailable: it cannot be told now.
        """
        username, domain = username.strip(), domain.strip()
        if not _sendable(username, password, domain or "/"):
            raise SignInRefused(PASSWORD_REFUSED)
        return await self._keep(await self._backend.sign_in(username, password, domain))

    async def _keep(self, credentials: Credentials) -> StoredCredentials:
        account = await self._backend.whoami(credentials)
        account = replace(account, email=email_of(account))
        subject = subject_of(account, credentials)
        try:
            for _ in range(_TRIES):
                with contextlib.suppress(CredentialsExist):  # somebody else has just stored it; the same, as a rule
                    return await self._store(subject, account, credentials)
        except StoreError as exc:
            raise BackendUnavailable(STORE_UNAVAILABLE) from exc
        raise BackendUnavailable("These credentials are being stored elsewhere.")

    async def _store(self, subject: str, account: Account, credentials: Credentials) -> StoredCredentials:
        try:
            stored, there = await self._vault.lookup(subject)
        except CredentialsNotFound:
            return await self._vault.add(subject, account, credentials)
        except WrongKey:  # nobody can use what is there
            return await self._vault.add(subject, account, credentials, overwrite=True)
        if there.api_key != credentials.api_key:
            raise BackendUnavailable("Another key pair is stored under the name that this one would have.")
        if (stored.account, there) == (account, credentials):
            return stored
        return await self._vault.add(subject, account, credentials, overwrite=True)


def subject_of(account: Account, credentials: Credentials) -> str:
    """
    What tokens and operations of a key pair go by: `<user>@<account>/<domain>#<8 digits of the API key's SHA-256>`.

    A new pair of the same user is another subject, as it may have other rights: it does not take over old tokens.
    """
    fingerprint = hashlib.sha256(credentials.api_key.encode()).hexdigest()[:8]
    owner = "".join(
        char if char.isprintable() else "-" for char in f"{account.user}@{account.name}/{account.domain.strip('/')}"
    )
    return f"{owner[: MAX_SUBJECT_LENGTH - len(fingerprint) - 1]}#{fingerprint}"


def email_of(account: Account) -> str:
    """The user's address as the backend has it, if it looks like one; else one that leads nowhere but is theirs."""
    email = account.email.strip()
    outside = not email.lower().endswith(tuple(mark + domain for domain in NOT_FROM_ELSEWHERE for mark in "@."))
    if outside and len(email) <= _MAX_EMAIL_LENGTH and _EMAIL.fullmatch(email):
        return email
    labels = (_label(account.name), _label(account.domain), OWN_DOMAIN)
    return f"{_label(account.user, '._')}@{'.'.join(labels)}"


def _label(text: str, also: str = "") -> str:
    """As a part of a host name, or of what stands before the @."""
    safe = re.sub(rf"[^a-z0-9{also}]+", "-", text.lower()).strip("-._")
    return safe[:60].rstrip("-._") or "x"


def _sendable(*texts: str) -> bool:
    """No sign-in can succeed with nothing, with a novel, or with what no request can carry."""
    return all(0 < len(text) <= MAX_TYPED_LENGTH and _is_text(text) for text in texts)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
