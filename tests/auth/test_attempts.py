"""How often somebody may fail to sign in, and who is shut out by it."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gceshim.auth.attempts import MAX_ENTRIES, Attempts, TooManyAttempts
from tests.stores.running import in_loop

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    """Three failures a minute."""
    return Attempts(3, clock=clock)


def fail(attempts: Attempts, times: int, address: str = HERE, identity: str = "jo") -> None:
    for _ in range(times):
        attempts.begin(address, identity)


def waits(attempts: Attempts, address: str = HERE, identity: str = "jo") -> int:
    """The seconds to wait; 0 if the attempt is let through."""
    try:
        attempts.forget(attempts.begin(address, identity))
    except TooManyAttempts as exc:
        return exc.retry_after_seconds
    return 0


def test_an_address_has_so_many_failures_a_minute(attempts: Attempts, clock: Clock) -> None:
    """Whoever it tries; each failure is forgotten a minute after it happened."""
    for identity in ("a", "b", "c"):
        attempts.begin(HERE, identity)
        clock.seconds += 10
    assert waits(attempts, identity="d") == 30
    assert waits(attempts, THERE, identity="d") == 0
    clock.seconds += 30
    assert waits(attempts, identity="d") == 0
    attempts.begin(HERE, "d")
    assert waits(attempts, identity="e") == 10


def test_what_succeeds_or_could_not_be_tried_does_not_count(attempts: Attempts) -> None:
    """Nobody is shut out by working."""
    for _ in range(100):
        attempts.succeeded(attempts.begin(HERE, "jo"))
        attempts.forget(attempts.begin(HERE, "jo"))
    assert waits(attempts) == 0


def test_attempts_under_way_count(attempts: Attempts) -> None:
    """A hundred at the same moment are a hundred guesses."""
    under_way = [attempts.begin(HERE, "jo") for _ in range(3)]
    assert waits(attempts) == 60
    attempts.forget(under_way[0])
    assert waits(attempts) == 0


def test_asking_too_early_makes_no_wait_longer(attempts: Attempts, clock: Clock) -> None:
    """Otherwise an impatient person would never come in."""
    fail(attempts, 3)
    for _ in range(50):
        assert waits(attempts) > 0
        clock.seconds += 1
    clock.seconds += 10
    assert waits(attempts) == 0


def test_a_success_of_ones_own_does_not_buy_more_guesses(attempts: Attempts) -> None:
    """An attacker has an account too, and could put a good sign-in between two guesses."""
    for _ in range(2):
        attempts.begin(HERE, "victim")
        attempts.succeeded(attempts.begin(HERE, "attacker"))
    attempts.begin(HERE, "victim")
    assert waits(attempts, identity="victim") == 60
    assert waits(attempts, identity="attacker") == 60


def test_one_address_alone_shuts_nobody_out(attempts: Attempts) -> None:
    """Knowing a user's name is not enough to keep them out."""
    fail(attempts, 3, HERE, "victim")
    for _ in range(100):
        assert waits(attempts, HERE, "victim") > 0
    assert waits(attempts, THERE, "victim") == 0


def test_guessing_from_many_addresses_is_slowed_down(attempts: Attempts, clock: Clock) -> None:
    """Three times the limit of an address, from all of them together; a minute later all is forgotten."""
    for host in range(3):
        fail(attempts, 3, f"198.51.100.{host}", "victim")
    assert waits(attempts, THERE, "victim") == 60
    assert waits(attempts, THERE, "someone else") == 0
    clock.seconds += 60
    assert waits(attempts, THERE, "victim") == 0


def test_where_somebody_has_signed_in_lately_others_do_not_shut_them_out(attempts: Attempts) -> None:
    """From there only their own address's failures count."""
    attempts.succeeded(attempts.begin(HERE, "victim"))
    for host in range(3):
        fail(attempts, 3, f"198.51.100.{host}", "victim")
    assert waits(attempts, THERE, "victim") > 0
    assert waits(attempts, HERE, "victim") == 0
    fail(attempts, 3, HERE, "victim")
    assert waits(attempts, HERE, "victim") > 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.9", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("unix-socket", "unix-socket", True),
        ("", "", True),
    ],
)
def test_an_ipv6_network_is_one_address(attempts: Attempts, one: str, other: str, same: bool) -> None:
    """Whoever has one address there has 2^64 of them."""
    fail(attempts, 3, one)
    assert (waits(attempts, other, "someone else") > 0) is same


def test_memory_is_bounded(clock: Clock) -> None:
    """Names and addresses are the attacker's to invent."""
    attempts = Attempts(3, clock=clock)
    for number in range(MAX_ENTRIES + 500):
        attempts.begin(f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", f"user {number}")
        attempts.succeeded(attempts.begin("192.0.2.7", f"own {number}"))
    assert len(attempts._failures) <= MAX_ENTRIES
    assert len(attempts._known) <= MAX_ENTRIES


@given(st.lists(st.tuples(st.sampled_from([HERE, THERE, "2001:db8::1"]), st.text(max_size=3), st.integers(0, 30))))
def test_no_minute_sees_more_failures_than_allowed(steps: list[tuple[str, str, int]]) -> None:
    """Whatever the order and the pace; and nobody is told to wait for longer than a minute."""
    clock = Clock()
    attempts = Attempts(3, clock=clock)
    let_through: list[tuple[str, float]] = []
    for address, identity, pause in steps:
        clock.seconds += pause
        try:
            attempts.begin(address, identity)
        except TooManyAttempts as exc:
            assert 1 <= exc.retry_after_seconds <= 60
            continue
        let_through.append((address, clock.seconds))
    for address, times in itertools.groupby(sorted(let_through), key=lambda item: item[0]):
        moments = [moment for _, moment in times]
        assert all(later - first >= 60 for first, later in zip(moments, moments[3:], strict=False)), address


async def outcome(attempts: Attempts, address: str = HERE, identity: str = "key") -> int:
    """The seconds that a program has to wait; 0 if its attempt is let through."""
    try:
        attempts.forget(await attempts.begin_program(address, identity))
    except TooManyAttempts as exc:
        return exc.retry_after_seconds
    return 0


async def guess(attempts: Attempts, times: int, address: str = HERE, identity: str = "key") -> None:
    for _ in range(times):
        attempts.failed(await attempts.begin_program(address, identity))


@in_loop
async def test_a_programs_failures_count_for_its_own_key_alone(attempts: Attempts) -> None:
    """Of many programs at one address one has an old secret: the others go on."""
    await guess(attempts, 3)
    assert await outcome(attempts) == 60
    assert await outcome(attempts, identity="another key") == 0
    assert await outcome(attempts, THERE) == 0


@in_loop
async def test_a_key_is_guessed_from_many_addresses_no_faster_than_a_user(attempts: Attempts) -> None:
    """And its owner comes in where they were; on the page the same failures count."""
    attempts.succeeded(await attempts.begin_program(HERE, "key"))
    for host in range(3):
        await guess(attempts, 3, f"198.51.100.{host}")
    assert await outcome(attempts, THERE) == 60
    assert waits(attempts, THERE, "key") == 60
    assert await outcome(attempts, HERE) == 0


@in_loop
async def test_of_programs_that_come_at_once_so_many_are_tried_as_may_fail(attempts: Attempts) -> None:
    """A hundred jobs that begin together have all the right secret; a hundred guesses have not."""
    running = most = tried = 0

    async def come(right: bool) -> bool:
        nonlocal running, most, tried
        try:
            attempt = await attempts.begin_program(HERE, f"right: {right}")
        except TooManyAttempts:
            return False
        running, tried = running + 1, tried + 1
        most = max(most, running)
        for _ in range(3):
            await asyncio.sleep(0)
        running -= 1
        if right:
            attempts.succeeded(attempt)
        else:
            attempts.failed(attempt)
        return True

    async with asyncio.timeout(300):
        assert all(await asyncio.gather(*(come(True) for _ in range(100))))
        assert (most, tried) == (3, 100)
        let_through = await asyncio.gather(*(come(False) for _ in range(100)))
    assert sum(let_through) == 3


@in_loop
async def test_who_waits_for_others_is_told_as_soon_as_it_is_certain(attempts: Attempts) -> None:
    """That somebody else is still under way does not matter to who has failed too often."""
    owner = await attempts.begin_program(THERE, "key")
    await guess(attempts, 3)
    assert await outcome(attempts) == 60
    attempts.succeeded(owner)
