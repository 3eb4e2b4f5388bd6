"""The driver's own settings name the key at fault."""

from __future__ import annotations

import pytest

from gceshim.drivers.cloudstack.settings import ImageOverride, parse

URL = "http://cloud.example.org:8080/client/api"


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ({}, "url"),
        ({"url": "x"}, "url"),
        ({"url": "ftp://h/p"}, "url"),
        ({"url": "http://h"}, "url"),
        ({"url": "http://u:p@h/client/api"}, "url"),
        ({"url": "http://h:99999/client/api"}, "url"),
        ({"url": "http://h:443/client/api"}, "url"),
        ({"url": 7}, "url"),
        ({"url": URL, "thread": 4}, "thread"),
        ({"url": URL, "threads": "4"}, "threads"),
        ({"url": URL, "threads": True}, "threads"),
        ({"url": URL, "threads": 0}, "threads"),
        ({"url": URL, "page_size": 501}, "page_size"),
        ({"url": URL, "timeout_seconds": 0}, "timeout_seconds"),
        ({"url": URL, "verify_tls": "no"}, "verify_tls"),
        ({"url": URL, "zones": {"Paris": "Paris"}}, "zones.Paris"),
        ({"url": URL, "zones": {"A": "us-east1-a", "B": "us-east1-a"}}, "zones"),
        ({"url": URL, "zones": ["a"]}, "zones"),
        ({"url": URL, "machine_types": {"Big One": "Large"}}, "machine_types.Big One"),
        ({"url": URL, "machine_types": {"big": 3}}, "machine_types"),
        ({"url": URL, "disk_types": {"Fast One": "SSD"}}, "disk_types.Fast One"),
        ({"url": URL, "images": {"Mine": {"familly": "x"}}}, "images.Mine"),
        ({"url": URL, "images": {"Mine": {"family": "No Good"}}}, "images.Mine.family"),
    ],
)
def test_a_wrong_setting_is_named(table, key):
    """`driver.cloudstack.<key>` is what the operator searches the file for."""
    with pytest.raises(ValueError) as caught:
        parse(table)
    assert str(caught.value).startswith(f"driver.cloudstack.{key}:")


def test_all_settings_are_taken():
    """Whole numbers will do where a number is asked for."""
    settings = parse(
        {
            "url": URL,
            "timeout_seconds": 5,
            "zones": {"Paris 1": "europe-west9-a"},
            "machine_types": {"e2-medium": "Medium"},
            "disk_types": {"pd-ssd": "Fast"},
            "images": {"Mine": {"project": "debian-cloud", "family": "debian-12"}},
        }
    )
    assert settings.timeout_seconds == 5.0
    assert settings.images["Mine"] == ImageOverride("debian-cloud", "debian-12")
