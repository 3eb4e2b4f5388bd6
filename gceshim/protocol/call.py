"""One call of an API method, parsed and checked: what a resource method receives."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gceshim.pace import Pace
from gceshim.protocol.discovery import Document, Method
from gceshim.protocol.links import Links
from gceshim.protocol.router import path_of

if TYPE_CHECKING:
    from gceshim.protocol.page_tokens import PageTokens


@dataclass(frozen=True)
class Caller:
    """
    Who calls.

    :param subject: stable and unique; operations belong to it.
    :param email: how GCE shows the caller (`user` of an operation).
    :param credentials: what the driver needs to act for the caller; opaque here, and never printed.
    :param scopes: full names of the OAuth2 scopes that the caller's token is limited to; None: not limited.
    """

    subject: str
    email: str
    credentials: object
    scopes: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"Caller(subject={self.subject!r}, email={self.email!r})"


class Authenticator(abc.ABC):
    """Knows who calls: by a bearer token, or by whatever a host application goes by."""

    @abc.abstractmethod
    async def authenticate(self, bearer: str | None, headers: Mapping[str, str]) -> Caller:
        """
        The caller of a request.

        :param bearer: the token of the Authorization header or the `access_token` parameter; None when there is none.
        :param headers: the request's headers, their names in lower case.
        :raises LoginRequired: there are no credentials.
        :raises InvalidCredentials: they are not valid, or no longer.
        """

    async def credentials(self, subject: str) -> object | None:
        """
        The credentials of somebody who does not call just now, as `Caller.credentials`.

        For operations that a restart has cut short. None: they have none any more, or it cannot be told; such an
        operation ends with an error.
        """
        return None


@dataclass(frozen=True)
class Call:
    """
    A call of `method`, every part of it checked against the discovery document.

    :param params: path and query parameters by the document's names, typed; defaults filled in; absent ones left out.
    :param body: the request's members in canonical form; {} for an empty body, None if the method takes none.
    :param cleared: paths of the members that a PATCH sets to null, as `("logConfig", "metadata")`.
    :param request_id: names this HTTP request in the log. (GCE's `requestId` is in `params`.)
    :param pace: shared by all calls, for answers with long lists.
    :param wait_seconds: `Prefer: wait=N`, at most 120; None when the caller did not say.
    """

    method: Method
    params: Mapping[str, Any]
    body: dict[str, Any] | None
    caller: Caller
    links: Links
    request_id: str
    wait_seconds: float | None
    document: Document
    tokens: "PageTokens"
    pace: Pace
    cleared: frozenset[tuple[str, ...]] = frozenset()

    @property
    def project(self) -> str:
        """The project in the path; "" for the few methods that have none."""
        project: str = self.params.get("project", "")
        return project

    @property
    def zone(self) -> str | None:
        """The zone in the path, as the caller wrote it; None for a method that is not zonal."""
        return self.params.get("zone")

    @property
    def region(self) -> str | None:
        """The region in the path; None for a method that is not regional."""
        return self.params.get("region")

    @property
    def resource_name(self) -> str:
        """The last path parameter: a name, or a numeric id, of what the method is about."""
        last = self.method.last_parameter
        name: str = self.params[last] if last else ""
        return name

    @property
    def resource_path(self) -> str:
        """The path called, as error messages name it: `projects/p/zones/z/instances/i`."""
        parts = [part if part is not None else "" for part in self.method.segments]
        for capture in reversed(self.method.captures):  # a value may hold a slash
            parts[capture.start : capture.stop] = str(self.params[capture.name]).split("/")
        return path_of(parts)
