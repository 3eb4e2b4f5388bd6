"""Machine types and images."""

from __future__ import annotations

import pytest

from gceshim.drivers import errors
from gceshim.model import Image, ImageState, Page
from gceshim.testing.conformance.bench import UNKNOWN, every, in_loop, working
from gceshim.testing.conformance.shapes import assert_listed, assert_shape, unused_id
from gceshim.testing.conformance.subject import Subject


class CatalogConformance:
    """`base.Catalog`."""

    @in_loop
    async def test_each_machine_type_that_is_listed_is_found(self, subject: Subject) -> None:
        """By name and number, as it is listed."""
        async with working(subject, "catalog") as bench:
            listed = await bench.driver.catalog.machine_types(bench.tenant, bench.zone)
            assert_listed(listed)
            for item in listed:
                assert (item.zone, item.custom) == (bench.zone, False)
                assert min(item.vcpus, item.memory_mib) > 0
                assert await bench.driver.catalog.machine_type(bench.tenant, bench.zone, item.name) == item
                assert await bench.driver.catalog.machine_type(bench.tenant, bench.zone, str(item.id)) == item

    @in_loop
    async def test_the_machine_types_that_are_good_are_found(self, subject: Subject) -> None:
        """They may be aliases, or names of GCE's that are not listed."""
        async with working(subject, "catalog") as bench:
            for name in (bench.ground.machine_type, bench.ground.other_machine_type):
                found = await bench.driver.catalog.machine_type(bench.tenant, bench.zone, name)
                assert_shape(found)
                assert found.name == name

    @in_loop
    async def test_custom_machine_types_are_found_or_not(self, subject: Subject) -> None:
        """As the trait says; with the sizes that were asked for."""
        async with working(subject, "catalog") as bench:
            catalog = bench.driver.catalog
            if subject.traits.custom_machine_types:
                found = await catalog.machine_type(bench.tenant, bench.zone, "custom-2-4096")
                assert_shape(found)
                assert (found.name, found.vcpus, found.memory_mib, found.custom) == ("custom-2-4096", 2, 4096, True)
            else:
                with pytest.raises(errors.NotFound):
                    await catalog.machine_type(bench.tenant, bench.zone, "custom-2-4096")

    @in_loop
    async def test_machine_types_that_are_not_there_are_not_found(self, subject: Subject) -> None:
        """By name or number, with what was asked for."""
        async with working(subject, "catalog") as bench:
            for name in (UNKNOWN, unused_id(), "custom-x-1"):
                with pytest.raises(errors.NotFound) as caught:
                    await bench.driver.catalog.machine_type(bench.tenant, bench.zone, name)
                assert (caught.value.kind, caught.value.name) == ("machine_type", name)
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.catalog.machine_types(bench.tenant, UNKNOWN)
            assert (caught.value.kind, caught.value.name) == ("zone", UNKNOWN)


class ImagesConformance:
    """`base.Images`."""

    @in_loop
    async def test_each_image_that_is_listed_is_found(self, subject: Subject) -> None:
        """In the project that it is listed in, the tenant's own too."""
        async with working(subject, "images") as bench:
            for project in (bench.ground.image_project, bench.tenant.project):
                page = await bench.driver.images.list(bench.tenant, project, page=1, page_size=100)
                assert_listed(page.items, by_name=False)
                for image in page.items:
                    assert await bench.driver.images.get(bench.tenant, project, image.name) == image
                    assert await bench.driver.images.get(bench.tenant, project, str(image.id)) == image

    @in_loop
    async def test_the_newest_of_a_family_is_ready_and_listed(self, subject: Subject) -> None:
        """It is what machines are made from."""
        async with working(subject, "images") as bench:
            project, family = bench.ground.image_project, bench.ground.image_family
            found = await bench.driver.images.newest(bench.tenant, project, family)
            assert_shape(found)
            assert (found.state, found.project) == (ImageState.READY, project)
            assert await bench.driver.images.get(bench.tenant, project, found.name) == found

    @in_loop
    async def test_pages_of_images_are_whole_and_in_one_order(self, subject: Subject) -> None:
        """Each image once, whatever the size of the pages."""
        async with working(subject, "images") as bench:

            async def fetch(page: int, page_size: int) -> Page[Image]:
                return await bench.driver.images.list(
                    bench.tenant, bench.ground.image_project, page=page, page_size=page_size
                )

            whole = await every(fetch, 500)
            for page_size in sorted({1, 2, len(whole), len(whole) + 1} - {0}):
                assert await every(fetch, page_size) == whole
            after = await fetch(len(whole) + 1, 1)
            assert (list(after.items), after.more) == ([], False)

    @in_loop
    async def test_images_that_are_not_there_are_not_found(self, subject: Subject) -> None:
        """By name, number or family, in a public project and in the tenant's own."""
        async with working(subject, "images") as bench:
            for project in (bench.ground.image_project, bench.tenant.project):
                for name in (UNKNOWN, unused_id()):
                    with pytest.raises(errors.NotFound) as caught:
                        await bench.driver.images.get(bench.tenant, project, name)
                    assert (caught.value.kind, caught.value.name) == ("image", name)
                with pytest.raises(errors.NotFound) as caught:
                    await bench.driver.images.newest(bench.tenant, project, UNKNOWN)
                assert (caught.value.kind, caught.value.name) == ("image_family", UNKNOWN)

    @in_loop
    async def test_public_projects_are_told_from_the_tenants(self, subject: Subject) -> None:
        """Which it is decides whose images are looked through."""
        async with working(subject, "images") as bench:
            assert bench.driver.images.is_public_project(bench.ground.image_project) is True
            assert bench.driver.images.is_public_project(bench.tenant.project) is False
            assert bench.driver.images.is_public_project(UNKNOWN) is False

    @in_loop
    async def test_a_tenants_own_images_are_nobody_elses(self, subject: Subject) -> None:
        """Where there are any."""
        async with working(subject, "images") as bench:
            images = bench.driver.images
            page = await images.list(bench.tenant, bench.tenant.project, page=1, page_size=100)
            for image in page.items:
                if image.own:
                    with pytest.raises(errors.NotFound):
                        await images.get(bench.other, bench.other.project, str(image.id))
