"""That dialect's control messages: each kind of input, signs, scales, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import BadMessage
from downstage.media.frame import Size
from downstage.media.input import events
from downstage.media.input.keys import KEYS
from downstage.streamer.anbox.keys import CODES, key_of
from downstage.streamer.anbox.reading import Deeds, Farewell, Forward, Reader, Unknown

pytestmark = [pytest.mark.unit]

KINDS = [
    "input::mouse-move",
    "input::mouse-button",
    "input::mouse-wheel",
    "input::key",
    "input::touch-start",
    "input::touch-move",
    "input::touch-end",
    "input::gamepad-button",
    "input::gamepad-axes",
    "input::ime-event",
    "location::update-position",
    "sensor:event",
    "vhal::get-all-prop-configs",
    "vhal::get",
    "vhal::set",
    "stream::disconnect",
]


def read(kind: str, data: object = None) -> Any:
    return Reader(Size(1280, 720)).read(json.dumps({"type": kind, "data": data}))


def deed(kind: str, data: object) -> events.Event:
    meant = read(kind, data)
    assert isinstance(meant, Deeds)
    (event,) = meant.events
    return event


def test_the_table_has_87_keys_and_each_is_a_key_of_ours() -> None:
    assert len(CODES) == 87
    assert set(CODES.values()) <= set(KEYS)
    assert len(set(CODES.values())) == 87
    assert set(range(4, 93)) - set(CODES) == {52, 53}


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (4, "KeyA"),
        (29, "KeyZ"),
        (30, "Digit1"),
        (39, "Digit0"),
        (40, "Enter"),
        (49, "Backslash"),
        (50, "Quote"),
        (51, "Semicolon"),
        (54, "Comma"),
        (57, "CapsLock"),
        (58, "F1"),
        (69, "F12"),
        (70, "PrintScreen"),
        (79, "ArrowRight"),
        (82, "ArrowUp"),
        (83, "ControlLeft"),
        (87, "AltRight"),
        (88, "NumLock"),
        (92, "BrowserBack"),
    ],
)
def test_a_code_is_the_key_it_was_given_for(code: int, name: str) -> None:
    assert key_of(code) == KEYS[name]


@pytest.mark.parametrize(
    ("kind", "data", "event"),
    [
        ("input::mouse-move", {"x": 320, "y": 180, "rx": 1, "ry": 2}, events.Move(0.25, 0.25)),
        ("input::mouse-move", {"x": 640.5, "y": 0}, events.Move(640.5 / 1280, 0)),
        ("input::mouse-move", {"x": -5, "y": 1e6}, events.Move(0, 1)),
        ("input::mouse-move", {"rx": 3, "ry": -4}, events.MoveBy(3, -4)),
        ("input::mouse-button", {"button": 1, "pressed": True}, events.Button(0, down=True)),
        ("input::mouse-button", {"button": 2, "pressed": False}, events.Button(1, down=False)),
        ("input::mouse-button", {"button": 3, "pressed": True}, events.Button(2, down=True)),
        ("input::mouse-button", {"button": 5, "pressed": True}, events.Button(4, down=True)),
        ("input::mouse-wheel", {"x": 0, "y": 1}, events.Wheel(0, -100)),
        ("input::mouse-wheel", {"x": -1, "y": 0}, events.Wheel(100, 0)),
        ("input::mouse-wheel", {"x": 0, "y": 1e9}, events.Wheel(0, -1000)),
        ("input::key", {"code": 4, "pressed": True}, events.Key(KEYS["KeyA"], down=True)),
        ("input::touch-start", {"id": 9, "x": 1280, "y": 0}, events.Touch(9, "start", 1, 0)),
    ],
)
def test_input_is_what_our_own_page_would_have_sent(
    kind: str, data: object, event: events.Event
) -> None:
    assert deed(kind, data) == event


def test_a_wheel_of_nothing_has_no_sign() -> None:
    assert str(deed("input::mouse-wheel", {"x": 0, "y": 0}).dx) in {"0.0", "-0.0"}  # type: ignore[union-attr]


def test_a_finger_ends_where_it_was() -> None:
    reader = Reader(Size(100, 100))

    def say(kind: str, data: object) -> Any:
        return reader.read(json.dumps({"type": f"input::touch-{kind}", "data": data}))

    say("start", {"id": 2, "x": 10, "y": 20})
    assert say("move", {"id": 2, "x": 30, "y": 40}).events == (events.Touch(2, "move", 0.3, 0.4),)
    assert say("end", {"id": 2, "last": True}).events == (events.Touch(2, "end", 0.3, 0.4),)
    assert say("end", {"id": 2, "last": True}).events == (), "and once only"


@pytest.mark.parametrize("finger", [0, 9, 77, -1, "x", None, 1.5, [1]])
def test_the_end_of_a_touch_that_never_began_is_tolerated(finger: object) -> None:
    assert read("input::touch-end", {"id": finger, "last": True}) == Deeds(())


def test_what_a_place_means_follows_the_picture_that_was_laid_out() -> None:
    reader = Reader(Size(1280, 720))
    reader.layout = Size(640, 360)
    meant = reader.read('{"type": "input::mouse-move", "data": {"x": 320, "y": 180}}')
    assert meant == Deeds((events.Move(0.5, 0.5),))


def test_an_input_method_types_and_repeats_keys() -> None:
    assert deed("input::ime-event", {"type": 1, "data": {"text": "日本"}}) == events.Text("日本")
    long = read("input::ime-event", {"type": 1, "data": {"text": "a" * 2500}})
    assert [len(event.text) for event in long.events] == [1024, 1024, 452]
    keys = read("input::ime-event", {"type": 2, "data": {"code": 42, "times": 2}}).events
    backspace = KEYS["Backspace"]
    assert keys == (events.Key(backspace, down=True), events.Key(backspace, down=False)) * 2


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("input::gamepad-button", {"id": 0, "index": 12, "pressed": True}),
        ("input::gamepad-axes", {"id": 1, "index": 0, "value": -0.5}),
        ("input::ime-event", {"type": 3, "data": {"name": "performEditorAction", "params": {}}}),
        ("input::ime-event", {"type": 4, "data": {"text": "にほ"}}),
        ("input::ime-event", {"type": 5, "data": {"start": 0, "end": 2}}),
        ("location::update-position", {"time": 1, "latitude": 52.5, "longitude": 13.4}),
        ("location::update-position", {"format": "nmea", "time": 1, "latitude": "5230.0,N"}),
        ("sensor:event", {"sensor": "orientation", "roll": 1.0, "pitch": 2.0, "azimuth": 3.0}),
        ("sensor:event", {"sensor": "gyroscope", "x": 1.0, "y": 2.0, "z": 3.0}),
        ("vhal::get-all-prop-configs", {}),
        ("vhal::get", {"prop": 289504, "area_id": 0}),
        ("vhal::set", {"prop": 289504, "area_id": 0, "int32_values": [1]}),
    ],
)
def test_what_no_display_takes_goes_to_the_application(kind: str, data: object) -> None:
    assert read(kind, data) == Forward(kind, data)


def test_an_axis_beyond_its_end_is_at_its_end() -> None:
    data = read("input::gamepad-axes", {"id": 0, "index": 1, "value": 7}).data
    assert data == {"id": 0, "index": 1, "value": 1.0}


def test_a_viewer_says_farewell_and_things_that_are_not_known() -> None:
    assert read("stream::disconnect", {}) == Farewell()
    assert read("stream::disconnect") == Farewell()
    assert read("input::brain-wave", {"alpha": 1}) == Unknown("input::brain-wave")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("input::mouse-move", {"x": "1", "y": 2}),
        ("input::mouse-move", {}),
        ("input::mouse-button", {"button": 1}),
        ("input::mouse-button", {"button": "left", "pressed": True}),
        ("input::key", {"code": 52, "pressed": True}),
        ("input::key", {"code": True, "pressed": True}),
        ("input::touch-start", {"id": 10, "x": 1, "y": 1}),
        ("input::gamepad-axes", {"id": 0, "index": 0}),
        ("input::ime-event", {"type": 6, "data": {}}),
        ("input::ime-event", {"type": 1, "data": {"text": "\x00"}}),
        ("input::ime-event", {"type": 1}),
        ("location::update-position", {"format": "utm"}),
        ("sensor:event", {"sensor": "smell", "x": 1}),
        ("vhal::set", {"blob": "x" * 20_000}),
        ("input::key", "text"),
    ],
)
def test_what_cannot_be_is_refused(kind: str, data: object) -> None:
    with pytest.raises(BadMessage):
        read(kind, data)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        "null",
        "nonsense",
        b"\xff\xfe",
        "[" * 50_000,
        '{"type": 1}',
        '{"data": {}}',
        '{"type": "input::mouse-move", "data": {"x": NaN, "y": 1}}',
        '{"type": "input::mouse-move", "data": {"x": Infinity, "y": 1}}',
        '{"type": "input::mouse-move", "data": {"x": 1e999, "y": 1}}',
        '{"type": "vhal::set", "data": {"x": NaN}}',
        '{"type": "vhal::set", "data": {"x": 1e999}}',
        '{"type": "input::key", "data": {"code": ' + "9" * 5000 + "}}",
        "x" * (64 * 1024 + 1),
    ],
)
def test_M06_a_message_that_is_none_is_refused(message: str | bytes) -> None:
    with pytest.raises(BadMessage):
        Reader(Size(1280, 720)).read(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["x", "y", "rx", "ry", "id", "code", "type", "data", "text", "sensor"])
            | st.text(max_size=8),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(kind=st.sampled_from(KINDS) | st.text(max_size=30), data=JSON, size=st.integers(0, 8192))
def test_M06_nothing_a_viewer_says_breaks_the_reader(kind: str, data: object, size: int) -> None:
    message = json.dumps({"type": kind, "data": data})
    try:
        meant = Reader(Size(size, size)).read(message)
    except BadMessage:
        return
    if isinstance(meant, Forward):
        json.dumps(meant.data, allow_nan=False)
    if isinstance(meant, Deeds):
        for event in meant.events:
            if isinstance(event, events.Move):
                assert 0 <= event.x <= 1
                assert 0 <= event.y <= 1


@given(raw=st.text(max_size=200) | st.binary(max_size=200))
def test_M06_nor_does_noise(raw: str | bytes) -> None:
    try:
        Reader(Size(1280, 720)).read(raw)
    except BadMessage:
        return
