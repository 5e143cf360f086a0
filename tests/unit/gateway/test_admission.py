"""Which origins are ours."""

from __future__ import annotations

import pytest

from downstage.gateway.wire import Bucket
from downstage.kernel.clock import ManualClock
from downstage.services.origins import own_origins

pytestmark = pytest.mark.unit


def test_the_public_address_is_ours() -> None:
    assert own_origins("https://stage.example/base", []) == {"https://stage.example"}
    assert own_origins("https://stage.example:8443", ["https://other.example/"]) == {
        "https://stage.example:8443",
        "https://other.example",
    }


def test_loopback_has_three_names() -> None:
    expected = {f"http://{name}:8600" for name in ("127.0.0.1", "localhost", "[::1]")}
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert own_origins(f"http://{host}:8600", []) == expected


@pytest.mark.parametrize(
    "origin",
    [
        "https://stage.example.evil.example",
        "https://evilstage.example",
        "http://stage.example",
        "https://stage.example:444",
        "null",
        "",
    ],
)
def test_others_are_not(origin: str) -> None:
    assert origin not in own_origins("https://stage.example", [])


def test_a_bucket_allows_bursts_and_then_its_rate() -> None:
    clock = ManualClock()
    bucket = Bucket(clock, rate=10, burst=40)
    assert [bucket.take() for _ in range(41)] == [True] * 40 + [False]
    clock.advance(0.1)
    assert [bucket.take(), bucket.take()] == [True, False]
    clock.advance(1e6)
    assert sum(bucket.take() for _ in range(100)) == 40
