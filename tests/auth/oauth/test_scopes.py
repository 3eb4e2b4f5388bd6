"""A token opens what its scopes allow."""

from __future__ import annotations

from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from gceshim.auth.oauth import scopes
from gceshim.protocol.discovery import RESOURCE_MANAGER
from gceshim.resources.base import document
from gceshim.testing.gce import Gce
from gceshim.testing.world import World

from .program import API, Program

HERE = {"project": "demo", "zone": "sim-zone-a"}


async def limited(world: World, scope: str) -> Gce:
    """A client of `demo` whose token is limited to these scopes."""
    program = Program(world)
    answer = await program.exchange(await program.code(scope=scope))
    return world.anonymous(answer.body["access_token"])


async def status(gce: Gce, method: str, **more: Any) -> int:
    return (await gce.answer(method, **more)).status


# What they open: reading and writing of Compute Engine, and Cloud Resource Manager
OPENS = [
    (f"{API}cloud-platform", True, True, True),
    ("cloud-platform", True, True, True),
    (f"{API}compute", True, True, False),
    (f"{API}compute.readonly", True, False, False),
    (f"openid email {API}compute.readonly", True, False, False),
    (f"{API}cloud-platform.read-only", False, False, True),
    ("openid email profile", False, False, False),
    (f"{API}devstorage.read_write", False, False, False),
    ("unknown", False, False, False),
]


@pytest.mark.gen_test
async def test_each_method_needs_one_of_its_scopes(world: World) -> None:
    """Those that the discovery documents list for it; those of the neighbour API too."""
    for scope, reads, writes, projects in OPENS:
        gce = await limited(world, scope)
        for allowed, method, more in (
            (reads, "compute.zones.list", {"project": "demo"}),
            (writes, "compute.disks.insert", {**HERE, "body": {"name": "d", "sizeGb": "10"}}),
            (projects, "cloudresourcemanager.projects.list", {}),
        ):
            answer = await gce.answer(method, **more)
            assert (answer.status != 403) is allowed, (scope, method)
            if not allowed:
                error = answer.body["error"]
                assert error["errors"][0]["reason"] == "insufficientPermissions"
                assert error["message"] == "Request had insufficient authentication scopes."
                assert 'error="insufficient_scope"' in answer.headers["Www-Authenticate"]


@pytest.mark.gen_test
async def test_the_refusal_names_what_would_do(world: World) -> None:
    """RFC 6750, 3; and a method that is not implemented is refused alike."""
    gce = await limited(world, f"{API}compute.readonly")
    answer = await gce.answer("compute.disks.delete", **HERE, disk="d")
    assert f'scope="{API}cloud-platform {API}compute"' in answer.headers["Www-Authenticate"]
    assert await status(gce, "compute.instanceGroups.delete", **HERE, instanceGroup="g") == 403


@pytest.mark.gen_test
async def test_the_parts_of_a_batch_are_held_to_the_scopes(world: World) -> None:
    """Each for itself."""
    gce = await limited(world, f"{API}compute.readonly")
    path = "/compute/v1/projects/demo/zones/sim-zone-a"
    parts = ["GET /compute/v1/projects/demo/zones HTTP/1.1\r\n\r\n", f"DELETE {path}/disks/d HTTP/1.1\r\n\r\n"]
    lines = [
        f"--b\r\nContent-Type: application/http\r\nContent-ID: <{i}>\r\n\r\n{part}" for i, part in enumerate(parts)
    ]
    headers = {"Authorization": f"Bearer {gce.token}", "Content-Type": "multipart/mixed; boundary=b"}
    body = "\r\n".join([*lines, "--b--"])
    reply = await AsyncHTTPClient().fetch(
        HTTPRequest(f"{world.url}/batch/compute/v1", method="POST", body=body, headers=headers)
    )
    text = reply.body.decode()
    assert ("HTTP/1.1 200 OK" in text, "HTTP/1.1 403 Forbidden" in text) == (True, True)
    assert "insufficientPermissions" in text


@pytest.mark.gen_test
async def test_a_refresh_can_narrow_a_token(world: World) -> None:
    """The refresh token stays as good as it was."""
    program = Program(world)
    tokens = await program.login(pkce=True)
    narrow = (await program.refresh(tokens["refresh_token"], scope="openid")).body["access_token"]
    assert await status(world.anonymous(narrow), "compute.zones.list", project="demo") == 403
    wide = (await program.refresh(tokens["refresh_token"])).body["access_token"]
    assert await status(world.anonymous(wide), "compute.zones.list", project="demo") == 200


@pytest.mark.gen_test
async def test_an_operators_token_is_not_limited(world: World) -> None:
    """Nobody asked for it with scopes."""
    gce = await world.gce()
    assert await status(gce, "compute.zones.list", project="demo") == 200
    assert await status(gce, "cloudresourcemanager.projects.list") == 200


def test_scopes_go_by_several_names() -> None:
    """Google's clients use short ones for some."""
    assert scopes.full(["email", "openid", "compute", "x"]) == {scopes.EMAIL, "openid", scopes.COMPUTE, "x"}
    assert scopes.full([scopes.EMAIL, "userinfo.email"]) == {scopes.EMAIL}
    assert scopes.identifying(["profile"])
    assert not scopes.identifying([scopes.COMPUTE])


def test_every_method_of_the_documents_has_scopes() -> None:
    """A method without any would be closed to everybody who has a limited token."""
    for known in (document(), document(RESOURCE_MANAGER)):
        assert all(method.scopes for method in known.methods)
