"""gcloud: many machines at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.demo import Cloud, Demo
from tests.clients.gcloud import Gcloud
from tests.clients.plain import Plain

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_machines_by_a_pattern(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, demo: Demo, fresh_name: Callable[[], str]
) -> None:
    """gcloud counts the operations of the group, and knows by them which machines there are."""
    base = fresh_name()
    names = [f"{base}-1", f"{base}-2"]
    created = gcloud.done(
        *("instances", "bulk", "create", f"--name-pattern={base}-#", "--count=2", f"--zone={demo.zone}"),
        *("--machine-type=small-instance", "--image-family=debian-12", "--image-project=debian-cloud"),
        *("--no-address", "--labels=env=test", "--create-disk=size=3GB,auto-delete=yes,device-name=data"),
    )
    assert created.table == [[name, demo.zone] for name in names]
    assert "[VM instances created: 2, failed: 0.]" in created.errors
    assert cloud.states(*names) == ["Running", "Running"]
    assert [cloud.tags(cloud.machines()[name]) for name in names] == [{"env": "test"}] * 2
    assert sorted(cloud.volumes()) == [f"{name}-1" for name in names]
    operations = gcloud.shown("operations", "list", f"--zones={demo.zone}", f"--filter=targetLink~{base}-[12]$")
    assert {(item["operationType"], item["status"]) for item in operations} == {("insert", "DONE")}
    assert len({item["operationGroupId"] for item in operations}) == 1
    plain.no_machine(*names)


def test_machines_with_names_of_their_own(
    gcloud: Gcloud, cloud: Cloud, plain: Plain, demo: Demo, fresh_name: Callable[[], str]
) -> None:
    """And one of them taken: nothing is made. gcloud prints the error, and ends with status 0 all the same."""
    names = [fresh_name(), fresh_name()]
    words = ("instances", "bulk", "create", f"--zone={demo.zone}", "--image-family=debian-12")
    more = ("--image-project=debian-cloud", "--no-address", f"--predefined-names={','.join(names)}")
    gcloud.done(*words, *more)
    assert cloud.states(*names) == ["Running", "Running"]
    plain.no_machine(names[1])
    said = gcloud.run(*words, *more)
    path = f"projects/{demo.project}/zones/{demo.zone}/instances/{names[0]}"
    assert (said.output, said.errors.splitlines()[-1]) == ("", f"ERROR: The resource '{path}' already exists")
    assert cloud.states(*names) == ["Running", None]
    plain.no_machine(names[0])
