"""The lease keeper rings when a lease is over, once, whatever the wall clock says."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from downstage.gateway.leases import LeaseKeeper, read_clock
from downstage.gateway.states import LeaseKind, Policy
from downstage.kernel.clock import ManualClock, SystemClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

POLICY = Policy()


class Ears:
    """Hears rings; `fails` raises at the first."""

    def __init__(self, clock: ManualClock | SystemClock) -> None:
        self.clock = clock
        self.rung: list[tuple[str, LeaseKind]] = []
        self.fails = False
        self.heard = anyio.Event()
        self.keeper = LeaseKeeper(clock, self.ring)

    async def ring(self, session_id: str, kind: LeaseKind) -> None:
        if self.fails:
            self.fails = False
            raise RuntimeError("not now")
        self.rung.append((session_id, kind))
        self.heard.set()

    def keep(self, session_id: str, *kinds: LeaseKind) -> None:
        now = read_clock(self.clock)
        self.keeper.keep(session_id, [POLICY.grant(kind, now) for kind in kinds])


async def test_it_rings_in_order_and_once() -> None:
    clock = ManualClock()
    ears = Ears(clock)
    ears.keep("a", "connect", "maximum")  # 120 s, 8 h
    ears.keep("b", "start")  # 60 s
    clock.advance(59)
    await ears.keeper.ring_due()
    assert ears.rung == []
    clock.advance(100)
    await ears.keeper.ring_due()
    await ears.keeper.ring_due()
    assert ears.rung == [("b", "start"), ("a", "connect")]


async def test_S05_jumps_of_the_wall_clock_ring_nothing() -> None:
    clock = ManualClock()
    ears = Ears(clock)
    ears.keep("a", "connect")
    clock.jump(1e6)
    await ears.keeper.ring_due()
    assert ears.rung == []


async def test_a_replaced_lease_does_not_ring() -> None:
    clock = ManualClock()
    ears = Ears(clock)
    for _ in range(500):
        ears.keep("a", "start")
        clock.advance(1)
    ears.keep("b", "start")
    ears.keep("b")
    await ears.keeper.ring_due()
    assert ears.rung == []
    clock.advance(60)
    await ears.keeper.ring_due()
    assert ears.rung == [("a", "start")]


async def test_a_ring_that_fails_rings_again() -> None:
    clock = ManualClock()
    ears = Ears(clock)
    ears.keep("a", "start")
    ears.fails = True
    clock.advance(61)
    with pytest.raises(RuntimeError):
        await ears.keeper.ring_due()
    await ears.keeper.ring_due()
    assert ears.rung == [("a", "start")]


async def test_the_task_sleeps_until_the_next_and_wakes_for_an_earlier_one() -> None:
    clock = SystemClock()
    ears = Ears(clock)
    async with anyio.create_task_group() as tasks:
        ears.keep("late", "maximum")
        tasks.start_soon(ears.keeper.run)
        await anyio.sleep(0)
        now = read_clock(clock)
        soon = Policy(start=timedelta(milliseconds=5)).grant("start", now)
        ears.keeper.keep("soon", [soon])
        with anyio.fail_after(2):
            await ears.heard.wait()
        tasks.cancel_scope.cancel()
    assert ears.rung == [("soon", "start")]
