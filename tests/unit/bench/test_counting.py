"""Figures of the queue, and how answers are laid out."""

from __future__ import annotations

import pytest
from measuring.counting import furthest, refill_ms
from measuring.paper import Notes, notes_of
from sessions import flat

pytestmark = pytest.mark.unit


def test_who_is_served_out_of_turn_is_seen() -> None:
    asked = ["a", "b", "c", "d"]
    assert furthest(asked, asked) == 0
    assert furthest(asked, ["a", "d", "b", "c"]) == 2


def test_a_freed_place_stands_empty_until_the_next_in_line_begins() -> None:
    started, ended = [0.0, 0.0, 1.02, 1.5, 2.1], [1.0, 1.4, 2.0]
    assert refill_ms(started, ended, 2) == [20, 100, 100]
    assert refill_ms(started, [*ended, 2.3, 2.4], 2) == [20, 100, 100], "the last wait for nobody"


def test_notes_are_read_once_and_only_whole_lines(tmp_path: pytest.TempPathFactory) -> None:
    data = tmp_path / "data"  # type: ignore[operator]
    notes = Notes(data)
    assert notes.new() == []
    notes_of(data).write_text('{"what": "start"}\n{"what": "e')
    assert notes.new() == [{"what": "start"}]
    with notes_of(data).open("a") as file:
        file.write('nd"}\n')
    assert notes.new() == [{"what": "end"}]
    assert notes.new() == []


def test_figures_come_in_their_order_with_the_way_to_each() -> None:
    tree = {"b": {"x": 1234, "a": [1, 2]}, "a": [{"n": 1}, {"n": 0.5}]}
    assert flat(tree) == [("b.x", "1,234"), ("b.a", "[1, 2]"), ("a.0.n", "1"), ("a.1.n", "0.5")]
