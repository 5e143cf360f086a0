"""Ids are unguessable and plain; clocks move as they are told."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, timedelta

import pytest

from downstage.kernel.clock import ManualClock, SystemClock
from downstage.kernel.ids import new_id, new_secret, new_uuid

pytestmark = pytest.mark.unit


def test_ids_have_their_form_and_do_not_repeat() -> None:
    assert all(re.fullmatch(r"i-[a-z2-7]{26}", new_id("i")) for _ in range(100))
    assert uuid.UUID(new_uuid()).version == 4
    assert len({new_id("i") for _ in range(1000)} | {new_secret() for _ in range(1000)}) == 2000


def test_a_secret_has_at_least_16_bytes() -> None:
    assert len(new_secret(16)) == 22
    with pytest.raises(ValueError, match="16"):
        new_secret(15)


def test_the_system_clock_goes_forward() -> None:
    clock = SystemClock()
    first, second = clock.monotonic(), clock.monotonic()
    assert second >= first
    assert clock.now().tzinfo is UTC
    assert clock.boot_id() == SystemClock().boot_id() != ""


def test_a_manual_clock_advances_jumps_and_reboots() -> None:
    clock = ManualClock()
    wall, steady = clock.now(), clock.monotonic()
    clock.advance(5)
    assert (clock.now() - wall, clock.monotonic() - steady) == (timedelta(seconds=5), 5)
    clock.jump(-3600)
    assert (clock.now() - wall, clock.monotonic() - steady) == (timedelta(seconds=-3595), 5)
    clock.reboot("boot-2")
    assert (clock.boot_id(), clock.monotonic()) == ("boot-2", 10.0)
    assert clock.now() - wall == timedelta(seconds=-3535)
