"""Regions, zones and networks."""

from __future__ import annotations

import ipaddress

import pytest

from gceshim.drivers import errors
from gceshim.model import DEFAULT_NETWORK, Subnetwork
from gceshim.testing.conformance.bench import UNKNOWN, in_loop, working
from gceshim.testing.conformance.shapes import assert_listed, unused_id
from gceshim.testing.conformance.subject import Subject


class LocationsConformance:
    """`base.Locations`."""

    @in_loop
    async def test_each_zone_that_is_listed_is_found(self, subject: Subject) -> None:
        """By its name, its number and the backend's id."""
        async with working(subject, "locations") as bench:
            locations = bench.driver.locations
            zones = await locations.zones(bench.tenant)
            assert_listed(zones)
            assert bench.zone in [zone.name for zone in zones]
            for zone in zones:
                assert await locations.zone(bench.tenant, zone.name) == zone
                assert await locations.zone(bench.tenant, str(zone.id)) == zone

    @in_loop
    async def test_each_region_that_is_listed_is_found(self, subject: Subject) -> None:
        """By its name and its number."""
        async with working(subject, "locations") as bench:
            locations = bench.driver.locations
            regions = await locations.regions(bench.tenant)
            assert_listed(regions)
            for region in regions:
                assert await locations.region(bench.tenant, region.name) == region
                assert await locations.region(bench.tenant, str(region.id)) == region

    @in_loop
    async def test_zones_and_regions_agree(self, subject: Subject) -> None:
        """Each zone is in one region, which knows it."""
        async with working(subject, "locations") as bench:
            zones = await bench.driver.locations.zones(bench.tenant)
            regions = await bench.driver.locations.regions(bench.tenant)
            listed = sorted((name, region.name) for region in regions for name in region.zones)
            assert listed == sorted((zone.name, zone.region) for zone in zones)

    @in_loop
    async def test_places_that_are_not_there_are_not_found(self, subject: Subject) -> None:
        """By name or number, with what was asked for."""
        async with working(subject, "locations") as bench:
            for name in (UNKNOWN, unused_id(), ""):
                with pytest.raises(errors.NotFound) as caught:
                    await bench.driver.locations.zone(bench.tenant, name)
                assert (caught.value.kind, caught.value.name) == ("zone", name)
                with pytest.raises(errors.NotFound) as caught:
                    await bench.driver.locations.region(bench.tenant, name)
                assert (caught.value.kind, caught.value.name) == ("region", name)

    @in_loop
    async def test_ids_outlive_the_driver(self, subject: Subject) -> None:
        """Clients keep numeric ids; a second server must give the same."""
        async with working(subject, "locations") as bench, working(subject) as second:
            found = await bench.driver.locations.zone(bench.tenant, bench.zone)
            again = await second.driver.locations.zone(second.tenant, second.zone)
            if again.backend_id == found.backend_id:
                assert again.id == found.id


class NetworksConformance:
    """`base.Networks`."""

    @in_loop
    async def test_each_network_that_is_listed_is_found(self, subject: Subject) -> None:
        """By name and number; its ranges too."""
        async with working(subject, "networks", "instances") as bench:
            await bench.instance()
            networks = await bench.driver.networks.list(bench.tenant)
            assert_listed(networks)
            for network in networks:
                assert await bench.driver.networks.get(bench.tenant, network.name) == network
                assert await bench.driver.networks.get(bench.tenant, str(network.id)) == network

    @in_loop
    async def test_each_subnetwork_that_is_listed_is_found(self, subject: Subject) -> None:
        """In its region and in its network."""
        async with working(subject, "networks", "instances") as bench:
            await bench.instance()
            networks = {item.name: item for item in await bench.driver.networks.list(bench.tenant)}
            listed = await bench.driver.networks.subnetworks(bench.tenant, None)
            assert listed
            for item in listed:
                assert item in networks[item.network].subnetworks
                assert await bench.driver.networks.subnetwork(bench.tenant, item.region, item.name) == item
                assert await bench.driver.networks.subnetwork(bench.tenant, item.region, str(item.id)) == item
                if item.cidr:
                    assert ipaddress.ip_address(item.gateway or item.cidr.split("/")[0]) in ipaddress.ip_network(
                        item.cidr
                    )

    @in_loop
    async def test_the_subnetworks_of_all_regions_are_those_of_each(self, subject: Subject) -> None:
        """None twice, none left out."""
        async with working(subject, "networks", "locations") as bench:
            regions = await bench.driver.locations.regions(bench.tenant)
            parts: list[Subnetwork] = []
            for region in regions:
                part = await bench.driver.networks.subnetworks(bench.tenant, region.name)
                assert_listed(part)
                assert {item.region for item in part} <= {region.name}
                parts += part
            whole = await bench.driver.networks.subnetworks(bench.tenant, None)
            assert sorted(item.id for item in whole) == sorted(item.id for item in parts)

    @in_loop
    async def test_the_default_network_is_always_there(self, subject: Subject) -> None:
        """Clients name it without looking."""
        async with working(subject, "networks") as bench:
            for tenant in (bench.tenant, bench.other):
                network = await bench.driver.networks.get(tenant, DEFAULT_NETWORK)
                assert network.name == DEFAULT_NETWORK
                assert network in await bench.driver.networks.list(tenant)

    @in_loop
    async def test_networks_that_are_not_there_are_not_found(self, subject: Subject) -> None:
        """By name or number, with what was asked for."""
        async with working(subject, "networks", "locations") as bench:
            region = (await bench.driver.locations.zone(bench.tenant, bench.zone)).region
            for name in (UNKNOWN, unused_id()):
                with pytest.raises(errors.NotFound) as caught:
                    await bench.driver.networks.get(bench.tenant, name)
                assert (caught.value.kind, caught.value.name) == ("network", name)
                with pytest.raises(errors.NotFound) as caught:
                    await bench.driver.networks.subnetwork(bench.tenant, region, name)
                assert (caught.value.kind, caught.value.name) == ("subnetwork", name)
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.networks.subnetwork(bench.tenant, UNKNOWN, DEFAULT_NETWORK)
            assert (caught.value.kind, caught.value.name) == ("region", UNKNOWN)

    @in_loop
    async def test_a_tenants_own_subnetworks_are_nobody_elses(self, subject: Subject) -> None:
        """Only those that the operator shares are."""
        async with working(subject, "networks", "instances") as bench:
            await bench.instance()
            mine = await bench.driver.networks.subnetworks(bench.tenant, None)
            others = {item.backend_id for item in await bench.driver.networks.subnetworks(bench.other, None)}
            for item in mine:
                if not item.shared:
                    assert item.backend_id not in others
                    with pytest.raises(errors.NotFound):
                        await bench.driver.networks.subnetwork(bench.other, item.region, str(item.id))
