"""Operations that are not done when they are answered: what clients wait for, and what they see meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from google.cloud import compute_v1

from tests.clients.demo import Cloud, Demo
from tests.clients.gcloud import Gcloud
from tests.clients.test_google_cloud_compute import Clients, ended, machine

RUNNING = compute_v1.Operation.Status.RUNNING


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_gcloud_waits_until_the_cloud_has_done_its_work(
    slow_demo: Demo, tmp_path: Path, fresh_name: Callable[[], str]
) -> None:
    """Batches of waits for two machines at once, and the waits of a poller for one."""
    gcloud, cloud = Gcloud(slow_demo, tmp_path), Cloud(slow_demo.cloudstack_url)
    names = [fresh_name(), fresh_name()]
    before = cloud.holdings()
    created = gcloud.done("instances", "create", *names, "--no-address")
    states = cloud.states(*names)

    assert ([row[0] for row in created.table], [row[-1] for row in created.table]) == (names, ["RUNNING"] * 2)
    assert states == ["Running", "Running"]
    assert gcloud.done("instances", "stop", names[0]).errors.count("Updated [") == 1
    assert cloud.states(*names) == ["Stopped", "Running"]
    assert gcloud.done("instances", "delete", *names).errors.count("Deleted [") == 2
    assert cloud.holdings() == before


def test_an_operation_is_seen_while_it_runs(slow_demo: Demo, fresh_name: Callable[[], str]) -> None:
    """A program that does not wait reads the operation, finds it in lists, and can wait later."""
    clients, cloud, name = Clients(slow_demo.url, slow_demo.token), Cloud(slow_demo.cloudstack_url), fresh_name()
    here = {"project": slow_demo.project, "zone": slow_demo.zone}
    begun = clients.instances.insert_unary(instance_resource=machine(name, slow_demo.zone), **here)
    seen = clients.operations.get(operation=begun.name, **here)
    listed = [item.name for item in clients.operations.list(request={**here, "filter": "status=RUNNING"})]
    done = ended(clients, here, begun)

    assert (begun.status, seen.status, begun.name in listed) == (RUNNING, RUNNING, True)
    assert (seen.progress < 100, seen.end_time) == (True, "")
    assert (done.progress, bool(done.end_time), done.http_error_status_code) == (100, True, 0)
    assert cloud.states(name) == ["Running"]
    begun = clients.instances.delete_unary(instance=name, **here)
    assert (begun.status, begun.operation_type) == (RUNNING, "delete")
    assert ended(clients, here, begun).http_error_status_code == 0
    assert cloud.states(name) == [None]
    clients.close()
