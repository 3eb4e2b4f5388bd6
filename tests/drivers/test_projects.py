"""Which projects there are, and by what names they are reached."""

from __future__ import annotations

from gceshim.drivers.cloudstack.identity import find_project, project_names
from gceshim.drivers.cloudstack.projects import project_of
from gceshim.model import Account, stable_id
from tests.drivers.worlds import cloud, on_loop


@on_loop
async def test_the_account_comes_first_and_then_its_projects():
    """Each by a name that leads back to it, in whichever project it is asked."""
    async with cloud() as world:
        await world.raw("createProject", name="Zebra Crossing", displaytext="stripes")
        await world.raw("createProject", name="ant")
        for tenant in (world.tenant, await world.tenant_of("demo", "team")):
            projects = await world.driver.projects.list(tenant)
            assert [project.name for project in projects] == ["demo", "ant", "team", "zebra-crossing"]
        for project in projects:
            assert (project.id, project.active) == (stable_id(project.backend_id), True)
            assert project.created is not None
            tenant = await world.tenant_of("demo", project.name)
            assert tenant.owner == project.backend_id
            assert await world.driver.projects.get(tenant) == project
        assert projects[-1].description == "stripes"


@on_loop
async def test_a_list_of_projects_costs_one_call():
    """What cannot have changed is remembered."""
    async with cloud() as world:
        await world.driver.projects.list(world.tenant)
        before = len(world.sim.calls)
        await world.driver.projects.list(world.tenant)
        assert world.commands_since(before) == ["listProjects"]


@on_loop
async def test_a_project_called_like_the_account_keeps_out_of_its_way():
    """The account's own name and `default` mean the account, so that such a project is shown by another name."""
    async with cloud() as world:
        made = await world.raw("createProject", name="demo")
        backend_id = made["project"]["id"]
        name = f"demo-{backend_id[:8]}"
        names = [project.name for project in await world.driver.projects.list(world.tenant)]
        assert sorted(names) == sorted(["demo", "team", name])
        assert (await world.tenant_of("demo", name)).project_id == backend_id
        assert (await world.tenant_of("demo", "demo")).project_id is None


@on_loop
async def test_nobody_sees_the_projects_of_others():
    """An account without projects has itself."""
    async with cloud() as world:
        projects = await world.driver.projects.list(await world.tenant_of("other"))
        assert [project.name for project in projects] == ["other"]


def test_a_project_that_is_suspended_is_not_active():
    """CloudStack shows it, and starts nothing in it."""
    row = {"id": "1-2", "name": "p", "state": "Suspended"}
    assert not project_of(row).active
    assert project_of({**row, "state": "Active"}).active


def test_names_of_projects_are_unique_whatever_cloudstack_calls_them():
    """Two of one name in different domains, and one called `default`."""
    account = Account("a-1", "demo", "ROOT", "demo", "")
    rows = [{"id": f"{number}0000000-0", "name": name} for number, name in enumerate(["Web", "web", "default"], 1)]
    names = project_names(account, rows)
    assert [names[row["id"]] for row in rows] == ["web-10000000", "web", "default-30000000"]
    assert [find_project(account, rows, names[row["id"]]) for row in rows] == rows
