"""What waits for a side that is not there: kept in order, within a bound, counted beyond."""

from __future__ import annotations

import pytest

from downstage.contracts import channels as contract
from downstage.streamer.channels.backlog import Backlog

pytestmark = [pytest.mark.unit]


def drain(backlog: Backlog) -> list[bytes]:
    found = list[bytes]()
    while (packet := backlog.first()) is not None:
        found.append(packet)
        backlog.drop_first()
    return found


def test_what_is_kept_comes_in_order() -> None:
    backlog = Backlog()
    assert all(backlog.put(bytes([number])) for number in range(5))
    assert drain(backlog) == [bytes([number]) for number in range(5)]
    assert (len(backlog), backlog.lost) == (0, 0)


@pytest.mark.parametrize(("most", "most_bytes"), [(3, 10_000), (1000, 300)])
def test_beyond_the_bound_the_oldest_give_way(most: int, most_bytes: int) -> None:
    backlog = Backlog(most, most_bytes)
    kept = [backlog.put(bytes([number]) * 100) for number in range(5)]
    assert kept == [True, True, True, False, False]
    assert [packet[0] for packet in drain(backlog)] == [2, 3, 4]
    assert backlog.lost == 2


def test_bytes_are_given_back() -> None:
    backlog = Backlog(10, 100)
    for _ in range(50):
        assert backlog.put(b"x" * 90)
        drain(backlog)


def test_the_applications_side_speaks_as_the_contract_says() -> None:
    from downstage.apps import channels as application

    names = ("NOTICE", "TEXT", "BINARY", "EVENTS", "PREFIX", "ENVIRONMENT")
    for name in names:
        assert getattr(application, f"_{name}") == getattr(contract, name)
    assert application.MAX_MESSAGE == contract.MAX_MESSAGE
