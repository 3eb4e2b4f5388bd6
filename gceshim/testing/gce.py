"""
A GCE client for tests: methods by id, and every answer checked against the discovery document.

    gce = Gce("http://127.0.0.1:8787", token)
    operation = await gce.call("compute.instances.reset", project="p", zone="z-a", instance="i")

No test can opt out: an answer that the document does not allow is an `UnexpectedAnswer`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from gceshim.protocol.discovery import Document, Method
from gceshim.protocol.schema import validate_error, validate_response

Body = dict[str, Any]


class UnexpectedAnswer(Exception):
    """An answer of another status than expected, or one that the discovery document does not allow."""


class NoAnswer(Exception):
    """The connection was refused or broke, or no answer came in time: what was asked for may have been done."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply as it came: status, headers and the JSON body ({} for none)."""

    status: int
    headers: Mapping[str, str]
    body: Body = field(repr=False)


class Gce:
    """
    Calls one server.

    :param url: scheme, host and port (and prefix, for an embedded server), without a slash at the end.
    :param token: bearer token; "" sends none.
    :param documents: of the APIs whose methods are called.
    """

    def __init__(self, url: str, token: str, *documents: Document) -> None:
        self.url = url
        self.token = token
        self._documents = {document.name: document for document in documents}
        self._client = AsyncHTTPClient(force_instance=True, max_clients=200)

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def as_token(self, token: str) -> Gce:
        """The same server with another token."""
        return Gce(self.url, token, *self._documents.values())

    async def answer(
        self, method_id: str, *, body: Any = None, headers: Mapping[str, str] | None = None, **parameters: Any
    ) -> Answer:
        """Call a method and return the checked answer, whatever its status."""
        document = self._documents[method_id.partition(".")[0]]
        method = document.method(method_id)
        path = f"/{document.service_path}{_path(method, parameters)}"
        answer = await self.send(method.http_method, path, body=body, headers=headers)
        _check(document, method, answer)
        return answer

    async def call(self, method_id: str, **arguments: Any) -> Body:
        """
        Call a method that is expected to succeed.

        :raises UnexpectedAnswer: it did not; the text holds the server's.
        """
        answer = await self.answer(method_id, **arguments)
        if answer.status >= 300:
            raise UnexpectedAnswer(f"{method_id}: {answer.status} {json.dumps(answer.body)}")
        return answer.body

    async def error(self, method_id: str, **arguments: Any) -> Body:
        """
        Call a method that is expected to fail, and return the error object (`code`, `message`, `errors`).

        :raises UnexpectedAnswer: it succeeded.
        """
        answer = await self.answer(method_id, **arguments)
        if answer.status < 400:
            raise UnexpectedAnswer(f"{method_id}: {answer.status}, an error was expected")
        error: Body = answer.body["error"]
        return error

    async def done(self, operation: Body) -> Body:
        """The operation once it has ended (waits up to two minutes)."""
        while operation["status"] != "DONE":
            scope = "zone" if "zone" in operation else "region" if "region" in operation else "global"
            parameters = {} if scope == "global" else {scope: operation[scope].rpartition("/")[2]}
            project = operation["selfLink"].split("/projects/")[1].split("/")[0]
            operation = await self.call(
                f"compute.{scope}Operations.wait", project=project, operation=operation["name"], **parameters
            )
        return operation

    async def send(self, verb: str, path: str, *, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """
        Send anything anywhere; bytes and strings as they are, other bodies as JSON. Error bodies are checked.

        :raises NoAnswer: the server has gone.
        """
        sent = {"Content-Type": "application/json", **(headers or {})}
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        content = body if isinstance(body, bytes | str) else None if body is None else json.dumps(body)
        request = HTTPRequest(
            self.url + path,
            method=verb,
            headers=sent,
            body=content if content is not None or verb in ("GET", "DELETE") else "",
            allow_nonstandard_methods=True,
            request_timeout=150,
        )
        try:
            reply = await self._client.fetch(request, raise_error=False)
        except (HTTPClientError, OSError) as exc:
            raise NoAnswer(f"{verb} {path}: {exc}") from exc
        answer = Answer(reply.code, dict(reply.headers), json.loads(reply.body) if reply.body else {})
        if answer.status >= 400 and (problems := validate_error(answer.body)):
            raise UnexpectedAnswer(f"{verb} {path}: {answer.status}: {problems}")
        return answer


def _path(method: Method, parameters: Mapping[str, Any]) -> str:
    values = dict(parameters)
    path = method.path
    for capture in method.captures:
        value = str(values.pop(capture.name))
        path = path.replace(f"{{{capture.name}}}", quote(value, safe=""))
        path = path.replace(f"{{+{capture.name}}}", quote(value, safe="/"))
    query = urlencode([(name, _text(value)) for name, value in values.items()], doseq=True)
    return path + (f"?{query}" if query else "")


def _check(document: Document, method: Method, answer: Answer) -> None:
    if answer.status >= 400 or method.response is None or answer.status == 204:
        return
    if problems := validate_response(document, method.response, answer.body):
        raise UnexpectedAnswer(f"{method.id}: not as the document says: {problems}")


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [str(item) for item in value] if isinstance(value, list | tuple) else str(value)
