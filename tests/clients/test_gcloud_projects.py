"""gcloud: which projects there are, asked of Cloud Resource Manager."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.demo import Cloud, Demo
from tests.clients.gcloud import Gcloud


def shown(gcloud: Gcloud, *words: str) -> Any:
    """What a command of the group `projects` prints as JSON."""
    said = gcloud.outside_compute("projects", *words, "--format=json")
    assert (said.status, "WARNING" in said.errors, "ERROR" in said.errors) == (0, False, False), said
    return json.loads(said.output)


def test_projects_are_listed(gcloud: Gcloud, cloud: Cloud, demo: Demo) -> None:
    """The account itself, then the CloudStack projects that it is a member of."""
    said = gcloud.outside_compute("projects", "list")
    projects = shown(gcloud, "list")
    created = {row["name"]: row["created"][:19] for row in cloud.rows("listProjects") + cloud.rows("listAccounts")}

    assert said.status == 0, said
    assert [row[0] for row in said.table] == [project["projectId"] for project in projects] == [demo.project, "team"]
    for project in projects:
        assert (project["lifecycleState"], project["projectNumber"].isdigit()) == ("ACTIVE", True)
        assert project["createTime"][:19] == created[project["projectId"]]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--filter=projectId=team"], ["team"]),
        (["--filter=id:te*"], ["team"]),
        (["--filter=projectId:(demo team)"], ["demo", "team"]),
        (["--filter=NOT projectId=demo"], ["team"]),
        (["--filter=lifecycleState:DELETE_REQUESTED"], []),
        (["--filter=projectNumber>0"], ["demo", "team"]),
        (["--limit=1"], ["demo"]),
        (["--page-size=1"], ["demo", "team"]),
        (["--sort-by=~projectId"], ["team", "demo"]),
    ],
    ids=lambda value: value[0] if value else "none",
)
def test_lists_of_projects_are_narrowed(gcloud: Gcloud, words: list[str], found: list[str]) -> None:
    """What gcloud leaves to the server, and what it does itself."""
    assert [project["projectId"] for project in shown(gcloud, "list", *words)] == found


def test_a_project_is_described(gcloud: Gcloud) -> None:
    """By its id and by its number, and the same as in the list."""
    for project in shown(gcloud, "list"):
        assert shown(gcloud, "describe", project["projectId"]) == project
        assert shown(gcloud, "describe", project["projectNumber"]) == project


def test_a_project_that_is_not_there_is_an_error(gcloud: Gcloud) -> None:
    """With the server's sentence in it."""
    said = gcloud.outside_compute("projects", "describe", "nobodys")

    assert said.status == 1
    assert "Failed to find project nobodys" in said.errors
    assert "Traceback" not in said.errors and "crashed" not in said.errors


def test_setting_a_project_checks_that_it_is_there(gcloud: Gcloud, tmp_path: Path) -> None:
    """gcloud asks for the project first, and warns about one that it cannot see."""
    alone = gcloud.with_variables(
        CLOUDSDK_CONFIG=str(tmp_path),  # what is set stays there
        CLOUDSDK_CORE_PROJECT=None,
        CLOUDSDK_CORE_ACCOUNT="somebody@example.org",  # without an account gcloud does not ask
    )
    good = alone.outside_compute("config", "set", "project", "team")
    bad = alone.outside_compute("config", "set", "project", "nobodys")

    assert (good.status, "WARNING" in good.errors) == (0, False), good
    assert "Failed to find project nobodys" in bad.errors.partition("WARNING")[2], bad
