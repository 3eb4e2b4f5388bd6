"""`gceshim demo` as a process of its own, and CloudStack's own view of what the clients did there."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cs import CloudStack

from tests.leaks import check_silence

DEADLINE_SECONDS = 180.0
ADMIN_KEYS = ("admin-api-key", "admin-secret-key")
DEMO_KEYS = ("demo-api-key", "demo-secret-key")
Row = dict[str, Any]
#: What the access list of a VPC has for as long as the VPC is there: GCE lets out what no rule is about.
IMPLIED = ("Allow", "Egress", "all", "0.0.0.0/0")


@dataclass(frozen=True)
class Demo:
    """
    A running demo.

    :param home: a folder that is its own, with the user's folders of the XDG rules in it.
    :param url: scheme, host and port of the Compute Engine endpoint.
    :param cloudstack_url: the API of the simulated cloud.
    """

    home: Path
    url: str
    cloudstack_url: str
    project: str
    zone: str
    token_file: Path

    @property
    def token(self) -> str:
        """The bearer token."""
        return self.token_file.read_text().strip()

    def gceshim(self, *words: str) -> str:
        """What a command prints for the user whose demo it is."""
        command = [sys.executable, "-m", "gceshim", *words]
        done = subprocess.run(
            command, env=environment(self.home), capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=True
        )
        return done.stdout


def environment(home: Path) -> dict[str, str]:
    """Nothing of the machine's own settings."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "LC_ALL": "C.UTF-8",
    }


@contextlib.contextmanager
def running(home: Path, *more: str) -> Iterator[Demo]:
    """
    A demo for the length of the block; ended as a person ends it, which has to go well.

    :param more: words of the command line.
    """
    words = [sys.executable, "-m", "gceshim", "demo", "--port", "0", "--state-dir", str(home / "demo"), *more]
    log = home / "demo.log"
    with log.open("w") as output:
        # A session of its own: whatever the demo starts can be counted when it has ended.
        process = subprocess.Popen(
            words,
            env=environment(home),
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield _announced(home, process, log)
        process.send_signal(signal.SIGINT)
        status = process.wait(DEADLINE_SECONDS)
        said = log.read_text()
        assert (status, said.endswith("stopped\n"), "Traceback" in said) == (0, True, False), said
        check_silence(said)
        assert not group_is_alive(process.pid), "the demo left processes behind"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(DEADLINE_SECONDS)


def group_is_alive(group: int) -> bool:
    """Whether any process of a process group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _announced(home: Path, process: subprocess.Popen[bytes], log: Path) -> Demo:
    """The demo, as soon as it has written down that it serves."""
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until and process.poll() is None:
        for path in (home / "run" / "gceshim").glob("*.json"):
            said = json.loads(path.read_text())
            return Demo(
                home, said["url"], said["cloudstack_url"], said["project"], said["zone"], Path(said["token_file"])
            )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError(f"the demo does not serve:\n{log.read_text()}")


def _item(row: Row) -> tuple[str, str, str, str]:
    """An item of an access list: action, direction, protocol with ports, ranges."""
    ports = f":{row['startport']}-{row['endport']}" if "startport" in row else ""
    return row["action"], row["traffictype"], row["protocol"] + ports, row["cidrlist"]


class Cloud:
    """What is really there: the cloud's API in the hands of its administrator."""

    def __init__(self, url: str) -> None:
        self._api = CloudStack(url, *ADMIN_KEYS)

    def rows(self, command: str, **parameters: Any) -> list[Row]:
        """The rows of a list command, of all accounts."""
        rows: list[Row] = getattr(self._api, command)(fetch_list=True, listall=True, **parameters)
        return rows

    def machines(self) -> dict[str, Row]:
        """Machines by name."""
        return {row["name"]: row for row in self.rows("listVirtualMachines")}

    def states(self, *names: str) -> list[str | None]:
        """The state of each of these machines, None for one that is not there."""
        machines = self.machines()
        return [machines[name]["state"] if name in machines else None for name in names]

    def user_data(self, machine: Row) -> bytes:
        """What a machine was given as user data."""
        reply = self._api.getVirtualMachineUserData(virtualmachineid=machine["id"])
        return base64.b64decode(reply["virtualmachineuserdata"]["userdata"])

    def volumes(self) -> dict[str, Row]:
        """Data volumes, and boot volumes that were left, by name."""
        return {row["name"]: row for row in self.rows("listVolumes") if row["type"] == "DATADISK"}

    def tags(self, row: Row) -> dict[str, str]:
        """What is tagged on something, less what gceshim keeps there."""
        found = self.rows("listTags", resourceid=row["id"])
        return {tag["key"]: tag["value"] for tag in found if not tag["key"].startswith("gce:")}

    def items(self, vpc: str) -> list[tuple[str, str, str, str]]:
        """What gceshim has in a VPC's access list, the deciding item first: action, direction, protocol, ranges."""
        [row] = [row for row in self.rows("listVPCs") if row["name"] == vpc]
        lists = [item for item in self.rows("listNetworkACLLists", vpcid=row["id"]) if item["name"] == "gceshim"]
        items = [item for found in lists for item in self.rows("listNetworkACLs", aclid=found["id"])]
        return [_item(item) for item in sorted(items, key=lambda item: item["number"])]

    def holdings(self) -> dict[str, Sequence[str]]:
        """Everything that is made for machines, disks and rules and has to go with them: ids by kind."""
        addresses = [row for row in self.rows("listPublicIpAddresses") if not row["issourcenat"]]
        groups = [row for row in self.rows("listSecurityGroups") if row["name"] != "default"]
        kinds = ("UserVm", "Volume", "PublicIpAddress", "SecurityGroup", "FirewallRule", "Account", "Project")
        found = {
            "machines": self.rows("listVirtualMachines"),
            "volumes": self.rows("listVolumes"),
            "addresses": addresses,
            "keys": self.rows("listSSHKeyPairs"),
            "user data": self.rows("listUserData"),
            "security groups": groups,
            "rules of groups": [
                rule for row in groups for way in ("in", "e") for rule in row.get(f"{way}gressrule", ())
            ],
            "rules of addresses": self.rows("listFirewallRules"),
            "rules of access lists": [row for row in self.rows("listNetworkACLs") if _item(row) != IMPLIED],
            "forwardings": self.rows("listPortForwardingRules"),
            "tags": [
                {"id": f"{row['resourceid']} {row['key']}={row['value']}"}
                for row in self.rows("listTags")
                if row["resourcetype"] in kinds
            ],
        }
        return {
            kind: sorted(str(row.get("id") or row.get("ruleid") or row["name"]) for row in rows)
            for kind, rows in found.items()
        }

    def vpc_made(self, name: str) -> None:
        """A VPC of the account `demo` in the first zone, with one tier."""
        api = CloudStack(self._api.endpoint, *DEMO_KEYS, job_timeout=DEADLINE_SECONDS, poll_interval=0.05)
        [zone] = api.listZones(name="Sandbox 1", fetch_list=True)
        offering = api.listVPCOfferings(fetch_list=True)[0]["id"]
        where = {"displaytext": name, "zoneid": zone["id"], "fetch_result": True}
        vpc = api.createVPC(name=name, cidr="10.8.0.0/16", vpcofferingid=offering, **where)["vpc"]["id"]
        tier = api.listNetworkOfferings(forvpc=True, fetch_list=True)[0]["id"]
        api.createNetwork(
            name=f"{name}-1", networkofferingid=tier, vpcid=vpc, gateway="10.8.1.1", netmask="255.255.255.0", **where
        )
