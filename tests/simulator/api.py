"""A raw client of the CloudStack API with a signing routine of its own, and a simulator in a thread."""

import asyncio
import base64
import hashlib
import hmac
import http.client
import json
import threading
import time
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.simulator.faults import Fault

DEADLINE_SECONDS = 60.0


class Failure(Exception):
    """A refusal: HTTP status (or the code in a failed job) and the error reply."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


def sign(params: dict[str, str], secret: str) -> str:
    """The signature as the API's documentation describes it."""
    ordered = sorted(params.items(), key=lambda pair: pair[0].lower())
    text = "&".join(f"{name}={quote(value, safe='*')}" for name, value in ordered).lower()
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


class Api:
    """Calls of one account over one connection."""

    def __init__(self, endpoint: str, key: str, secret: str) -> None:
        parts = urlsplit(endpoint)
        self.path = parts.path
        self.key, self.secret = key, secret
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=DEADLINE_SECONDS)

    def close(self) -> None:
        self._connection.close()

    def send(self, query: str, body: str | None = None, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
        """Status, headers and text of one request: GET, or POST where there is a body."""
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        self._connection.request("GET" if body is None else "POST", f"{self.path}?{query}", body, sent)
        reply = self._connection.getresponse()
        return reply.status, reply.headers, reply.read().decode()

    def signed(self, command: str, params: dict[str, Any]) -> str:
        """The signed query string of a call."""
        values = {name: str(value) for name, value in params.items() if value is not None}
        values |= {"command": command, "response": "json", "apiKey": self.key}
        return urlencode({**values, "signature": sign(values, self.secret)})

    def raw(self, command: str, **params: Any) -> tuple[int, dict[str, Any]]:
        """Status and whole JSON document of a signed call."""
        query = self.signed(command, params)
        post = len(query) > 2000
        status, _, text = self.send("" if post else query, query if post else None)
        document: dict[str, Any] = json.loads(text)
        return status, document

    def call(self, command: str, **params: Any) -> dict[str, Any]:
        """What stands under the response name; raises Failure for a refusal."""
        status, document = self.raw(command, **params)
        [content] = document.values()
        if status != 200:
            raise Failure(status, content)
        assert list(document) == [f"{command.lower()}response"]
        return dict(content)

    def poll(self, job: str) -> dict[str, Any]:
        """The finished job."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            found = self.call("queryAsyncJobResult", jobid=job)
            if found["jobstatus"] != 0:
                return found
        raise AssertionError(f"job {job} did not end")

    def run(self, command: str, **params: Any) -> dict[str, Any]:
        """Submit a job and wait for it: its result; raises Failure if the job fails."""
        submitted = self.call(command, **params)
        assert set(submitted) <= {"id", "jobid"}
        job = self.poll(submitted["jobid"])
        if job["jobstatus"] == 2:
            raise Failure(job["jobresultcode"], job["jobresult"])
        return dict(job["jobresult"])

    def refusal(self, command: str, **params: Any) -> Failure:
        """The refusal that a call meets at once."""
        try:
            found = self.call(command, **params)
        except Failure as exc:
            return exc
        raise AssertionError(f"{command} was not refused: {found}")

    def job_refusal(self, command: str, **params: Any) -> Failure:
        """The refusal that a call meets in its job, after it was accepted."""
        job = self.poll(self.call(command, **params)["jobid"])
        assert job["jobstatus"] == 2, job
        assert job["jobresultcode"] == job["jobresult"]["errorcode"]
        return Failure(job["jobresultcode"], job["jobresult"])

    def rows(self, command: str, **params: Any) -> list[dict[str, Any]]:
        """The rows of a list command."""
        content = self.call(command, **params)
        arrays = [value for name, value in content.items() if name != "count"]
        assert len(arrays) <= 1
        return arrays[0] if arrays else []

    def one(self, command: str, **params: Any) -> dict[str, Any]:
        """The only row of a list command."""
        [row] = self.rows(command, **params)
        return row

    def names(self, command: str, **params: Any) -> set[str]:
        """The names of the rows of a list command."""
        return {row["name"] for row in self.rows(command, **params)}


class World:
    """A simulator that runs in a thread, with clients of its accounts and a few ready-made choices."""

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.sim = Simulator(settings or SimulatorSettings(job_seconds=0.005))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.endpoint = self._await(self.sim.start())
        self._clients: dict[str, Api] = {}

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(DEADLINE_SECONDS)

    def until(self, event: asyncio.Event) -> None:
        """Wait for what happens in the simulator's loop."""
        self._await(event.wait())

    def release(self, fault: Fault, *, lost: bool = False) -> None:
        """Let go of what a fault holds, in the simulator's loop."""
        self._loop.call_soon_threadsafe(lambda: fault.release(lost=lost))

    def stop(self) -> None:
        for client in self._clients.values():
            client.close()
        self._await(self.sim.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_SECONDS)
        self._loop.close()

    def api(self, account: str) -> Api:
        """The client of an account."""
        if account not in self._clients:
            self._clients[account] = Api(self.endpoint, *self.sim.keys(account))
        return self._clients[account]

    @property
    def demo(self) -> Api:
        return self.api("demo")

    @property
    def other(self) -> Api:
        return self.api("other")

    @property
    def admin(self) -> Api:
        return self.api("admin")

    def uuid(self, command: str, name: str, **params: Any) -> str:
        """The id of the row of that name, as the administrator sees it."""
        rows = self.admin.rows(command, **params)
        return next(str(row["id"]) for row in rows if row["name"] == name)

    @property
    def zone(self) -> str:
        return self.uuid("listZones", "Sandbox 1")

    @property
    def sg_zone(self) -> str:
        return self.uuid("listZones", "Sandbox SG")

    def offering(self, name: str = "Small Instance") -> str:
        return self.uuid("listServiceOfferings", name)

    def disk_offering(self, name: str) -> str:
        return self.uuid("listDiskOfferings", name)

    def template(self, name: str = "Debian 12") -> str:
        return self.uuid("listTemplates", name, templatefilter="all")

    def machine(self, name: str | None = None, *, by: str = "demo", **params: Any) -> dict[str, Any]:
        """Deploy a machine and wait for it."""
        values = {"zoneid": self.zone, "serviceofferingid": self.offering(), "templateid": self.template()}
        result = self.api(by).run("deployVirtualMachine", **{**values, "name": name, **params})
        return dict(result["virtualmachine"])

    def deploy_values(self, **params: Any) -> dict[str, Any]:
        """The parameters of a good deployment, with changes."""
        values = {"zoneid": self.zone, "serviceofferingid": self.offering(), "templateid": self.template()}
        return {**values, **params}

    def network(self, name: str, *, by: str = "demo", **params: Any) -> str:
        """An isolated network of an account."""
        offering = self.uuid("listNetworkOfferings", "DefaultIsolatedNetworkOfferingWithSourceNatService")
        values = {"zoneid": self.zone, "networkofferingid": offering, "name": name, **params}
        return str(self.api(by).call("createNetwork", **values)["network"]["id"])

    def vpc(self, name: str = "v", cidr: str = "10.0.0.0/16") -> str:
        """A VPC of demo."""
        offering = self.uuid("listVPCOfferings", "Default VPC offering")
        values = {"zoneid": self.zone, "vpcofferingid": offering, "name": name, "cidr": cidr}
        return str(self.demo.run("createVPC", **values)["vpc"]["id"])

    def tier(self, vpc: str, name: str, gateway: str = "10.0.1.1", **params: Any) -> str:
        """A tier of a VPC of demo."""
        offering = self.uuid("listNetworkOfferings", "DefaultIsolatedNetworkOfferingForVpcNetworks")
        values = {"zoneid": self.zone, "networkofferingid": offering, "name": name, "vpcid": vpc}
        values |= {"gateway": gateway, "netmask": "255.255.255.0", **params}
        return str(self.demo.call("createNetwork", **values)["network"]["id"])
