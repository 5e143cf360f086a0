"""M06: nothing out of form passes the reader; places are clamped, floods are cut, keys go up."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import BadMessage
from downstage.media.frame import Size
from downstage.media.input import Hands, InputLimiter, NotController, acts, events, parse
from downstage.media.input.injector import TouchPhase
from downstage.media.input.keys import KEYS

pytestmark = [pytest.mark.unit]

SIZE = Size(1280, 720)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
messages = st.lists(json_values, max_size=6) | st.tuples(
    st.sampled_from([*"mrbwkxtuzapiv"]), json_values, json_values
).map(list)


@given(messages)
def test_M06_any_message_is_read_or_refused(message: list[object]) -> None:
    try:
        event = parse(json.dumps(message))
    except BadMessage:
        return
    match event:
        case events.Move(x, y) | events.Touch(x=x, y=y):
            assert 0 <= x <= 1
            assert 0 <= y <= 1
        case events.MoveBy(dx, dy) | events.Wheel(dx, dy):
            assert math.isfinite(dx)
            assert abs(dx) <= 4096 >= abs(dy)
        case events.Key(code):
            assert code in KEYS.values()
        case _:
            pass


@given(st.text(max_size=64) | st.binary(max_size=64))
def test_M06_any_text_is_read_or_refused(message: str | bytes) -> None:
    try:
        parse(message)
    except BadMessage:
        return


@pytest.mark.parametrize(
    "message",
    [
        pytest.param('["m", NaN, 0]', id="NaN"),
        pytest.param('["m", 1e999, 0]', id="infinity"),
        pytest.param(f'["m", 1{"0" * 400}, 0]', id="integer beyond floats"),
        pytest.param('["m", 0.5]', id="too few"),
        pytest.param('["m", 0.5, 0.5, 1]', id="too many"),
        pytest.param('["m", true, 0]', id="boolean place"),
        pytest.param('["b", 5, true]', id="button of no mouse"),
        pytest.param('["k", "KeyÄ", true]', id="unknown key"),
        pytest.param('["k", 30, true]', id="key by number"),
        pytest.param('["x", ""]', id="no text"),
        pytest.param('["x", "\\u0007"]', id="control character"),
        pytest.param('["x", "\\ud800"]', id="lone surrogate"),
        pytest.param(json.dumps(["x", "ä" * 4000]), id="over 4 KiB of bytes"),
        pytest.param("[" * 100_000, id="10^5 brackets"),
        pytest.param('{"m": 1}', id="object"),
        pytest.param('["q"]', id="unknown kind"),
        pytest.param("[]", id="empty"),
        pytest.param('["t", 16, 0, 0, 0]', id="seventeenth finger"),
    ],
)
def test_M06_malformed_input_is_refused(message: str) -> None:
    with pytest.raises(BadMessage):
        parse(message)


def test_M06_huge_places_are_clamped() -> None:
    assert parse('["m", -1e30, 1e30]') == events.Move(0, 1)
    assert parse('["r", 1e9, -1e9]') == events.MoveBy(4096, -4096)
    assert parse('["z", 1e9, 0]') == events.Resize(65535, 1)


def test_M06_a_key_flood_is_cut_but_releases_pass() -> None:
    limiter = InputLimiter(0.0)
    presses = sum(limiter.allows(events.Key(30, down=True), 1.0) for _ in range(10_000))
    assert presses == 200
    assert limiter.dropped == 9_800
    assert limiter.allows(events.Key(30, down=False), 1.0)
    assert limiter.allows(events.Release(), 1.0)
    assert sum(limiter.allows(events.Key(30, down=True), 2.0) for _ in range(10_000)) == 200


def test_a_fast_mouse_is_not_cut() -> None:
    limiter = InputLimiter(0.0)
    assert all(limiter.allows(events.Move(0, 0), n / 1000) for n in range(1, 5000))


class Recorder:
    """An injector that remembers."""

    def __init__(self) -> None:
        self.did: list[tuple[object, ...]] = []

    def move(self, x: float, y: float) -> None:
        self.did.append(("move", x, y))

    def move_by(self, dx: float, dy: float) -> None:
        self.did.append(("move_by", dx, dy))

    def button(self, button: int, *, down: bool) -> None:
        self.did.append(("button", button, down))

    def wheel(self, dx: float, dy: float) -> None:
        self.did.append(("wheel", dx, dy))

    def key(self, code: int, *, down: bool) -> None:
        self.did.append(("key", code, down))

    def text(self, text: str) -> None:
        self.did.append(("text", text))

    def touch(self, finger: int, phase: TouchPhase, x: float, y: float) -> None:
        self.did.append(("touch", finger, phase, x, y))

    def flush(self) -> None:
        """Nothing is gathered."""


def test_places_become_pixels_of_the_picture() -> None:
    recorder = Recorder()
    hands = Hands(recorder, controls=True)
    hands.apply(events.Move(0.5, 1.0), SIZE)
    hands.apply(events.Touch(3, "start", 0, 0.5), SIZE)
    assert recorder.did == [("move", 640, 719), ("touch", 3, "start", 0, 360)]


def test_what_is_held_is_let_go_when_the_seat_leaves() -> None:
    recorder = Recorder()
    hands = Hands(recorder, controls=True)
    for event in (
        events.Key(42, down=True),
        events.Key(30, down=True),
        events.Key(30, down=False),
        events.Button(0, down=True),
        events.Touch(1, "start", 0.5, 0.5),
    ):
        hands.apply(event, SIZE)
    recorder.did.clear()
    hands.release()
    assert recorder.did == [
        ("key", 42, False),
        ("button", 0, False),
        ("touch", 1, "end", 640, 360),
    ]
    assert hands.held == 0
    hands.release()
    assert len(recorder.did) == 3


def test_M06_a_seat_that_only_watches_cannot_act() -> None:
    recorder = Recorder()
    with pytest.raises(NotController, match="only watches") as refused:
        Hands(recorder, controls=False).apply(events.Key(30, down=True), SIZE)
    assert refused.value.code == "not-controller"
    assert recorder.did == []


def test_a_finger_that_never_came_does_not_leave() -> None:
    recorder = Recorder()
    Hands(recorder, controls=True).apply(events.Touch(1, "end", 0, 0), SIZE)
    assert recorder.did == []


def test_only_deeds_need_the_right() -> None:
    assert acts(events.Key(1, down=True))
    assert acts(events.Resize(1, 1))
    assert not acts(events.Ping(1))
    assert not acts(events.Acknowledge(1))
