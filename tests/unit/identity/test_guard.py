"""Whom the guard against guessing takes for one and the same."""

from __future__ import annotations

import pytest

from downstage.identity.guard import LoginGuard
from downstage.kernel.errors import TooMany

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("local", "local", True),
        ("local", "unknown", False),
    ],
)
async def test_A13_one_address_is_one_network(first: str, second: str, same: bool) -> None:
    guard = LoginGuard(1)
    await guard.begin(None, first)
    if same:
        with pytest.raises(TooMany) as caught:
            await guard.begin(None, second)
        assert 1 <= caught.value.retry_after_s <= 301
    else:
        await guard.begin(None, second)


async def test_A13_names_count_in_any_case_and_success_is_forgiven() -> None:
    guard = LoginGuard(2)
    await guard.begin("Ada", "192.0.2.1")
    await guard.begin("aDA", "192.0.2.2")
    with pytest.raises(TooMany):
        await guard.begin("ada", "192.0.2.3")
    await guard.forgive("ADA", "192.0.2.2")
    await guard.begin("ada", "192.0.2.2")
