"""Firewall rules, as they are authored and told. Whether packets pass is for the driver's own tests."""

from __future__ import annotations

import dataclasses

import pytest

from gceshim.drivers import errors
from gceshim.model import Firewall
from gceshim.testing.conformance.bench import UNKNOWN, Bench, at_each_moment, authored, in_loop, working
from gceshim.testing.conformance.shapes import assert_listed, assert_shape, unused_id
from gceshim.testing.conformance.subject import Subject
from gceshim.testing.journal import MemorySteps


async def ready(bench: Bench) -> None:
    """A machine on the network, which may be made by it."""
    await bench.instance()


async def made(bench: Bench, rule: Firewall | None = None) -> Firewall:
    """A rule in force."""
    return await bench.driver.firewalls.create(bench.steps(), bench.rule(rule))


async def named(bench: Bench, name: str) -> list[Firewall]:
    """The rules of a name, without what the driver adds."""
    return [authored(rule) for rule in await bench.driver.firewalls.list(bench.tenant) if rule.name == name]


class FirewallsConformance:
    """`base.Firewalls`."""

    @in_loop
    async def test_rules_come_back_as_they_were_authored(self, subject: Subject) -> None:
        """Each of the rules that the backend can carry out, by name and number and from the list."""
        async with working(subject, "firewalls", "instances") as bench:
            await ready(bench)
            for given in bench.ground.rules:
                rule = bench.rule(given)
                found = await bench.driver.firewalls.create(bench.steps(), rule)
                assert_shape(found)
                assert authored(found) == rule
                assert await bench.driver.firewalls.get(bench.tenant, rule.name) == found
                assert await bench.driver.firewalls.get(bench.tenant, str(found.id)) == found
                listed = await bench.driver.firewalls.list(bench.tenant)
                assert_listed(listed)
                assert found in listed
                await bench.driver.firewalls.delete(bench.steps(), rule.name)

    @in_loop
    async def test_a_name_that_is_taken_is_refused(self, subject: Subject) -> None:
        """The rule that is there stays as it is."""
        async with working(subject, "firewalls", "instances") as bench:
            await ready(bench)
            rule = await made(bench)
            second = dataclasses.replace(authored(rule), description="the second one")
            with pytest.raises(errors.AlreadyExists):
                await bench.driver.firewalls.check(bench.tenant, second)
            with pytest.raises(errors.AlreadyExists):
                await bench.driver.firewalls.create(bench.steps(), second)
            assert await named(bench, rule.name) == [authored(rule)]

    @in_loop
    async def test_rules_that_are_not_there_are_not_found(self, subject: Subject) -> None:
        """By name or number, with what was asked for."""
        async with working(subject, "firewalls") as bench:
            for name in (UNKNOWN, unused_id()):
                with pytest.raises(errors.NotFound) as caught:
                    await bench.driver.firewalls.get(bench.tenant, name)
                assert (caught.value.kind, caught.value.name) == ("firewall", name)

    @in_loop
    async def test_a_network_that_is_not_there_is_named(self, subject: Subject) -> None:
        """And nothing is made."""
        async with working(subject, "firewalls") as bench:
            rule = dataclasses.replace(bench.rule(), network=UNKNOWN)
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.firewalls.check(bench.tenant, rule)
            assert caught.value.field == "network"
            with pytest.raises(errors.NotFound):
                await bench.driver.firewalls.create(bench.steps(), rule)
            assert await named(bench, rule.name) == []

    @in_loop
    async def test_what_cannot_be_expressed_is_refused_whole(self, subject: Subject) -> None:
        """With a reason; also in the place of a rule that is there, which stays in force."""
        async with working(subject, "firewalls", "instances") as bench:
            await ready(bench)
            rule = await made(bench)
            for given in bench.ground.refused_rules:
                refused = bench.rule(given)
                with pytest.raises(errors.Invalid) as caught:
                    await bench.driver.firewalls.check(bench.tenant, refused)
                assert caught.value.message
                with pytest.raises(errors.Invalid):
                    await bench.driver.firewalls.create(bench.steps(), refused)
                assert await named(bench, refused.name) == []
                with pytest.raises(errors.Invalid):
                    await bench.driver.firewalls.replace(
                        bench.steps(), dataclasses.replace(refused, name=rule.name), rule
                    )
                assert await named(bench, rule.name) == [authored(rule)]

    @in_loop
    async def test_a_deleted_rule_is_gone_and_its_name_free(self, subject: Subject) -> None:
        """Deleting it again is no error."""
        async with working(subject, "firewalls", "instances") as bench:
            await ready(bench)
            rule = await made(bench)
            for _ in range(2):
                await bench.driver.firewalls.delete(bench.steps(), rule.name)
                with pytest.raises(errors.NotFound):
                    await bench.driver.firewalls.get(bench.tenant, rule.name)
            again = await bench.driver.firewalls.create(bench.steps(), authored(rule))
            assert authored(again) == authored(rule)

    @in_loop
    async def test_rules_of_others_are_not_there(self, subject: Subject) -> None:
        """Neither to be read nor to be deleted."""
        async with working(subject, "firewalls", "instances") as bench:
            await ready(bench)
            rule = await made(bench)
            firewalls = bench.driver.firewalls
            for name in (rule.name, str(rule.id)):
                with pytest.raises(errors.NotFound):
                    await firewalls.get(bench.other, name)
            assert rule.name not in [item.name for item in await firewalls.list(bench.other)]
            await firewalls.delete(bench.steps(bench.other), rule.name)
            assert await firewalls.get(bench.tenant, rule.name) == rule

    @in_loop
    async def test_a_rule_takes_the_place_of_another(self, subject: Subject) -> None:
        """Of the same name; there is one before and one after, with one id."""
        async with working(subject, "firewalls", "instances") as bench:
            await ready(bench)
            rule = await made(bench)
            for given in bench.ground.rules[::-1]:
                new = dataclasses.replace(given, name=rule.name, description="the new one")
                await bench.driver.firewalls.check(bench.tenant, new, replaced=rule)
                await bench.driver.firewalls.replace(bench.steps(), new, rule)
                found = await bench.driver.firewalls.get(bench.tenant, rule.name)
                assert (authored(found), found.id) == (new, rule.id)
                assert await named(bench, rule.name) == [new]
                rule = found

    @in_loop
    async def test_a_rule_that_somebody_changed_is_not_replaced(self, subject: Subject) -> None:
        """Else the change of one of two administrators is lost."""
        async with working(subject, "firewalls", "instances") as bench:
            await ready(bench)
            seen = await made(bench)
            theirs = dataclasses.replace(authored(seen), description="theirs")
            await bench.driver.firewalls.replace(bench.steps(), theirs, seen)
            mine = dataclasses.replace(authored(seen), description="mine")
            with pytest.raises(errors.Changed):
                await bench.driver.firewalls.replace(bench.steps(), mine, seen)
            assert await named(bench, seen.name) == [theirs]

    @in_loop
    async def test_a_crash_at_any_moment_leaves_one_rule(self, subject: Subject) -> None:
        """Made once, and whole."""
        async with working(subject, "firewalls", "instances") as bench:
            await ready(bench)

            async def prepare() -> Firewall:
                return bench.rule()

            async def create(steps: MemorySteps, rule: Firewall) -> None:
                await bench.driver.firewalls.create(steps, rule)

            async def verify(rule: Firewall, where: str) -> None:
                assert await named(bench, rule.name) == [rule], where
                await bench.remove_rule(rule.name)

            await at_each_moment(bench, prepare, create, verify)

    @in_loop
    async def test_a_crash_while_replacing_is_made_good(self, subject: Subject) -> None:
        """At each moment: the new rule is there, and the old one is not."""
        async with working(subject, "firewalls", "instances") as bench:
            await ready(bench)

            async def prepare() -> tuple[Firewall, Firewall]:
                rule = await made(bench)
                return dataclasses.replace(authored(rule), description="the new one"), rule

            async def replace(steps: MemorySteps, rules: tuple[Firewall, Firewall]) -> None:
                await bench.driver.firewalls.replace(steps, *rules)

            async def verify(rules: tuple[Firewall, Firewall], where: str) -> None:
                assert await named(bench, rules[0].name) == [rules[0]], where
                await bench.remove_rule(rules[0].name)

            await at_each_moment(bench, prepare, replace, verify)

    @in_loop
    async def test_a_crash_while_deleting_is_made_good(self, subject: Subject) -> None:
        """At each moment: it is out of force."""
        async with working(subject, "firewalls", "instances") as bench:
            await ready(bench)

            async def prepare() -> Firewall:
                return await made(bench)

            async def delete(steps: MemorySteps, rule: Firewall) -> None:
                await bench.driver.firewalls.delete(steps, rule.name)

            async def verify(rule: Firewall, where: str) -> None:
                assert await named(bench, rule.name) == [], where

            await at_each_moment(bench, prepare, delete, verify)
