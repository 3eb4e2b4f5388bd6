"""Login sessions: a cookie and a session key.

Source: DefaultLoginAPIAuthenticatorCmd, ApiServlet.
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


@dataclass
class Session:
    user: User
    key: str
    deadline: float


class Sessions:
    """Sessions by cookie value; each use extends a session by ``timeout_seconds``."""

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._sessions: dict[str, Session] = {}

    def login(self, state: State, params: Mapping[str, str]) -> tuple[str, Session, Row]:
        """Begin a session: cookie value, session and reply.

        :raises ApiError: 531 for a bad user, password or domain path; 401 for a bad domain id.
        """
        domain = self._domain(state, params)
        user = next(
            (
                user
                for user in state.rows(User)
                if user.username == params.get("username") and user.account.domain is domain
            ),
            None,
        )
        if user is None or not secrets.compare_digest(user.password.encode(), params.get("password", "").encode()):
            raise errors.ApiError(531, "Failed to authenticate user, please check if username/password are right", 4290)
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
            "is2faenabled": "false",
            "is2faverified": "true",
        }
        return cookie, session, reply

    @staticmethod
    def _domain(state: State, params: Mapping[str, str]) -> Domain | None:
        by_name = {name.lower(): value for name, value in params.items()}
        if by_name.get("domainid"):
            domain = state.find(Domain, by_name["domainid"].lower())
            if domain is None:
                raise errors.ApiError(401, f"Invalid domain id entered by user: {by_name['domainid']}", None)
            return domain
        path = "/".join(["ROOT", *(part for part in by_name.get("domain", "").split("/") if part)])
        return next((row for row in state.rows(Domain) if row.path.casefold() == path.casefold()), None)

    def find(self, cookie: str, key: str | None) -> User | None:
        """The user of a live session; a wrong key ends the session."""
        session = self._sessions.get(cookie)
        if session is None:
            return None
        if session.deadline < time.monotonic() or key is None or not secrets.compare_digest(session.key, key):
            del self._sessions[cookie]
            return None
        session.deadline = time.monotonic() + self.timeout_seconds
        return session.user

    def logout(self, cookie: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(cookie, None)
