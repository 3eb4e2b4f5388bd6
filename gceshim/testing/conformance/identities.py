"""Who callers are, their projects and their jobs."""

from __future__ import annotations

import pytest

from gceshim.drivers import errors
from gceshim.model import Credentials, JobState
from gceshim.testing.conformance.bench import UNKNOWN, in_loop, working
from gceshim.testing.conformance.shapes import assert_shape
from gceshim.testing.conformance.subject import Subject


class DriverItself:
    """`base.Driver`: what it says about itself."""

    @in_loop
    async def test_it_has_what_every_driver_has(self, subject: Subject) -> None:
        """Nobody can sign in without `identity`, no operation ends without `jobs`."""
        async with working(subject) as bench:
            capabilities = bench.driver.capabilities()
            assert {"identity", "jobs"} <= capabilities <= set(bench.driver.CAPABILITIES)

    @in_loop
    async def test_which_capabilities_it_has_is_known_without_a_backend(self, subject: Subject) -> None:
        """The discovery document is served also while the backend is away."""
        async with working(subject) as bench:
            driver = subject.unreachable()
            assert driver.capabilities() == bench.driver.capabilities()
            await driver.close()

    @in_loop
    async def test_a_setting_that_does_not_exist_is_refused_by_name(self, subject: Subject) -> None:
        """A misspelt setting must not be a setting that silently does nothing."""
        async with working(subject) as bench:
            with pytest.raises(ValueError, match="no_such_setting"):
                type(bench.driver).create({"no_such_setting": 1})


class IdentityConformance:
    """`base.Identity`."""

    @in_loop
    async def test_credentials_tell_whose_they_are(self, subject: Subject) -> None:
        """And always the same."""
        async with working(subject, "identity") as bench:
            account = await bench.driver.identity.whoami(bench.tenant.credentials)
            assert_shape(account)
            assert account.backend_id
            assert account.name
            assert await bench.driver.identity.whoami(bench.tenant.credentials) == account
            other = await bench.driver.identity.whoami(bench.other.credentials)
            assert (other.backend_id, other.user) != (account.backend_id, account.user)

    @in_loop
    async def test_wrong_credentials_are_refused_and_not_told_on(self, subject: Subject) -> None:
        """The message reaches the caller and the detail the log."""
        async with working(subject, "identity") as bench:
            for wrong in (
                Credentials("key-that-is-wrong", "secret-that-is-wrong"),
                Credentials(bench.tenant.credentials.api_key, "secret-that-is-wrong"),
            ):
                with pytest.raises(errors.Unauthenticated) as caught:
                    await bench.driver.identity.whoami(wrong)
                told = caught.value.message + caught.value.detail
                assert wrong.secret_key not in told
                assert wrong.api_key not in told

    @in_loop
    async def test_a_password_opens_the_same_keys_each_time(self, subject: Subject) -> None:
        """Keys made anew at each sign-in would end the sessions of everyone who uses the old ones."""
        async with working(subject, "identity") as bench:
            ground, identity = bench.ground, bench.driver.identity
            if not subject.traits.passwords:
                with pytest.raises(errors.Unsupported):
                    await identity.sign_in("somebody", "a-password-of-mine", "")
                return
            for _ in range(2):
                found = await identity.sign_in(ground.username, ground.password, ground.domain)
                assert found == bench.tenant.credentials
            assert await identity.whoami(found) == await identity.whoami(bench.tenant.credentials)

    @in_loop
    async def test_a_wrong_password_is_refused_and_not_told_on(self, subject: Subject) -> None:
        """The message is shown on a page and the detail goes to the log; one attempt, as each may count."""
        async with working(subject, "identity") as bench:
            ground, wrong = bench.ground, "a-password-of-mine"
            refusal = errors.Unauthenticated if subject.traits.passwords else errors.Unsupported
            for username, domain in ((ground.username, ground.domain), (UNKNOWN, ""), (ground.username, UNKNOWN)):
                with pytest.raises(refusal) as caught:
                    await bench.driver.identity.sign_in(username or UNKNOWN, wrong, domain)
                assert wrong not in caught.value.message + caught.value.detail

    @in_loop
    async def test_the_account_is_a_project_by_each_of_its_names(self, subject: Subject) -> None:
        """However it is written, it is one owner, whose operations belong together."""
        async with working(subject, "identity") as bench:
            tenant, identity = bench.tenant, bench.driver.identity
            account = await identity.whoami(tenant.credentials)
            found = [
                await identity.tenant("me", tenant.credentials, name)
                for name in ("default", account.name, account.backend_id)
            ]
            assert {item.owner for item in found} == {found[0].owner}
            for item in found:
                assert_shape(item)
                assert (item.subject, item.credentials, item.project_id) == ("me", tenant.credentials, None)
            assert [item.project for item in found] == ["default", account.name, account.backend_id]

    @in_loop
    async def test_a_tenant_is_found_again_as_it_was_written(self, subject: Subject) -> None:
        """Operations are taken up again with the subject and the project that were written down."""
        async with working(subject, "identity") as bench:
            for tenant in (bench.tenant, bench.other):
                again = await bench.driver.identity.tenant(tenant.subject, tenant.credentials, tenant.project)
                assert again == tenant

    @in_loop
    async def test_a_project_that_is_not_there_is_not_found(self, subject: Subject) -> None:
        """With what was asked for."""
        async with working(subject, "identity") as bench:
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.identity.tenant("me", bench.tenant.credentials, UNKNOWN)
            assert (caught.value.kind, caught.value.name) == ("project", UNKNOWN)

    @in_loop
    async def test_a_project_of_others_is_not_found_either(self, subject: Subject) -> None:
        """Else projects of others could be guessed."""
        async with working(subject, "identity") as bench:
            with pytest.raises(errors.NotFound) as caught:
                await bench.driver.identity.tenant("me", bench.other.credentials, bench.tenant.owner)
            assert (caught.value.kind, caught.value.name) == ("project", bench.tenant.owner)


class ProjectsConformance:
    """`base.Projects`."""

    @in_loop
    async def test_a_project_is_the_tenants_own(self, subject: Subject) -> None:
        """And keeps its id."""
        async with working(subject, "projects") as bench:
            project = await bench.driver.projects.get(bench.tenant)
            assert_shape(project)
            assert 0 < project.id < 2**63
            assert project.name
            assert await bench.driver.projects.get(bench.tenant) == project
            other = await bench.driver.projects.get(bench.other)
            assert other.id != project.id

    @in_loop
    async def test_each_project_that_is_listed_leads_back_to_itself(self, subject: Subject) -> None:
        """By its name and its id; the caller's account is the first."""
        async with working(subject, "projects") as bench:
            identity, projects, credentials = bench.driver.identity, bench.driver.projects, bench.tenant.credentials
            listed = await projects.list(bench.tenant)
            account = await identity.tenant("me", credentials, "default")
            assert listed[0] == await projects.get(account)
            names = [project.name for project in listed]
            assert names[1:] == sorted(names[1:])
            assert len(set(names)) == len(names)
            for project in listed:
                assert_shape(project)
                for name in (project.name, project.backend_id):
                    tenant = await identity.tenant("me", credentials, name)
                    assert (await projects.get(tenant)).id == project.id

    @in_loop
    async def test_quotas_are_numbers_that_can_be(self, subject: Subject) -> None:
        """Each kind once; what is unlimited or not told is None and no number."""
        async with working(subject, "projects") as bench:
            quotas = await bench.driver.projects.quotas(bench.tenant)
            for quota in quotas:
                assert_shape(quota)
            assert len({quota.kind for quota in quotas}) == len(quotas)
            numbers = [number for quota in quotas for number in (quota.limit, quota.usage) if number is not None]
            assert [number for number in numbers if number < 0] == []


class JobsConformance:
    """`base.Jobs`."""

    @in_loop
    async def test_a_job_that_is_not_there_is_not_found(self, subject: Subject) -> None:
        """Backends forget jobs; whoever waits for one must be told."""
        async with working(subject, "jobs") as bench:
            for name in (UNKNOWN, "6f1c0b1e-5f0a-4c43-8c11-3a5f3a0a7d55"):
                with pytest.raises(errors.NotFound):
                    await bench.driver.jobs.get(bench.tenant, name)

    @in_loop
    async def test_pending_jobs_are_told_or_not(self, subject: Subject) -> None:
        """As the trait says; nobody's guess may stand for a list."""
        async with working(subject, "jobs") as bench:
            pending = await bench.driver.jobs.pending(bench.tenant)
            if subject.traits.tells_pending_jobs:
                assert isinstance(pending, frozenset)
            else:
                assert pending is None

    @in_loop
    async def test_jobs_that_have_ended_are_not_pending(self, subject: Subject) -> None:
        """And tell their end as often as they are asked, as long as they are remembered."""
        async with working(subject, "jobs", "instances") as bench:
            steps = bench.steps()
            await bench.driver.instances.create(steps, bench.spec())
            pending = await bench.driver.jobs.pending(bench.tenant) or frozenset()
            assert pending & set(steps.jobs) == frozenset()
            for name in steps.jobs:
                job = await bench.driver.jobs.get(bench.tenant, name)
                assert_shape(job)
                assert (job.id, job.state) == (name, JobState.DONE)
                assert await bench.driver.jobs.get(bench.tenant, name) == job
