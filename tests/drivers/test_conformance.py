"""The default driver keeps the promises of the driver interface, on the same terms as a stranger's."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from gceshim.drivers import base, errors
from gceshim.drivers.base import Driver
from gceshim.drivers.loader import load
from gceshim.model import Credentials, Direction, Firewall, Page, Protocol
from gceshim.simulator import Simulator, SimulatorSettings
from gceshim.testing.conformance.outages import MUTATIONS, READS
from gceshim.testing.conformance.subject import SSH, Ground, Subject, Traits
from gceshim.testing.conformance.suite import DriverConformance
from tests.drivers.toy import ACCOUNTS, Backend, ToyDriver
from tests.drivers.worlds import SG_ZONE, ZONE

NOWHERE = "http://127.0.0.1:1/client/api"
RULES = (
    SSH,
    replace(SSH, protocols=(Protocol("tcp", ("80", "8000-8080")), Protocol("udp"), Protocol("icmp"))),
    replace(SSH, target_tags=("web",), source_ranges=("10.0.0.0/8", "192.168.0.0/16")),
    Firewall("any", "default", Direction.EGRESS, 1000, True, (Protocol("all"),), destination_ranges=("10.9.0.0/16",)),
)


class CloudStackSubject(Subject):
    """A zone of the simulator, and a driver found by its entry point; `spoil` is done to it before it is used."""

    def __init__(self, zone: str, spoil: Callable[[Driver], None] = lambda _: None) -> None:
        self.zone = zone
        self.spoil = spoil
        # CloudStack moves only stopped machines between security groups.
        self.traits = Traits(tags_running_machines=zone != SG_ZONE)
        # CloudStack changes the security groups of stopped machines alone.
        self.traits = Traits(tags_running_machines=zone != SG_ZONE)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ground]:
        sim = Simulator(SimulatorSettings(job_seconds=0))
        driver = load("cloudstack", {"url": await sim.start()})
        try:
            mine, theirs = [
                await driver.identity.tenant(name, Credentials(*sim.keys(name)), "default")
                for name in ("demo", "other")
            ]
            self.spoil(driver)
            yield Ground(
                driver=driver,
                tenant=mine,
                other=theirs,
                zone=self.zone,
                machine_type="n1-standard-1",
                other_machine_type="custom-2-4096",
                image_project="debian-cloud",
                image_family="debian-12",
                username="demo",
                password="password",
                rules=RULES,
                refused_rules=(replace(SSH, protocols=(Protocol("no-such-protocol"),)),),
            )
            assert list(sim.bugs) == []
        finally:
            await driver.close()
            await sim.stop()

    def unreachable(self) -> Driver:
        return load("cloudstack", {"url": NOWHERE})


@pytest.fixture
def subject() -> Subject:
    """In a zone with isolated networks."""
    return CloudStackSubject(ZONE)


class TestCloudStack(DriverConformance):
    """All capabilities."""


class TestSecurityGroups:
    """What is otherwise in a zone with security groups."""

    TestNetworks = DriverConformance.TestNetworks
    TestInstances = DriverConformance.TestInstances
    TestCreation = DriverConformance.TestCreation
    TestVerbs = DriverConformance.TestVerbs
    TestInstanceSettings = DriverConformance.TestInstanceSettings
    TestAttachments = DriverConformance.TestAttachments
    TestFirewalls = DriverConformance.TestFirewalls

    @pytest.fixture
    def subject(self) -> Subject:
        """There machines are on the operator's network, and network tags are groups."""
        return CloudStackSubject(SG_ZONE)


class ToySubject(Subject):
    """A stranger's driver: of machines alone, with everything that a trait may say said the other way."""

    traits = Traits(
        answers_offline=frozenset({"locations", "catalog"}),
        custom_machine_types=False,
        deletion_protection=False,
        expunges=False,
        external_addresses=False,
        passwords=False,
        tags_running_machines=False,
        tells_pending_jobs=False,
    )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ground]:
        driver = ToyDriver.create({})
        mine, theirs = [
            await driver.identity.tenant(name, Credentials(name, secret), "default")
            for name, secret in ACCOUNTS.items()
        ]
        yield Ground(driver, mine, theirs, "toy-1-a", "small", "large", "toys", "bear")

    def unreachable(self) -> Driver:
        return ToyDriver(Backend(away=True))


class TestStranger(DriverConformance):
    """The suite is about the interface, not about CloudStack; and each side of each trait is asserted."""

    @pytest.fixture
    def subject(self) -> Subject:
        """In memory."""
        return ToySubject()


def test_every_method_is_tried_without_a_backend():
    """A method that is added to a capability is added to the tables of calls."""
    wanted = set()
    for name in Driver.CAPABILITIES:
        capability = getattr(base, "".join(word.title() for word in name.split("_")))
        methods = set(capability.__abstractmethods__)
        wanted |= {f"{name}.{method}" for method in methods if inspect.iscoroutinefunction(getattr(capability, method))}
    assert READS.keys() | MUTATIONS.keys() == wanted


def ends_after_one_page(driver):
    """The page that a full page is followed by is forgotten."""
    listed = driver.instances.list

    async def first(*args, **kwargs):
        return Page((await listed(*args, **kwargs)).items, more=False)

    driver.instances.list = first


def never_looks_what_a_lost_call_made(driver):
    """A step that was cut short is repeated."""
    create = driver.instances.create

    async def blindly(steps, spec):
        run, job = steps.run, steps.job
        steps.run = lambda name, action, find=None: run(name, action)
        steps.job = lambda name, submit, find=None: job(name, submit)
        return await create(steps, spec)

    driver.instances.create = blindly


def gives_times_without_a_zone(driver):
    """Nobody can tell which hour is meant."""
    get = driver.instances.get

    async def naive(*args):
        found = await get(*args)
        return replace(found, created=found.created.replace(tzinfo=None))

    driver.instances.get = naive


def reads_as_who_made_it(driver):
    """One tenant's credentials are used for another."""
    create, get, makers = driver.instances.create, driver.instances.get, []

    async def remember(steps, spec):
        makers.append(steps.tenant)
        return await create(steps, spec)

    async def read(tenant, zone, name):
        return await get(makers[0] if makers else tenant, zone, name)

    driver.instances.create, driver.instances.get = remember, read


def refuses_to_delete_twice(driver):
    """Being told twice is an error."""
    delete, gone = driver.instances.delete, set()

    async def once(steps, instance):
        if instance.backend_id in gone:
            raise errors.NotFound("no such instance", kind="instance", name=instance.name)
        await delete(steps, instance)
        gone.add(instance.backend_id)

    driver.instances.delete = once


def remembers_a_cancellation(driver):
    """A call that somebody gave up is given up for all."""
    list_zones, broken = driver.locations.zones, []

    async def zones(tenant):
        if broken:
            raise errors.Unavailable("closed")
        try:
            return await list_zones(tenant)
        except BaseException:
            broken.append(True)
            raise

    driver.locations.zones = zones


def takes_names_for_ids(driver):
    """Deletes what has the name now."""
    delete = driver.instances.delete

    async def by_name(steps, instance):
        with suppress(errors.NotFound):
            found = await driver.instances.get(steps.tenant, instance.zone, instance.name)
            instance = replace(instance, backend_id=found.backend_id)
        await delete(steps, instance)

    driver.instances.delete = by_name


@pytest.mark.parametrize(
    ("spoil", "capability", "test", "arguments"),
    [
        (ends_after_one_page, "TestInstances", "test_pages_are_whole_and_in_one_order", {}),
        (never_looks_what_a_lost_call_made, "TestCreation", "test_a_crash_at_any_moment_leaves_one_machine", {}),
        (gives_times_without_a_zone, "TestInstances", "test_a_machine_is_as_it_was_asked_for", {}),
        (reads_as_who_made_it, "TestInstances", "test_machines_of_others_are_not_there", {}),
        (refuses_to_delete_twice, "TestVerbs", "test_a_deleted_machine_is_gone_and_its_name_free", {}),
        (takes_names_for_ids, "TestVerbs", "test_deleting_the_old_one_spares_the_new_one_of_its_name", {}),
        (
            remembers_a_cancellation,
            "TestOutages",
            "test_a_read_right_after_a_cancelled_first_one_works",
            {"method": "locations.zones"},
        ),
    ],
)
def test_a_driver_that_breaks_a_promise_is_found_out(spoil, capability, test, arguments):
    """A suite that nothing fails proves nothing: each fault, put into a good driver, fails the test for it."""
    tests = getattr(DriverConformance, capability)()
    getattr(tests, test)(CloudStackSubject(ZONE), **arguments)
    with pytest.raises((AssertionError, pytest.fail.Exception, errors.DriverError)):
        getattr(tests, test)(CloudStackSubject(ZONE, spoil), **arguments)
