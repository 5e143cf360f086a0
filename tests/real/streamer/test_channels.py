"""Data channels and the application's sockets: both ways, before either is there, and too much."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from anyio import to_thread

from downstage.apps.channels import Channel as AppChannel
from downstage.apps.channels import ChannelClosed, Events, names
from downstage.contracts.channels import MAX_KEPT, MAX_MESSAGE, MAX_NAMES
from downstage.media.transport import Channel
from downstage.streamer.channels.bridge import Bridge
from downstage.streamer.channels.lane import HIGH

pytestmark = [pytest.mark.real, pytest.mark.anyio]


class Viewer:
    """A viewer's end of a data channel."""

    def __init__(self, name: str) -> None:
        self.name, self.is_open, self.buffered = name, True, 0
        self.got: list[str | bytes] = []
        self.say: Callable[[str | bytes], None] = lambda _: None
        self.leave: Callable[[], None] = lambda: None
        self.drained: Callable[[], None] = lambda: None

    def listen(self, on_message: Any, on_closed: Any, on_drained: Any = None, _: int = 0) -> None:
        self.say, self.leave = on_message, on_closed
        self.drained = on_drained or self.drained

    def send(self, message: str | bytes) -> bool:
        self.got.append(message)
        return True

    def close(self) -> None:
        self.is_open = False

    async def until(self, count: int) -> list[str | bytes]:
        with anyio.fail_after(10):
            while len(self.got) < count:
                await anyio.sleep(0.005)
        return self.got


class World:
    """A bridge, and viewers that join it."""

    def __init__(self, folder: Path) -> None:
        self.told: list[tuple[str, Any, str | None]] = []
        self.bridge = Bridge(folder, ["declared"], lambda *told: self.told.append(told))

    def viewer(self, name: str, *, speaks: bool = True) -> Viewer:
        viewer = Viewer(name)
        self.bridge.join(cast("Channel", viewer), speaks=speaks)
        return viewer


@pytest.fixture
def world(data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The channels' folder, deeper than a socket's path may be long."""
    folder = data / ("a-long-way-down" * 8) / "channels"
    folder.mkdir(parents=True)
    monkeypatch.setenv("DOWNSTAGE_CHANNELS", str(folder))
    return folder


@pytest.fixture
async def there(world: Path, anyio_backend: str) -> AsyncIterator[World]:
    assert anyio_backend == "asyncio"
    found = World(world)
    found.bridge.open()
    yield found
    found.bridge.close()


async def run(work: Callable[[], Any]) -> Any:
    """What the application does, in a thread, as it blocks."""
    with anyio.fail_after(15):
        return await to_thread.run_sync(work)


async def test_messages_go_both_ways_as_what_they_are(there: World) -> None:
    viewer = there.viewer("chat")
    with await run(lambda: AppChannel("chat", wait_s=5)) as application:
        messages = ["text, ünïcode", b"\x00\xff bytes", "", b"", "x" * MAX_MESSAGE]
        for message in messages:
            viewer.say(message)
            assert await run(application.receive) == message
            application.send(message)
        assert await viewer.until(5) == messages
        assert application.viewers == 1


async def test_what_a_viewer_says_before_the_application_is_there_is_kept(there: World) -> None:
    viewer = there.viewer("early")
    for number in range(300):
        viewer.say(f"{number}")
    with await run(lambda: AppChannel("early", wait_s=5)) as application:
        heard = [await run(application.receive) for _ in range(300)]
    assert heard == [f"{number}" for number in range(300)]


async def test_beyond_the_bound_the_oldest_are_refused_and_the_application_is_told(
    there: World,
) -> None:
    viewer = there.viewer("flooded")
    for number in range(MAX_KEPT + 50):
        viewer.say(f"{number}")
    with await run(lambda: AppChannel("flooded", wait_s=5)) as application:
        assert await run(application.receive) == "50"
        assert application.lost == 50


async def test_what_the_application_says_before_anybody_watches_is_kept(there: World) -> None:
    with await run(lambda: AppChannel("declared", wait_s=5)) as application:
        application.send("first")
        application.send(b"second")
        await anyio.sleep(0.05)
        viewer = there.viewer("declared")
        assert await viewer.until(2) == ["first", b"second"]
        assert application.viewers == 0, "a notice is taken with the next message"
        viewer.say("hello")
        assert await run(application.receive) == "hello"
        assert application.viewers == 1


async def test_who_only_watches_hears_and_is_not_heard(there: World) -> None:
    watcher, speaker = there.viewer("both", speaks=False), there.viewer("both")
    with await run(lambda: AppChannel("both", wait_s=5)) as application:
        watcher.say("listen to me")
        speaker.say("me first")
        assert await run(application.receive) == "me first"
        application.send("to all")
        assert await watcher.until(1) == await speaker.until(1) == ["to all"]


async def test_the_application_waits_for_a_slow_viewer_and_watchers_do_not_hold_it(
    there: World,
) -> None:
    slow, watcher = there.viewer("bulk"), there.viewer("bulk", speaks=False)
    slow.buffered = watcher.buffered = HIGH
    with await run(lambda: AppChannel("bulk", wait_s=5)) as application:
        sent = await run(lambda: _fill(application))
        assert 0 < sent < 100, "the kernel's buffer bounds it"
        assert len(slow.got) <= 1
        slow.buffered = 0
        slow.drained()
        await slow.until(sent)
        assert len(slow.got) == sent
        assert watcher.got == [], "it misses what it does not take"


def _fill(application: AppChannel) -> int:
    for count in range(1000):
        try:
            application.send(b"x" * 60_000, timeout=0.3)
        except TimeoutError:
            return count
    return 1000


async def test_a_restarted_application_takes_over_where_the_old_one_was(there: World) -> None:
    viewer = there.viewer("again")
    first = await run(lambda: AppChannel("again", wait_s=5))
    viewer.say("one")
    assert await run(first.receive) == "one"
    with await run(lambda: AppChannel("again", wait_s=5)) as second:
        with pytest.raises(ChannelClosed):
            await run(first.receive)
        first.close()
        viewer.say("two")
        assert await run(second.receive) == "two"


async def test_after_a_restart_of_the_streamer_its_sockets_are_those_that_are_there(
    there: World, world: Path
) -> None:
    there.viewer("gone")
    with await run(lambda: AppChannel("declared", wait_s=5)) as application:
        there.bridge.close()
        with pytest.raises(ChannelClosed):
            await run(application.receive)
    assert names() == ["declared", "gone"]
    again = World(world)
    again.bridge.open()
    try:
        assert names() == ["declared"]
        with await run(lambda: AppChannel("declared", wait_s=5)) as application:
            viewer = again.viewer("declared")
            viewer.say("still here")
            assert await run(application.receive) == "still here"
    finally:
        again.bridge.close()


async def test_events_tell_of_channels_and_input_and_carry_words_back(there: World) -> None:
    there.viewer("seen")
    assert not there.bridge.event("input::gamepad-button", {}, "p"), "nobody listens yet"
    with await run(lambda: Events(wait_s=5)) as events:
        opened = [(await run(events.receive)).data["name"] for _ in range(2)]
        assert sorted(opened) == ["declared", "seen"] == names()
        there.viewer("later")
        assert (await run(events.receive)).data == {"name": "later"}
        assert there.bridge.event("sensor:event", {"x": 1}, "peer-1")
        event = await run(events.receive)
        assert (event.type, event.data, event.viewer) == ("sensor:event", {"x": 1}, "peer-1")
        events.send("show-ime", {"a": 1}, viewer="peer-1")
        events.send("hide-ime", None)
        with anyio.fail_after(5):
            while len(there.told) < 2:
                await anyio.sleep(0.005)
        assert there.told == [("show-ime", {"a": 1}, "peer-1"), ("hide-ime", None, None)]


@pytest.mark.parametrize("name", ["", "../x", "a/b", "control", "input", "x" * 65, ".hidden", "ä"])
async def test_M06_a_name_that_is_none_is_not_bridged(there: World, name: str, world: Path) -> None:
    viewer = there.viewer(name)
    assert not viewer.is_open
    assert sorted(path.name for path in world.iterdir()) == ["events", "webrtc_data_declared"]


async def test_M06_channels_of_one_instance_are_bounded(there: World) -> None:
    viewers = [there.viewer(f"c{number}") for number in range(MAX_NAMES + 5)]
    assert sum(viewer.is_open for viewer in viewers) == MAX_NAMES - 1


async def test_M06_who_only_watches_leaves_names_and_words_for_who_speaks(there: World) -> None:
    watchers = [there.viewer(f"w{number}", speaks=False) for number in range(MAX_NAMES)]
    assert sum(viewer.is_open for viewer in watchers) < MAX_NAMES - 1
    with await run(lambda: AppChannel("declared", wait_s=5)) as application:
        application.send("before")
        await anyio.sleep(0.05)
        watcher = there.viewer("declared", speaks=False)
        application.send("between")
        assert await watcher.until(1) == ["between"]
        speaker = there.viewer("declared")
        assert await speaker.until(2) == ["before", "between"]
    assert there.viewer("late").is_open


async def test_M06_messages_too_long_or_none_are_left_out(there: World, world: Path) -> None:
    viewer = there.viewer("strict")
    with await run(lambda: AppChannel("strict", wait_s=5)) as application:
        viewer.say(b"x" * (MAX_MESSAGE + 1))
        viewer.say("fine")
        assert await run(application.receive) == "fine"
        with pytest.raises(ValueError, match="at most"):
            application.send(b"x" * (MAX_MESSAGE + 1))
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with raw, anyio.fail_after(5):
        os.chdir(world)
        try:
            raw.connect("webrtc_data_strict")
        finally:
            os.chdir("/")
        for packet in (b"\x09what", b"\x00{}", b"\x01" + b"y" * 90_000, b"\x01good"):
            raw.send(packet)
        assert await viewer.until(1) == ["good"]


async def test_the_folder_is_not_taken_by_a_link(data: Path) -> None:
    (data / "elsewhere").mkdir()
    (data / "channels").symlink_to(data / "elsewhere")
    bridge = Bridge(data / "channels", [], lambda *_: None)
    with pytest.raises(OSError, match="Not a directory"):
        bridge.open()
    assert list((data / "elsewhere").iterdir()) == []


async def test_the_test_card_gives_back_what_it_hears(there: World) -> None:
    script = "from downstage.apps.test_card.echo import start_echo; import time; start_echo()"
    card = subprocess.Popen([sys.executable, "-c", f"{script}; time.sleep(60)"])
    try:
        viewer = there.viewer("mirror")
        viewer.say("there")
        viewer.say(b"\x00back")
        assert await viewer.until(2) == ["there", b"\x00back"]
        with anyio.fail_after(10):
            while not there.bridge.event("sensor:event", {"x": 1}, "peer-1"):
                await anyio.sleep(0.01)
            while not there.told:
                await anyio.sleep(0.01)
        content = {"type": "sensor:event", "data": {"x": 1}}
        assert there.told == [("test-card::heard", content, "peer-1")]
        json.dumps(there.told)
    finally:
        card.kill()
        card.wait()
