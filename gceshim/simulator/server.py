"""The HTTP server of the simulator, and its face for other packages and tests."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import tornado.httpserver
import tornado.netutil
import tornado.web

from gceshim.simulator import entities as model
from gceshim.simulator import errors, response
from gceshim.simulator.call import Caller
from gceshim.simulator.catalogue import CommandSpec
from gceshim.simulator.cloud import Cloud
from gceshim.simulator.inspection import Inspection
from gceshim.simulator.registry import Row
from gceshim.simulator.sessions import Sessions
from gceshim.simulator.settings import SimulatorSettings

API_PATH = "/client/api"
MAX_BODY_BYTES = 4 * 1024 * 1024
SESSION_COMMANDS = ("login", "logout")
TRANSPORT_FAULTS = ("lost_reply", "connection_reset", "garbage_reply", "http_error")


class ApiHandler(tornado.web.RequestHandler):
    """``/client/api``: one command per request, by GET or POST."""

    def initialize(self, simulator: "Simulator") -> None:
        self._simulator = simulator

    def set_default_headers(self) -> None:
        self.set_header("Server", "CloudStack simulator")

    async def get(self) -> None:
        """Serve a command whose parameters are in the query string."""
        if len(self.request.uri or "") > self._simulator.settings.max_url_bytes:
            self._send(414, "text/html", b"<h1>Bad Message 414</h1><pre>reason: URI Too Long</pre>")
            return
        await self._serve({})

    async def post(self) -> None:
        """Serve a command whose parameters are in a form; the query string counts too."""
        kind = self.request.headers.get("Content-Type", "")
        body: dict[str, str] = {}
        if not kind or kind.startswith("application/x-www-form-urlencoded"):
            body = _first_values(self.request.body.decode("utf-8", "replace"))
        await self._serve(body)

    async def _serve(self, body: dict[str, str]) -> None:
        params = {**body, **_first_values(self.request.query)}
        name = params.get("command", "")
        simulator = self._simulator
        simulator.cloud.calls.append(name)
        simulator.cloud.call_counts[name] += 1
        if simulator.settings.latency_seconds:
            await asyncio.sleep(simulator.settings.latency_seconds)
        slow = simulator.faults.take(name, "slow_reply")
        if slow is not None:
            await asyncio.sleep(slow.seconds)
        held = simulator.faults.take(name, "held_request")
        if held is not None and not await held.hold():
            self._drop()
            return
        fault = simulator.faults.take(name, *TRANSPORT_FAULTS)
        if fault is not None and fault.name == "connection_reset":
            self._drop()
            return
        if fault is not None and fault.name == "http_error":
            text = fault.text or "the proxy has no answer"
            self._send(fault.status, "text/html", f"<html><body><h1>{text}</h1></body></html>".encode())
            return
        if fault is not None and fault.name == "garbage_reply":
            self._send(200, "application/json", (fault.text or '{"listzonesresponse":{"count":').encode())
            return
        status, content_type, content = self._answer(name, params)
        held = simulator.faults.take(name, "held_reply")
        if fault is not None or (held is not None and not await held.hold()):
            self._drop()
            return
        self._send(status, content_type, content)

    def _answer(self, name: str, params: Mapping[str, str]) -> tuple[int, str, bytes]:
        form = params.get("response", "xml")
        spec = self._simulator.cloud.spec(name)
        wrapper = spec.response_name if spec else "errorresponse"
        if name in SESSION_COMMANDS:
            wrapper = f"{name}response"
        caller: Caller | None = None
        try:
            if name in SESSION_COMMANDS:
                return 200, *response.encode(wrapper, self._session_command(name, params), form)
            caller = self._authenticate(spec, name, params)
            if spec is None:
                raise errors.ApiError(432, f"Unknown API command: {name}", 4555, unknown_command=True)
            row = self._simulator.cloud.execute(spec, caller, params, self.request.method or "GET")
            return 200, *response.encode(wrapper, row, form)
        except errors.ApiError as exc:
            refusal = exc
        except Exception as exc:  # noqa: BLE001 - the outermost edge of a request
            self._simulator.cloud.report_bug(name, exc)
            refusal = errors.failed(errors.HIDDEN_TEXT)
        self.set_header("X-Description", _header_text(refusal.text))
        row = response.error_row(refusal, show_all=caller is None or caller.is_root)
        shown = "errorresponse" if refusal.unknown_command else wrapper
        return refusal.code, *response.encode(shown, row, form)

    def _authenticate(self, spec: CommandSpec | None, name: str, params: Mapping[str, str]) -> Caller:
        cookie = self.get_cookie("JSESSIONID")
        if cookie and "sessionkey" in params:
            user = self._simulator.sessions.find(cookie, params["sessionkey"])
            if user is None:
                self.clear_cookie("JSESSIONID", path="/client")
                raise errors.unauthorized("unable to verify user credentials")
            if not name:
                raise errors.ApiError(400, "no command specified", None)
            if user.two_factor:
                raise errors.ApiError(411, "Two factor authentication is not verified for this session", None)
            return Caller(user)
        caller = self._simulator.cloud.verify_signature(params)
        if spec is None:
            raise errors.unauthorized(unknown_command=True)
        return caller

    def _session_command(self, name: str, params: Mapping[str, str]) -> Row:
        if name == "logout":
            self._simulator.sessions.logout(self.get_cookie("JSESSIONID") or "")
            self.clear_cookie("JSESSIONID", path="/client")
            return {"description": "success"}
        if self.request.method != "POST":
            raise errors.ApiError(405, "Please use HTTP POST to authenticate using this API", 9999)
        cookie, session, reply = self._simulator.sessions.login(self._simulator.cloud.state, params)
        self.set_cookie("JSESSIONID", cookie, path="/client", httponly=True)
        self.set_cookie("sessionkey", session.key, path="/client", httponly=True)
        return reply

    def _send(self, status: int, content_type: str, content: bytes) -> None:
        self.set_status(status, errors_reason(status))
        self.set_header("Content-Type", content_type)
        self.finish(content)

    def _drop(self) -> None:
        """Close the connection without a reply."""
        self._finished = True
        stream = self.request.connection.stream if self.request.connection else None  # type: ignore[attr-defined]
        if stream is not None:
            stream.close()

    def log_exception(self, *args: Any) -> None:
        """Tornado's last resort, for what happens before or after a command."""
        self._simulator.cloud.report_bug("request", args[1])


def errors_reason(status: int) -> str | None:
    """A reason phrase for the statuses that HTTP does not know."""
    return "CloudStack Error" if status >= 430 else None


def _first_values(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
        values.setdefault(name, value)
    return values


def _header_text(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text[:1000])


class Simulator:
    """A simulated CloudStack, served over HTTP or mounted in another application.

    ``faults`` makes things go wrong at run time; ``inspect`` and the methods below show what the cloud holds, past the
    API and its permissions, for tests. ``calls`` are the latest commands received, ``call_counts`` the number of each;
    ``bugs`` are failures of the simulator itself, which a test suite asserts to be empty.
    """

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.reset()
        self._server: tornado.httpserver.HTTPServer | None = None
        self._endpoint: str | None = None

    @property
    def endpoint(self) -> str:
        """The URL of the API.

        :raises RuntimeError: if the simulator is not started.
        """
        if self._endpoint is None:
            raise RuntimeError("the simulator is not started")
        return self._endpoint

    def application(self) -> tornado.web.Application:
        """The Tornado application, for a server of the caller's."""
        return tornado.web.Application(
            [(API_PATH + "/?", ApiHandler, {"simulator": self})], log_function=lambda handler: None
        )

    async def start(self, port: int = 0, address: str = "127.0.0.1") -> str:
        """Listen; the result is the URL of the API. Port 0 takes a free one."""
        sockets = tornado.netutil.bind_sockets(port, address)
        self._server = tornado.httpserver.HTTPServer(self.application(), max_body_size=MAX_BODY_BYTES)
        self._server.add_sockets(sockets)
        bound = sockets[0].getsockname()[1]
        host = f"[{address}]" if ":" in address else address
        self._endpoint = f"http://{host}:{bound}{API_PATH}"
        return self._endpoint

    async def stop(self) -> None:
        """Stop listening, close connections and cancel jobs. May be called twice."""
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None
        self._endpoint = None
        self.faults.let_go()
        await self.cloud.jobs.stop()

    def reset(self) -> None:
        """Forget everything and begin again with the data set; jobs that still run act on what is forgotten."""
        self.cloud = Cloud(self.settings)
        self.sessions = Sessions(self.settings.session_timeout_seconds, self.settings.incorrect_login_attempts_allowed)
        self.faults = self.cloud.faults
        self.inspect = Inspection(self.cloud.state)
        self.calls = self.cloud.calls
        self.call_counts = self.cloud.call_counts
        self.bugs = self.cloud.bugs

    def keys(self, account: str) -> tuple[str, str]:
        """API key and secret key of an account's first user.

        :raises KeyError: if there is no such account.
        """
        for user in self.cloud.state.rows(model.User):
            if user.account.name == account:
                return user.api_key, user.secret_key
        raise KeyError(account)

    def vms(self, account: str | None = None) -> list[model.Vm]:
        return self.inspect.vms(account)

    def vm(self, name: str) -> model.Vm:
        return self.inspect.vm(name)

    def volumes(self) -> list[model.Volume]:
        return self.inspect.volumes()

    def volume(self, name: str) -> model.Volume:
        return self.inspect.volume(name)

    def networks(self) -> list[model.Network]:
        return self.inspect.networks()

    def tags(self, uuid: str) -> dict[str, str]:
        return self.inspect.tags(uuid)

    def jobs(self) -> list[model.Job]:
        return self.inspect.jobs()
