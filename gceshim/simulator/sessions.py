"""Login sessions: a cookie and a session key.

Source: DefaultLoginAPIAuthenticatorCmd, AccountManagerImpl.authenticateUser, ApiServlet.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from gceshim.simulator import errors
from gceshim.simulator.entities import Domain, User
from gceshim.simulator.registry import Row
from gceshim.simulator.state import State

MAX_SESSIONS = 10_000
ROOT_ADMIN = 1


@dataclass
class Session:
    user: User
    key: str
    deadline: float


class Sessions:
    """Sessions by cookie value; each use extends a session by ``timeout_seconds``.

    A user who fails to log in ``attempts_allowed`` times in a row is disabled; 0 is for never.
    """

    def __init__(self, timeout_seconds: float, attempts_allowed: int) -> None:
        self.timeout_seconds = timeout_seconds
        self.attempts_allowed = attempts_allowed
        self._sessions: dict[str, Session] = {}

    @property
    def count(self) -> int:
        """How many sessions have not been ended."""
        return len(self._sessions)

    def login(self, state: State, params: Mapping[str, str]) -> tuple[str, Session, Row]:
        """Begin a session: cookie value, session and reply.

        :raises ApiError: 531 for a bad user, password or domain path, and for who is disabled; 401 for a bad domain
            id.
        """
        domain = self._domain(state, params)
        user = self._authenticated(state, params, domain)
        cookie, key = f"node0{secrets.token_hex(12)}", secrets.token_urlsafe(20)
        session = Session(user, key, time.monotonic() + self.timeout_seconds)
        self._sessions[cookie] = session
        if len(self._sessions) > MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        reply = {
            "username": user.username,
            "userid": user.uuid,
            "domainid": user.account.domain.uuid,
            "timeout": int(self.timeout_seconds),
            "account": user.account.name,
            "firstname": user.first_name,
            "lastname": user.last_name,
            "type": str(user.account.kind),
            "timezone": "UTC",
            "timezoneoffset": "0.0",
            "registered": "false",
            "sessionkey": key,
            "is2faenabled": str(user.two_factor).lower(),
            "is2faverified": str(not user.two_factor).lower(),
            "providerfor2fa": "totp" if user.two_factor else None,
        }
        return cookie, session, {name: value for name, value in reply.items() if value is not None}

    def _authenticated(self, state: State, params: Mapping[str, str], domain: Domain) -> User:
        username, password = params.get("username", ""), params.get("password", "")
        user = next(
            (user for user in state.rows(User) if user.username == username and user.account.domain is domain), None
        )
        if user is not None and secrets.compare_digest(user.password.encode(), password.encode()):
            if not user.enabled:
                raise _refused(
                    f"User {username} (or their account) in domain {domain.name} is disabled/locked. "
                    "Please contact the administrator."
                )
            user.failed_logins = 0
            return user
        # An empty password stands for single sign-on and does not count; the administrators of all are never disabled.
        if user is not None and password and user.enabled and user.account.kind != ROOT_ADMIN:
            user.failed_logins += 1
            if user.failed_logins == self.attempts_allowed:
                user.state = "disabled"
        raise _refused(
            f"Failed to authenticate user {username} in domain {domain.number}; please provide valid credentials"
        )

    @staticmethod
    def _domain(state: State, params: Mapping[str, str]) -> Domain:
        by_name = {name.lower(): value for name, value in params.items()}
        if by_name.get("domainid"):
            domain = state.find(Domain, by_name["domainid"].lower())
            if domain is None:
                raise errors.ApiError(401, "Invalid domain id entered, please enter a valid one", None)
            return domain
        given = by_name.get("domain", "").strip("/")
        path = f"ROOT/{given}" if given else "ROOT"
        found = next((row for row in state.rows(Domain) if row.path.casefold() == path.casefold()), None)
        if found is None:
            raise _refused(f"Unable to find the domain from the path /{given}/")
        return found

    def find(self, cookie: str, key: str | None) -> User | None:
        """The user of a live session; a wrong key ends the session, and so does being disabled."""
        session = self._sessions.get(cookie)
        if session is None:
            return None
        good = key is not None and secrets.compare_digest(session.key.encode(), key.encode())
        if not good or session.deadline < time.monotonic() or not session.user.enabled:
            del self._sessions[cookie]
            return None
        session.deadline = time.monotonic() + self.timeout_seconds
        return session.user

    def logout(self, cookie: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(cookie, None)


def _refused(text: str) -> errors.ApiError:
    """531 without ``cserrorcode``: CloudAuthenticationException."""
    return errors.ApiError(531, text, None)
