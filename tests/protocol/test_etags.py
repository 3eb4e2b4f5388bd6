"""ETags: a client that has an answer need not have it again."""

from __future__ import annotations

import asyncio

from .harness import BEARER, ZONE, Table, serving

VM = f"{ZONE}/instances/vm1"
LIST = f"{ZONE}/instances"


def test_an_answer_that_has_not_changed_is_a_304():
    """Compressed or not; one that has changed is sent, and so is what another URL gives."""

    async def main():
        async with serving() as gce:
            first = await gce("GET", VM)
            tag = first.headers["etag"]
            assert tag.startswith('W/"')
            for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
                for more in ({}, {"Accept-Encoding": "gzip"}):
                    again = await gce("GET", VM, headers={**BEARER, **more, "If-None-Match": known})
                    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
            for known in ('"other"', "W/", "", tag[:-2] + '"'):
                other = await gce("GET", VM, headers={**BEARER, "If-None-Match": known})
                assert (other.status, other.headers["etag"]) == (200, tag)
            gce.table.names[1] = "renamed"
            changed = await gce("GET", VM, headers={**BEARER, "If-None-Match": tag})
            assert (changed.status, changed.headers["etag"] != tag) == (200, True)
            part = await gce("GET", f"{VM}?fields=name", headers={**BEARER, "If-None-Match": changed.headers["etag"]})
            assert part.status == 200

    asyncio.run(main())


def test_a_long_list_is_hashed_for_those_who_ask():
    """With the token of the next page in it, which is the same as long as the list is."""

    async def main():
        async with serving(Table(1_000)) as gce:
            assert "etag" not in (await gce("GET", LIST)).headers
            asked = await gce("GET", LIST, headers={**BEARER, "If-None-Match": '"nothing yet"'})
            assert (asked.status, bool(asked.value["nextPageToken"])) == (200, True)
            again = await gce("GET", LIST, headers={**BEARER, "If-None-Match": asked.headers["etag"]})
            assert (again.status, again.body) == (304, b"")

    asyncio.run(main())


def test_what_is_no_read_or_went_wrong_has_no_etag():
    """A mutation is not skipped because a header says that its answer is known."""

    async def main():
        async with serving() as gce:
            headers = {**BEARER, "If-None-Match": "*"}
            posted = await gce("POST", LIST, body={"name": "vm9"}, headers=headers)
            missing = await gce("GET", f"{ZONE}/disks/none", headers=headers)
            stranger = await gce("GET", VM, headers={"If-None-Match": "*"})
            assert [reply.status for reply in (posted, missing, stranger)] == [200, 404, 401]
            assert not any("etag" in reply.headers for reply in (posted, missing, stranger))

    asyncio.run(main())
