"""A viewer's control channel: who may act, what the application hears and answers, the end."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downstage.contracts.anbox import AnboxScreen, AnboxSettings
from downstage.media.frame import Size
from downstage.media.input import Hands
from downstage.media.input.injector import Injector
from downstage.media.transport import Channel
from downstage.media.transport.peer_options import PeerOptions
from downstage.streamer.anbox import control as module
from downstage.streamer.anbox.control import Control
from downstage.streamer.anbox.reading import Reader
from downstage.streamer.anbox.speech import AnboxSpeech
from downstage.streamer.channels.bridge import Bridge
from downstage.streamer.viewer import MAX_BAD, Role, Viewer, ViewerEvents

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SCREEN = AnboxScreen(width=1280, height=720, fps=60)


class Deeds:
    """An injector that remembers."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def act(*arguments: object, **named: object) -> None:
            if name != "flush":
                self.done.append((name, *arguments, *named.values()))

        return act


class Line:
    """A data channel that remembers."""

    def __init__(self, name: str = "control") -> None:
        self.name, self.buffered, self.is_open = name, 0, True
        self.said: list[Any] = []

    def listen(self, on_message: Any, on_closed: Any, *_: Any) -> None:
        self.hear, self.gone = on_message, on_closed

    def send(self, message: str) -> bool:
        said = json.loads(message)
        assert isinstance(said["data"], str), "the viewer parses it again"
        self.said.append((said["type"], json.loads(said["data"])))
        return True

    def close(self) -> None:
        self.is_open = False


class Application:
    """The way to an application, which listens or does not."""

    def __init__(self, *, listens: bool = True) -> None:
        self.listens = listens
        self.events: list[tuple[Any, ...]] = []
        self.joined: list[tuple[str, bool]] = []

    def event(self, kind: str, data: object, viewer: str) -> bool:
        if self.listens:
            self.events.append((kind, data, viewer))
        return self.listens

    def join(self, channel: Channel, *, speaks: bool) -> bool:
        self.joined.append((channel.name, speaks))
        return True


class Stage:
    """One viewer with everything around it."""

    def __init__(self, role: Role = "controller", *, listens: bool = True) -> None:
        self.deeds, self.line, self.asked = Deeds(), Line(), list[Any]()
        self.application = Application(listens=listens)
        self.viewer = Viewer(
            "peer-1",
            role,
            Hands(cast("Injector", self.deeds), controls=role == "controller"),
            kbps=8000,
            events=ViewerEvents(
                on_resize=self.asked.append,
                on_key_wanted=lambda _: self.asked.append("key"),
                on_need_changed=lambda: self.asked.append("need"),
                on_input=lambda: self.asked.append("input"),
                on_misbehaved=lambda _, reason: self.asked.append(reason),
            ),
        )
        self.viewer.size = Size(1280, 720)
        self.bridge = cast("Bridge", self.application)
        self.control = Control(
            self.viewer,
            Reader(Size(1280, 720)),
            self.bridge,
            lambda: self.asked.append("farewell"),
        )
        self.control.use(cast("Channel", self.line))

    def hear(self, kind: str, data: object = None) -> None:
        self.line.hear(json.dumps({"type": kind, "data": data}))


def speech(stage: Stage, **settings_: Any) -> AnboxSpeech:
    asked = AnboxSettings(screen=SCREEN, **settings_)
    return AnboxSpeech(stage.viewer, asked, stage.bridge, lambda: None)


async def test_input_reaches_the_display_in_its_pixels() -> None:
    stage = Stage()
    stage.viewer.size = Size(640, 360)
    stage.hear("input::mouse-move", {"x": 640, "y": 360})
    stage.hear("input::key", {"code": 4, "pressed": True})
    assert stage.deeds.done == [("move", 320.0, 180.0), ("key", 30, True)]
    assert stage.asked == ["input", "input"]


async def test_who_only_watches_moves_nothing_and_tells_the_application_nothing() -> None:
    stage = Stage("spectator")
    stage.hear("input::mouse-button", {"button": 1, "pressed": True})
    stage.hear("input::gamepad-button", {"id": 0, "index": 0, "pressed": True})
    assert (stage.deeds.done, stage.application.events) == ([], [])
    assert stage.control.dropped == 1


async def test_the_application_hears_pads_and_answers_on_the_control_channel() -> None:
    stage = Stage()
    stage.hear("input::gamepad-button", {"id": 0, "index": 3, "pressed": True})
    content = {"id": 0, "index": 3, "pressed": True}
    assert stage.application.events == [("input::gamepad-button", content, "peer-1")]
    stage.control.told("rumble", {"strength": 1})
    assert stage.line.said == [("rumble", {"strength": 1})]


async def test_properties_are_answered_in_turn_also_where_nobody_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.02)
    stage = Stage()
    stage.hear("vhal::get", {"prop": 1})
    stage.hear("vhal::set", {"prop": 2})
    stage.control.told("vhal-set-answer", {"early": True})
    assert stage.line.said == [], "it is not its turn"
    stage.control.told("vhal-get-answer", {"value": 7})
    assert stage.line.said == [("vhal-get-answer", {"value": 7})]
    with anyio.fail_after(5):
        while len(stage.line.said) < 2:
            await asyncio.sleep(0.005)
    assert stage.line.said[1][0] == "vhal-set-answer"
    assert "error" in stage.line.said[1][1]
    stage.control.told("vhal-set-answer", {"late": True})
    assert len(stage.line.said) == 2


async def test_without_an_application_properties_are_refused_at_once() -> None:
    stage = Stage(listens=False)
    stage.hear("vhal::get-all-prop-configs", {})
    assert [kind for kind, _ in stage.line.said] == ["vhal-prop-configs"]


async def test_M06_a_flood_of_pads_is_cut_and_so_are_endless_questions() -> None:
    stage = Stage()
    for number in range(2000):
        stage.hear("input::gamepad-axes", {"id": 0, "index": 0, "value": number / 2000})
    assert len(stage.application.events) < 500
    assert stage.control.dropped > 1400
    other = Stage()
    for _ in range(100):
        other.hear("vhal::get", {"prop": 1})
    assert len(other.application.events) == 16
    other.control.close()


async def test_M06_nonsense_is_counted_and_in_the_end_its_sender_goes() -> None:
    stage = Stage()
    for _ in range(MAX_BAD):
        stage.line.hear("nonsense")
    assert stage.asked == ["bad-message"]


async def test_what_is_not_known_is_counted_and_harms_nobody() -> None:
    stage = Stage()
    for _ in range(3 * MAX_BAD):
        stage.hear("input::brain-wave", {"alpha": 1})
    assert (stage.control.unknown, stage.asked) == (3 * MAX_BAD, [])


async def test_farewell_is_told_once() -> None:
    stage = Stage()
    stage.hear("stream::disconnect", {})
    stage.hear("stream::disconnect", {})
    assert stage.asked == ["farewell"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    kind=st.sampled_from(["input::key", "input::touch-move", "vhal::get", "sensor:event", "x"]),
    data=st.dictionaries(st.sampled_from(["x", "y", "id", "code", "sensor"]), st.integers()),
)
def test_M06_no_message_raises(kind: str, data: dict[str, int]) -> None:
    async def run() -> None:
        stage = Stage()
        stage.hear(kind, data)
        stage.line.hear(json.dumps([kind, data]))
        stage.control.close()

    asyncio.run(run())


async def test_what_is_offered_is_what_was_asked_for() -> None:
    base = PeerOptions(8000, audio=False)
    options = speech(Stage()).options(base)
    assert options.audio, "a viewer waits for the sound that it asked for, also where none is"
    assert options.video
    assert not options.own_channels
    assert not options.microphone
    quiet = speech(Stage(), enable_speaker=False, enable_camera=True).options(base)
    assert (quiet.audio, quiet.camera) == (False, True)
    vp8 = speech(Stage(), preferred_codecs=["AV1", "VP8", "H264"]).options(base)
    assert vp8.codecs == ("vp8", "h264")


async def test_nothing_is_encoded_for_who_wants_no_picture() -> None:
    stage = Stage()
    speech(stage, enable_video=False)
    assert not stage.viewer.need.watches
    assert stage.asked == ["need"]


async def test_the_picture_keeps_its_size_for_who_controls() -> None:
    stage, other = Stage(), Stage("spectator")
    speech(stage)
    speech(other)
    assert (stage.viewer.holds_size, other.viewer.holds_size) == (True, False)


async def test_a_viewer_makes_control_and_five_more() -> None:
    stage = Stage("spectator")
    served = speech(stage)
    lines = [Line(name) for name in ("control", "control", "a", "b", "c", "d", "e", "f")]
    for line in lines:
        served.channel(cast("Channel", line))
    assert [line.is_open for line in lines] == [True, False, *[True] * 5, False]
    assert stage.application.joined == [(name, False) for name in "abcde"]
