"""gcloud: what is there before anything is made."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.clients.demo import Cloud, Demo
from tests.clients.gcloud import Gcloud

ZONES = ["sandbox-1-a", "sandbox-sg-a"]


def test_the_lines_that_env_prints_are_all_that_gcloud_needs(demo: Demo, gcloud: Gcloud) -> None:
    """The sentence of the README, typed into a shell: eval, then gcloud."""
    script = f'eval "$("{sys.executable}" -m gceshim env)" && gcloud compute zones list'
    given = json.loads(demo.gceshim("env", "--json"))
    bare = {name: value for name, value in gcloud.environment.items() if name not in given}
    done = subprocess.run(["sh", "-c", script], env=bare, capture_output=True, text=True, timeout=120, check=False)

    assert given == {name: gcloud.environment[name] for name in given}
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()[1:]] == [
        ["sandbox-1-a", "sandbox-1", "UP"],
        ["sandbox-sg-a", "sandbox-sg", "UP"],
    ]


def test_regions_show_cloudstacks_limits(gcloud: Gcloud, cloud: Cloud, demo: Demo) -> None:
    """The table of regions is made of quotas: CloudStack's limits of the account."""
    regions = gcloud.shown("regions", "list")
    limits = {row["resourcetypename"]: row["max"] for row in cloud.rows("listResourceLimits", account=demo.project)}

    assert [(region["name"], region["status"]) for region in regions] == [("sandbox-1", "UP"), ("sandbox-sg", "UP")]
    for region in regions:
        shown = {quota["metric"]: quota["limit"] for quota in region["quotas"]}
        assert (shown["CPUS"], shown["DISKS_TOTAL_GB"]) == (limits["cpu"], limits["primary_storage"])


def test_machine_types_are_cloudstacks_fixed_offerings(gcloud: Gcloud, cloud: Cloud) -> None:
    """Each with its vCPUs and memory, in each zone."""
    types = gcloud.shown("machine-types", "list")
    fixed = [row for row in cloud.rows("listServiceOfferings") if not row["iscustomized"]]
    expected = sorted((row["name"].lower().replace(" ", "-"), row["cpunumber"], row["memory"]) for row in fixed)

    for zone in ZONES:
        shown = [item for item in types if item["zone"].rpartition("/")[2] == zone]
        assert sorted((item["name"], item["guestCpus"], item["memoryMb"]) for item in shown) == expected


def test_machine_types_of_one_zone_are_filtered_by_the_server(gcloud: Gcloud) -> None:
    """With a zone given, gcloud sends the filter and prints what comes, unseen."""
    said = gcloud.done("machine-types", "list", f"--zones={ZONES[0]}", "--filter=guestCpus=4")

    assert said.table == [["standard-4", ZONES[0], "4", "15.00"], ["xlarge-instance", ZONES[0], "4", "16.00"]]


def test_places_and_kinds_are_described(gcloud: Gcloud, cloud: Cloud) -> None:
    """Zone, region, machine type, one of a chosen size too, and disk type: each by its name."""
    zone, region = gcloud.shown("zones", "describe", ZONES[0]), gcloud.shown("regions", "describe", "sandbox-1")
    [row] = cloud.rows("listZones", name="Sandbox 1")
    fixed = gcloud.shown("machine-types", "describe", "medium-instance", f"--zone={ZONES[0]}")
    custom = gcloud.shown("machine-types", "describe", "custom-2-4096", f"--zone={ZONES[0]}")

    assert (zone["status"], zone["description"], zone["region"]) == ("UP", row["name"], region["selfLink"])
    assert region["zones"] == [zone["selfLink"]]
    assert (fixed["guestCpus"], fixed["memoryMb"], fixed["zone"]) == (1, 2048, ZONES[0])
    assert (custom["guestCpus"], custom["memoryMb"]) == (2, 4096)


def test_disk_types_are_offerings_and_gces_own(gcloud: Gcloud, cloud: Cloud) -> None:
    """Each in each zone, with the sizes that it may have."""
    listed = gcloud.done("disk-types", "list").table
    own = {row["name"].lower() for row in cloud.rows("listDiskOfferings")}
    described = gcloud.shown("disk-types", "describe", "pd-ssd", f"--zone={ZONES[0]}")

    for zone in ZONES:
        assert {row[0] for row in listed if row[1] == zone} == {*own, "pd-balanced", "pd-ssd", "pd-standard"}
    assert ["small", ZONES[0], "5GB-5GB"] in listed
    assert (described["name"], described["validDiskSize"]) == ("pd-ssd", "1GB-1024GB")


def test_images_are_found_in_the_projects_where_gcloud_looks(gcloud: Gcloud, cloud: Cloud, demo: Demo) -> None:
    """A batch of 18 lists, one for each project; a project that has none is no error."""
    said = gcloud.done("images", "list")
    shown = {row[0]: row[1] for row in said.table}
    featured = {row["name"] for row in cloud.rows("listTemplates", templatefilter="featured")}

    assert shown["debian-12"] == shown["debian-11"] == "debian-cloud"
    assert (shown["ubuntu-24-04-lts"], shown["windows-server-2022"]) == ("ubuntu-os-cloud", "windows-cloud")
    assert (shown["demo-golden"], len(shown)) == (demo.project, len(featured) + 1)
    assert said.errors == ""


def test_own_images_are_listed_alone(gcloud: Gcloud, demo: Demo) -> None:
    """`--no-standard-images` is one plain list of the own project."""
    images = gcloud.shown("images", "list", "--no-standard-images")

    assert [(image["name"], image["selfLink"]) for image in images] == [
        ("demo-golden", f"{demo.url}/compute/v1/projects/{demo.project}/global/images/demo-golden")
    ]


def test_a_family_names_its_newest_image(gcloud: Gcloud) -> None:
    """What `--image-family debian-12 --image-project debian-cloud` stands for."""
    image = gcloud.shown("images", "describe-from-family", "debian-12", "--project=debian-cloud")

    assert (image["name"], image["family"], image["status"]) == ("debian-12", "debian-12", "READY")
    assert image["diskSizeGb"] == "10"


def test_the_default_network_is_listed_with_its_mode(gcloud: Gcloud) -> None:
    """gcloud asks for `default` by name where a command names no network."""
    said = gcloud.done("networks", "list")

    assert ["default", "AUTO", "REGIONAL"] in said.table


def test_project_metadata_is_added_and_removed(gcloud: Gcloud, demo: Demo) -> None:
    """A cycle of read, change and write with a fingerprint, on an operation of global scope."""
    before = gcloud.shown("project-info", "describe")
    added = gcloud.done("project-info", "add-metadata", "--metadata=gcloud-colour=blue,gcloud-size=4")
    after = gcloud.shown("project-info", "describe")
    gcloud.done("project-info", "remove-metadata", "--keys=gcloud-colour,gcloud-size")
    end = gcloud.shown("project-info", "describe")

    assert (before["name"], before["selfLink"]) == (demo.project, f"{demo.url}/compute/v1/projects/{demo.project}")
    assert f"Updated [{before['selfLink']}]." in added.errors
    assert [item for item in after["commonInstanceMetadata"]["items"] if item["key"].startswith("gcloud-")] == [
        {"key": "gcloud-colour", "value": "blue"},
        {"key": "gcloud-size", "value": "4"},
    ]
    assert after["commonInstanceMetadata"]["fingerprint"] != before["commonInstanceMetadata"]["fingerprint"]
    assert end["commonInstanceMetadata"] == before["commonInstanceMetadata"]
