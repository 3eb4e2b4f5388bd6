"""Who a caller is, and the projects they may act in."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from gceshim.drivers import base, errors
from gceshim.drivers.cloudstack.backend import Backend
from gceshim.drivers.cloudstack.names import is_label, shown, slug
from gceshim.drivers.cloudstack.rows import Row, rows, text
from gceshim.drivers.cloudstack.transport import Session
from gceshim.model import Account, Credentials, Tenant, stable_id

log = logging.getLogger(__name__)

#: The project that is the account itself, whatever that is called.
OWN: Final = "default"


class Identity(base.Identity):
    """Implements `base.Identity`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._making_keys = asyncio.Lock()

    async def sign_in(self, username: str, password: str, domain: str) -> Credentials:
        """Sign in as a browser does, take the keys of the user, sign out. Source: `login`, `getUserKeys`."""
        if not username or not password:  # CloudStack takes no password to mean single sign-on
            raise errors.Unauthenticated("A user name and a password are needed")
        session = self._backend.transport.session()
        try:
            try:
                user = await session.call("login", username=username, password=password, domain=_domain_path(domain))
            except errors.Forbidden as exc:
                raise errors.Unauthenticated(exc.message, detail=exc.detail) from exc
            try:
                return await self._keys_of(session, user)
            finally:
                try:
                    await session.call("logout")
                except errors.DriverError as exc:
                    log.info("a session was left to end by itself: %s", exc.detail or exc.message)
        finally:
            session.close()

    async def _keys_of(self, session: Session, user: dict[str, Any]) -> Credentials:
        user_id = text(user, "userid")
        if not user_id:
            raise errors.Unavailable("CloudStack does not tell who has signed in", detail="login")
        if user.get("is2faenabled") == "true" and user.get("is2faverified") != "true":
            raise errors.Unsupported(
                "This user has two-factor authentication: sign in with an API key and a secret key instead"
            )
        found = await _user_keys(session, user_id)
        if found is None:
            async with self._making_keys:  # made twice at once, the first pair would be dead before its first use
                found = await _user_keys(session, user_id)
                if found is None:
                    await session.call("registerUserKeys", id=user_id)
                    found = await _user_keys(session, user_id)
        if found is None:
            raise errors.Unavailable("CloudStack made no keys", detail="registerUserKeys")
        return found

    async def whoami(self, credentials: Credentials) -> Account:
        """The account of the user whose key this is. Asks CloudStack each time. Source: `listUsers`."""
        reply = await self._backend.transport.call(credentials, "listUsers", page=1, pagesize=1)
        if reply.get("count") == 1:
            found = rows(reply, "user")
        else:
            found = await self._backend.every(credentials, "listUsers", "user")
        mine = [row for row in found if text(row, "apikey") == credentials.api_key]
        if not mine and len({text(row, "accountid") for row in found}) == 1:
            mine = found  # users of one account; the key is not shown in every release
        if not mine:
            answer = await self._backend.transport.call(credentials, "getUser", userapikey=credentials.api_key)
            row = answer.get("user")
            mine = [row] if isinstance(row, dict) else []
        if not mine:
            raise errors.Unavailable("CloudStack does not tell whose credentials these are", detail="listUsers")
        return account_of(mine[0])

    async def tenant(self, subject: str, credentials: Credentials, project: str) -> Tenant:
        """The tenant of a project by name, id or numeric id. Source: `listProjects`, `listUsers`."""
        account = await self.account(credentials)
        own = {OWN, account.name, slug(account.name), account.backend_id, str(stable_id(account.backend_id))}
        if project in own:
            return Tenant(subject, credentials, project, owner=account.backend_id)
        found = find_project(account, await self.projects(credentials), project)
        if found is None:
            found = find_project(account, await self.projects(credentials, fresh=True), project)
        if found is None:
            raise errors.NotFound(f"There is no project {project!r} for you", kind="project", name=project)
        project_id = text(found, "id")
        return Tenant(subject, credentials, project, owner=project_id, project_id=project_id)

    async def account(self, credentials: Credentials) -> Account:
        """As `whoami`, from memory for a short time."""
        return await self._backend.remembered(credentials, "account", lambda: self.whoami(credentials))

    async def projects(self, credentials: Credentials, *, fresh: bool = False) -> list[Row]:
        """The projects that they are a member of; from memory for a short time, unless it has to be `fresh`."""

        async def fetch() -> list[Row]:
            return await self._backend.every(credentials, "listProjects", "project")

        return await self._backend.remembered(credentials, "projects", fetch, fresh=fresh)


async def _user_keys(session: Session, user_id: str) -> Credentials | None:
    """The key pair of the user who has signed in; None if CloudStack says that they have none."""
    reply = await session.call("getUserKeys", id=user_id)
    keys = reply.get("userkeys")
    if not isinstance(keys, dict):
        raise errors.Unavailable("CloudStack gave an answer that is not understood", detail="getUserKeys")
    if keys.get("apikeyaccess") is False:
        raise errors.Forbidden("This user may not use API keys", detail="getUserKeys: apikeyaccess")
    api_key, secret_key = text(keys, "apikey"), text(keys, "secretkey")
    if bool(api_key) != bool(secret_key):
        raise errors.Unavailable("CloudStack does not tell the keys of this user", detail="getUserKeys")
    return Credentials(api_key, secret_key) if api_key else None


def _domain_path(domain: str) -> str:
    """The path as `login` takes it. Lists of domains show paths that begin with ROOT, which `login` does not know."""
    parts = [part for part in domain.split("/") if part]
    if parts and parts[0].upper() == "ROOT":
        parts = parts[1:]
    return "/" + "/".join(parts)


def account_of(row: Row) -> Account:
    """The account of a user row."""
    return Account(
        backend_id=text(row, "accountid"),
        name=text(row, "account"),
        domain=text(row, "domain"),
        user=text(row, "username"),
        email=text(row, "email"),
    )


def project_names(account: Account, found: list[Row]) -> dict[str, str]:
    """The names of projects by id: `default` and the account's own name are the account's, whatever they are called."""
    taken: list[Row] = [{"id": OWN, "name": OWN}, {"id": account.backend_id, "name": account.name}]
    ids = {row["id"] for row in taken}
    return shown([*taken, *found], order=lambda row: 0 if row["id"] in ids else 1 + (not is_label(text(row, "name"))))


def find_project(account: Account, found: list[Row], name: str) -> Row | None:
    """The project of a name: as shown, as CloudStack has it, its id, or its numeric id."""
    names = project_names(account, found)
    for row in found:
        if name == names[text(row, "id")]:
            return row
    for row in found:
        if name in (text(row, "name"), text(row, "id"), str(stable_id(text(row, "id")))):
            return row
    return None
