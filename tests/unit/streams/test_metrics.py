"""Figures: the busiest streams by name, the others as one, and counters that never fall."""

from __future__ import annotations

import pytest

from downstage.streams.metrics import COUNTERS, EACH, OTHERS, Busiest, of_each, of_totals
from downstage.streams.stats import StreamFigures, Totals

pytestmark = pytest.mark.unit


def figures(**bytes_in: int) -> list[StreamFigures]:
    return [
        StreamFigures("main", name, entries_in=1, bytes_in=size, subscribers=1)
        for name, size in bytes_in.items()
    ]


def shown(busiest: Busiest, **bytes_in: int) -> dict[str, int]:
    return {item.stream: item.bytes_in for item in busiest.of(figures(**bytes_in))}


def test_the_busiest_have_their_own_and_the_others_one_sum() -> None:
    busiest = Busiest(2)
    assert shown(busiest, a=1, b=20, c=30, d=4) == {"b": 20, "c": 30, OTHERS: 5}
    found = busiest.of(figures(a=1, b=20, c=30, d=4))
    assert found[-1].subscribers == 2
    assert found[-1].entries_in == 2


def test_counters_never_fall_whoever_comes_and_goes() -> None:
    busiest = Busiest(2)
    before = dict[str, int]()
    for step in (
        {"a": 1, "b": 2},
        {"a": 2, "b": 3, "c": 100},  # a newcomer takes no place of somebody who moves
        {"a": 2, "b": 4, "c": 200},  # and that of one who stands still
        {"a": 3, "b": 5, "c": 300},
        {"c": 400},
        {"c": 400, "a": 9, "b": 9, "d": 9},
    ):
        now = shown(busiest, **step)
        assert len([name for name in now if name != OTHERS]) <= 2
        assert all(now[name] >= before.get(name, 0) for name in now)
        before |= now
    assert before[OTHERS] >= 100


def test_few_streams_have_no_others() -> None:
    assert shown(Busiest(2), a=1) == {"a": 1}
    assert Busiest(2).of([]) == []


def test_lines_are_what_prometheus_reads() -> None:
    from prometheus_client.parser import text_string_to_metric_families

    lines = [*of_totals(Totals(entries_in=3)), *of_each(figures(a=1, b=2))]
    families = {f.name: f for f in text_string_to_metric_families("\n".join(lines) + "\n")}
    assert families["downstage_streams_entries_in"].samples[0].value == 3
    assert all(family.documentation for family in families.values())
    samples = families["downstage_stream_bytes_in"].samples
    assert [(s.labels, s.value) for s in samples] == [
        ({"tenant": "main", "stream": "a"}, 1),
        ({"tenant": "main", "stream": "b"}, 2),
    ]
    assert len(COUNTERS) + 4 == len(EACH)
