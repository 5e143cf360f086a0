"""The measuring of calls: right answers only, in turns, compared within a round."""

from __future__ import annotations

from typing import Any

import pytest
from measuring.rounds import AT_ONCE, Subject, measure

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def subject(name: str, happened: list[str], answer: Any = 1, base: str | None = None) -> Subject:
    async def call() -> Any:
        happened.append(name)
        return answer

    return Subject(name, call, base=base)


async def test_each_is_called_in_its_turn_and_compared() -> None:
    happened = list[str]()
    found = await measure(
        [subject("a", happened), subject("b", happened), subject("c", happened, base="b")],
        expected=1,
        rounds=3,
        slice_s=1e-5,
    )
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["a", "b", "c"]
    assert [row["against"] for row in rows.values()] == ["a", "a", "b"]
    assert rows["a"]["ratio"] == rows["a"]["at_once_ratio"] == rows["a"]["cpu_ratio"] == 1
    assert all(row["us"] > 0 and row["at_once_calls_s"] > 0 for row in rows.values())
    order = [name for name, before in zip(happened[1:], happened, strict=False) if name != before]
    assert order[-6:] == ["c", "a", "b", "c", "a", "b"], "the last round begins with the third"
    assert happened.count("b") >= 3 * AT_ONCE


async def test_a_wrong_answer_is_no_figure() -> None:
    happened = list[str]()
    with pytest.raises(RuntimeError, match="b answers 2, not 1"):
        await measure(
            [subject("a", happened), subject("b", happened, 2)],
            expected=1,
            rounds=1,
            slice_s=1e-5,
        )
