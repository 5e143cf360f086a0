"""A viewer's manners: rights, refusals, what the others are spared."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from downstage.media.frame import AudioPacket, EncodedFrame, Size
from downstage.media.input import Hands
from downstage.media.input.injector import Injector
from downstage.media.transport import Transport, TransportStats
from downstage.streamer.demand import Need, rates, wanted
from downstage.streamer.viewer import MAX_BAD, Role, Viewer, ViewerEvents

pytestmark = [pytest.mark.unit]


class Path:
    """A transport that remembers."""

    kind, codec, is_open = "websocket", "h264", True

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.frames = 0
        self.acked: list[int] = []

    def send_video(self, frame: EncodedFrame) -> None:
        assert frame
        self.frames += 1

    def send_audio(self, packet: AudioPacket) -> None:
        """Nothing listens."""

    def send_control(self, message: str) -> None:
        self.told.append(json.loads(message))

    def acknowledge(self, sequence: int) -> None:
        self.acked.append(sequence)

    def stats(self) -> TransportStats:
        return TransportStats(0, 0, 0)

    async def close(self, reason: str) -> None:
        """Nothing to close."""


class Deeds:
    """An injector that counts whatever it is asked."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def act(*_: object, **__: object) -> None:
            self.done.append(name)

        return act


def make(role: Role) -> tuple[Viewer, Path, Deeds, list[Any]]:
    path, deeds, asked = Path(), Deeds(), list[Any]()
    viewer = Viewer(
        "peer-1",
        role,
        Hands(cast("Injector", deeds), controls=role == "controller"),
        kbps=8000,
        events=ViewerEvents(
            on_resize=asked.append,
            on_key_wanted=lambda _: asked.append("key"),
            on_need_changed=lambda: asked.append("need"),
            on_input=lambda: asked.append("input"),
            on_misbehaved=lambda _, reason: asked.append(reason),
        ),
    )
    viewer.attach(cast("Transport", path))
    viewer.size = Size(1280, 720)
    return viewer, path, deeds, asked


def test_a_controller_acts() -> None:
    viewer, _, deeds, asked = make("controller")
    viewer.message('["k", "KeyA", 1]')
    viewer.message('["z", 801, 600]')
    assert deeds.done == ["key", "flush", "flush"]
    assert asked == ["input", Size(801, 600)]


def test_M06_a_spectator_is_told_once_and_nothing_happens() -> None:
    viewer, path, deeds, asked = make("spectator")
    for message in ('["k", "KeyA", 1]', '["m", 0, 0]', '["z", 1, 1]', '["x", "hi"]'):
        viewer.message(message)
    assert deeds.done == []
    assert asked == []
    assert path.told == [["n", "not-controller"]]


def test_a_spectator_has_a_stream_of_its_own() -> None:
    viewer, path, _, asked = make("spectator")
    viewer.message('["p", 7]')
    viewer.message('["a", 3]')
    viewer.message('["i"]')
    viewer.message('["v", 0]')
    viewer.message('["v", 1]')
    assert path.told == [["p", 7]]
    assert path.acked == [3]
    assert asked == ["key", "need", "need", "key"]


def test_a_hidden_page_needs_no_encoder() -> None:
    viewer, _, _, _ = make("spectator")
    assert viewer.need.watches
    viewer.message('["v", 0]')
    assert not viewer.need.watches


def test_M06_garbage_puts_the_seat_out_after_a_while() -> None:
    viewer, _, deeds, asked = make("controller")
    for _ in range(MAX_BAD + 50):
        viewer.message("][")
    assert asked == ["bad-message"]
    assert deeds.done == []


def test_leaving_lets_go() -> None:
    viewer, _, deeds, _ = make("controller")
    viewer.message('["b", 0, 1]')
    deeds.done.clear()
    viewer.let_go()
    assert deeds.done == ["button", "flush"]


def test_one_encoder_for_each_codec_that_is_watched() -> None:
    needs = [Need("h264", watches=True, kbps=8000), Need("h264", watches=True, kbps=3000)]
    hidden = Need("vp8", watches=False, kbps=100)
    assert wanted([*needs, hidden]) == {"h264"}
    assert wanted([], always="h264") == {"h264"}
    assert wanted([hidden]) == frozenset()
    assert rates([*needs, hidden]) == {"h264": 3000}
