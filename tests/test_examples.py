"""The programs in `examples/` run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tornado.httpclient import AsyncHTTPClient

from gceshim.protocol.discovery import Document
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.gce import Gce
from tests.resources.requests import HERE, insert_body

pytestmark = pytest.mark.gen_test

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

PORTAL = """
[clouds.north]
url = "{north}"
linger_seconds = 5.0
machine_types = {{ e2-medium = "Medium Instance" }}

[clouds.south]
url = "{south}"

[users.alice]
token = "token-of-alice"
email = "alice@example.org"
keys.north = {demo}
keys.south = {other}

[users.bob]
token = "token-of-bob"
email = "bob@example.org"
keys.north = {other}
"""


@contextlib.asynccontextmanager
async def portal(folder: Path, north: Simulator, south: Simulator) -> AsyncIterator[str]:
    """The URL of the embedding program; ended by a signal, which has to go well."""
    settings = folder / "portal.toml"
    urls = {"north": await north.start(), "south": await south.start()}
    keys = {account: json.dumps(north.keys(account)) for account in ("demo", "other")}
    settings.write_text(PORTAL.format(**urls, **keys))
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / "embed.py"),
        str(settings),
        "--folder",
        str(folder),
        "--port",
        "0",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    try:
        line = (await asyncio.wait_for(program.stdout.readline(), 180)).decode()
        if not line and program.stderr is not None:
            raise AssertionError((await program.stderr.read()).decode())
        yield line.removeprefix("serving on ").strip()
        program.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(program.communicate(), 180)
        assert (program.returncode, said.decode()) == (0, "")
    finally:
        if program.returncode is None:
            program.kill()
            await program.wait()
        await north.stop()
        await south.stop()


async def test_two_clouds_in_somebody_elses_application(tmp_path: Path, discovery: Document) -> None:
    """Each under its prefix with its own settings, store and keys; the portal's users, and its pages beside them."""
    north, south = Simulator(SimulatorSettings(job_seconds=0.02)), Simulator()
    async with portal(tmp_path, north, south) as root:
        alice = {name: Gce(f"{root}/{name}", "token-of-alice", discovery) for name in ("north", "south")}
        bob = {name: gce.as_token("token-of-bob") for name, gce in alice.items()}

        page = await AsyncHTTPClient().fetch(f"{root}/")
        assert json.loads(page.body) == {"clouds": ["north", "south"]}

        made = await alice["north"].call("compute.instances.insert", **HERE, body=insert_body("vm-1"))
        assert (made["status"], made.get("error"), made["user"]) == ("DONE", None, "alice@example.org")
        assert made["targetLink"].startswith(f"{root}/north/compute/v1/projects/demo/")
        assert [machine.name for machine in north.vms("demo")] == ["vm-1"]
        assert south.vms("other") == []
        assert len((await alice["north"].call("compute.zoneOperations.list", **HERE))["items"]) == 1

        there = {"project": "default", "zone": HERE["zone"]}
        types = {name: (await gce.call("compute.machineTypes.list", **there))["items"] for name, gce in alice.items()}
        names = {name: {item["name"] for item in items} for name, items in types.items()}
        assert names["north"] - names["south"] == {"e2-medium"}

        assert (await bob["north"].call("compute.projects.get", project="default"))["name"] == "default"
        refused = await bob["south"].error("compute.projects.get", project="default")
        assert (refused["code"], refused["message"]) == (401, "bob has no account in the cloud south.")
        strangers = {"required": alice["north"].as_token(""), "authError": alice["north"].as_token("token-of-nobody")}
        for reason, gce in strangers.items():
            error = await gce.error("compute.zones.list", project="default")
            assert (error["code"], error["errors"][0]["reason"]) == (401, reason)
        for gce in (*alice.values(), *bob.values(), *strangers.values()):
            gce.close()
