"""What the author of a driver says about it."""

from __future__ import annotations

import abc
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from gceshim.drivers.base import Driver
from gceshim.model import DEFAULT_NETWORK, GIB, Direction, Firewall, Protocol, Tenant

SSH = Firewall(
    name="any",
    network=DEFAULT_NETWORK,
    direction=Direction.INGRESS,
    priority=1000,
    allow=True,
    protocols=(Protocol("tcp", ("22",)),),
    source_ranges=("10.0.0.0/8",),
)


@dataclass(frozen=True, slots=True)
class Traits:
    """
    What a driver is free to do one way or another. Each trait chooses what is asserted; none leaves a test out.

    `answers_offline`: the capabilities that are answered from the driver's settings, the backend not being asked; any
    other raises Unavailable when the backend is away. `custom_machine_types`: `custom-<vcpus>-<MiB>` are machine
    types; else they are not found. `deletion_protection`: a machine can be protected; else to ask for it is refused.
    `expunges`: a deleted machine is gone at once; else it may be seen as DELETING for a while.
    `external_addresses`: a machine can have a way in from outside; else to ask for it is refused.
    `passwords`: users of the backend can sign in with user name and password; else to try is Unsupported.
    `tags_running_machines`: network tags of a running machine can be changed; else NotReady is raised.
    `tells_pending_jobs`: `jobs.pending` gives ids; else None.

    `disk_step_bytes`: disks are rounded up to multiples of this. `job_seconds`: the longest that a backend job takes.
    `unavailable_seconds`: how soon Unavailable is raised. `test_seconds`: the longest that one test takes; replays are
    tried at each moment of a mutation's journal, so that is some dozens of mutations.
    """

    answers_offline: frozenset[str] = frozenset()
    custom_machine_types: bool = True
    deletion_protection: bool = True
    expunges: bool = True
    external_addresses: bool = True
    passwords: bool = True
    tags_running_machines: bool = True
    tells_pending_jobs: bool = True
    disk_step_bytes: int = GIB
    job_seconds: float = 20.0
    unavailable_seconds: float = 10.0
    test_seconds: float = 120.0


@dataclass(frozen=True, slots=True)
class Ground:
    """
    A driver in front of a backend that works, and names that are good there.

    `tenant` may make a dozen machines, disks and firewall rules in `zone`. `other` has credentials of its own, may make
    as much, and is no member of the first one's project. `image_family` in `image_project` has a ready image, which
    runs on `machine_type` and on `other_machine_type`. Sizes of disks of `disk_type` may be chosen, from its minimum to
    some GiB more at least. `network` is what the machines and firewall rules are made on. What a capability needs that
    the driver lacks may be left as it is.

    `username` and `password` in `domain` are those of the user whose keys `tenant` has, if the backend has passwords.

    `rules`: firewall rules that the backend can carry out, each alone on its network; the first one is used where any
    will do. `refused_rules`: some that it cannot. Their names do not matter.
    """

    driver: Driver
    tenant: Tenant
    other: Tenant
    zone: str
    machine_type: str
    other_machine_type: str
    image_project: str
    image_family: str
    disk_type: str = "pd-standard"
    network: str = DEFAULT_NETWORK
    username: str = ""
    password: str = field(default="", repr=False)
    domain: str = ""
    rules: tuple[Firewall, ...] = (SSH,)
    refused_rules: tuple[Firewall, ...] = ()


class Subject(abc.ABC):
    """The driver that is to be tried. `traits` may be set by a subclass."""

    traits: Traits = Traits()

    @abc.abstractmethod
    def open(self) -> AbstractAsyncContextManager[Ground]:
        """
        A new driver, in the event loop that it is called in; it is closed at the end of the block.

        Called once for each test. The backend behind it may be the same each time: tests make names of their own and
        remove what they have made, and have no quarrel with what else there is.
        """

    @abc.abstractmethod
    def unreachable(self) -> Driver:
        """A new driver for a backend at an address where nobody listens. The test closes it."""
