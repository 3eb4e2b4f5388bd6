"""Looks through the jobs of an account: how much is read, and that none stays unseen."""

from __future__ import annotations

from gceshim.drivers.cloudstack.jobs import settle
from gceshim.model import JobState
from gceshim.simulator import SimulatorSettings, entities
from tests.drivers.worlds import Cloud, cloud, on_loop, spec

PAGE = 5


async def tag(world: Cloud, count: int, machine: str) -> list[str]:
    """So many jobs that have ended."""
    made = []
    for number in range(count):
        tags = {"tags[0].key": f"k{number}-{len(list(world.sim.jobs()))}", "tags[0].value": "v"}
        reply = await world.driver.backend.call(
            world.tenant, "createTags", resourceids=machine, resourcetype="UserVm", **tags
        )
        while (await world.driver.jobs.get(world.tenant, reply["jobid"])).state is JobState.PENDING:
            pass
        made.append(reply["jobid"])
    return made


async def stuck(world: Cloud, machine: str) -> str:
    """A job that does not end."""
    world.sim.faults.add("slow_job", "stopVirtualMachine", seconds=1000)
    return (await world.driver.backend.call(world.tenant, "stopVirtualMachine", id=machine))["jobid"]


def forget(world: Cloud, count: int) -> None:
    """As CloudStack does a day after."""
    world.sim.cloud.state.forget_oldest(entities.Job, len(world.sim.jobs()) - count)


async def swept(world: Cloud) -> tuple[set[str], int]:
    """What is pending, and how many pages were read to know."""
    before = world.sim.call_counts["listAsyncJobs"]
    pending = await world.driver.jobs.pending(world.tenant)
    return set(pending or ()), world.sim.call_counts["listAsyncJobs"] - before


@on_loop
async def test_what_has_ended_before_is_not_read_again():
    """A busy account has thousands of jobs that have ended, each with all that it made."""
    async with cloud(SimulatorSettings(job_seconds=0.0), page_size=PAGE) as world:
        made = await world.create(spec())
        await tag(world, 6 * PAGE, made.backend_id)
        pages = -(-len(world.sim.jobs()) // PAGE)
        assert pages > 4
        assert await swept(world) == (set(), 4)  # the first, for their number, and the last three
        assert await swept(world) == (set(), 1)
        job = await stuck(world, made.backend_id)
        assert (await swept(world))[0] == {job}
        await tag(world, 2 * PAGE, made.backend_id)
        pending, count = await swept(world)
        assert (pending, count in {2, 3, 4}) == ({job}, True)
        await tag(world, PAGE, made.backend_id)
        assert (await swept(world))[0] == {job}


@on_loop
async def test_a_job_that_moved_to_a_page_before_is_seen_again():
    """CloudStack forgets old jobs, so that the others move up; one who asked about it has it seen again."""
    async with cloud(SimulatorSettings(job_seconds=0.0), page_size=PAGE) as world:
        made = await world.create(spec())
        await tag(world, 3 * PAGE, made.backend_id)
        job = await stuck(world, made.backend_id)
        await tag(world, PAGE, made.backend_id)
        assert (await swept(world))[0] == {job}
        place = [row.uuid for row in world.sim.jobs()].index(job)
        forget(world, place % PAGE + 1)  # it is the last of the page before now
        assert (await swept(world))[0] == set()
        assert (await world.driver.jobs.get(world.tenant, job)).state is JobState.PENDING
        assert (await swept(world))[0] == {job}


@on_loop
async def test_jobs_that_are_all_forgotten_leave_no_look_at_an_empty_page():
    """After a quiet night there are fewer pages than there were."""
    async with cloud(SimulatorSettings(job_seconds=0.0), page_size=PAGE) as world:
        made = await world.create(spec())
        await tag(world, 3 * PAGE, made.backend_id)
        assert (await swept(world))[0] == set()
        forget(world, len(world.sim.jobs()))
        job = await stuck(world, made.backend_id)
        assert await swept(world) == ({job}, 2)
        assert await swept(world) == ({job}, 1)


@on_loop
async def test_who_waits_for_a_lost_call_looks_ever_less_often():
    """Answers are lost where there is too much to do already; and it is waited for until the job has ended."""
    async with cloud(SimulatorSettings(job_seconds=0.01)) as world:
        made = await world.create(spec())
        world.sim.faults.add("slow_job", "stopVirtualMachine", seconds=1.6)
        job = (await world.driver.backend.call(world.tenant, "stopVirtualMachine", id=made.backend_id))["jobid"]
        before = world.sim.call_counts["listAsyncJobs"]
        await settle(world.driver.backend, world.tenant, "StopVM")
        assert (await world.driver.jobs.get(world.tenant, job)).state is JobState.DONE
        assert world.sim.call_counts["listAsyncJobs"] - before <= 8
