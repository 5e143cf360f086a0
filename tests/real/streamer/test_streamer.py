"""The streamer as a process: lines to the keeper, pictures to viewers, the end in time."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, UnixConnector, WSMsgType

from downstage.contracts.streamer import KEY_FRAME, MEDIA_HEADER, VIDEO
from downstage.media.codec import is_key, webcodecs_name
from downstage.testing.streaming import (
    TOKEN,
    GatewayEnd,
    Streamer,
    XDisplay,
    run_program,
    run_streamer,
)

pytestmark = [pytest.mark.real, pytest.mark.anyio]

CARD = [sys.executable, "-m", "downstage.apps.test_card"]
DEADLINE_S = 15


class Watcher:
    """A viewer on the media socket."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.control: list[list[Any]] = []

    async def picture(self, *, key: bool = False) -> bytes:
        """The next picture (that is a key frame); control messages on the way are kept."""
        with anyio.fail_after(DEADLINE_S):
            async for message in self.socket:
                if message.type is WSMsgType.TEXT:
                    self.control.append(json.loads(message.data))
                    continue
                kind, flags, _, sequence, _ = MEDIA_HEADER.unpack_from(message.data)
                await self.socket.send_str(json.dumps(["a", sequence]))
                if kind == VIDEO and (not key or flags & KEY_FRAME):
                    return bytes(message.data[MEDIA_HEADER.size :])
        pytest.fail(f"the socket ended: {self.socket.close_code}")

    async def told(self, kind: str, **content: object) -> Any:
        """The next control message of *kind* with this *content*."""
        with anyio.fail_after(DEADLINE_S):
            while True:
                for message in self.control:
                    fits = not content or content.items() <= message[1].items()
                    if message[0] == kind and fits:
                        self.control.remove(message)
                        return message[1]
                await self.picture_or_word()

    async def picture_or_word(self) -> None:
        """Take one message, whatever it is."""
        message = await self.socket.receive()
        assert message.type in {WSMsgType.TEXT, WSMsgType.BINARY}, message
        if message.type is WSMsgType.TEXT:
            self.control.append(json.loads(message.data))

    async def send(self, *message: object) -> None:
        """An input message."""
        await self.socket.send_str(json.dumps(message))


@asynccontextmanager
async def watch(folder: Path, role: str = "controller", peer: str = "p1") -> AsyncIterator[Watcher]:
    """Open the media socket as the gateway would."""
    async with (
        ClientSession(connector=UnixConnector(str(folder / "media.sock"))) as session,
        session.ws_connect(
            f"http://streamer/media?peer={peer}&role={role}", max_msg_size=8 * 2**20, compress=0
        ) as socket,
    ):
        yield Watcher(socket)


@asynccontextmanager
async def card(streamer: Streamer, *arguments: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """The test card on the streamer's display."""
    async with run_program([*CARD, *arguments], streamer.environment) as process:
        yield process


def cpu_seconds(pid: int) -> float:
    """Processor time of *pid* so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_X11_pictures_reach_a_viewer(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer:
        hello = await gateway.hear("hello")
        assert (hello["instance_id"], hello["session_id"]) == ("instance-1", "session-1")
        assert hello["peers"] == []
        assert gateway.tokens == [f"Bearer {TOKEN}"]
        async with card(streamer):
            await streamer.line("FIRST-PICTURE")
            ready = await gateway.hear("ready")
            assert (ready["width"], ready["height"]) == (1280, 720)
            assert ready["encoder"] == "x264"
            assert ready["encoder_reason"]
            assert ready["audio"] is False
            assert ready["audio_reason"]
            async with watch(data) as viewer:
                first = await viewer.picture()
                assert is_key(first, "h264")
                codec = webcodecs_name(first, "h264")
                deltas = [await viewer.picture() for _ in range(30)]
                # The capture's tick may be moved once, which costs two key frames.
                assert sum(is_key(picture, "h264") for picture in deltas) <= 2
                facts = await viewer.told("s")
                assert (facts["width"], facts["height"], facts["codec"]) == (1280, 720, codec)
                assert (await gateway.hear("status", viewers=1))["encoder"] == "x264"


async def test_wayland_pictures_reach_a_viewer(gateway: GatewayEnd, data: Path) -> None:
    async with run_streamer(data) as streamer:
        assert (data / "wl").exists(), "the socket is there before the line is"
        async with card(streamer):
            await streamer.line("FIRST-PICTURE")
            await gateway.hear("ready")
            async with watch(data) as viewer:
                assert is_key(await viewer.picture(), "h264")
                for _ in range(30):
                    await viewer.picture()


async def test_a_display_without_an_application_is_no_picture(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer:
        await gateway.hear("hello")
        with pytest.raises(TimeoutError), anyio.fail_after(1.5):
            await streamer.line("FIRST-PICTURE")
        assert not any(message["type"] == "ready" for message in gateway.heard)


@pytest.mark.parametrize("kind", ["x11", "wayland"])
async def test_the_picture_follows_the_viewer_within_what_can_be_encoded(
    display: XDisplay, gateway: GatewayEnd, data: Path, kind: str
) -> None:
    sizes = {
        (1, 1): (160, 128),
        (8193, 3): (4096, 128),
        (1279, 719): (1278, 718),
        (1920, 1080): (1920, 1080),
    }
    x11 = display if kind == "x11" else None
    async with run_streamer(data, display=x11) as streamer, card(streamer):
        await gateway.hear("ready")
        async with watch(data) as viewer:
            await viewer.picture(key=True)
            for asked, (width, height) in sizes.items():
                await viewer.send("z", *asked)
                await viewer.told("s", width=width, height=height)
                assert is_key(await viewer.picture(key=True), "h264")
                await gateway.hear("status", width=width, height=height)


async def test_the_picture_never_exceeds_what_its_profile_allows(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display, largest=[800, 1000]) as streamer, card(streamer):
        await gateway.hear("ready")
        async with watch(data) as viewer:
            await viewer.picture(key=True)
            await viewer.send("z", 1600, 900)
            await viewer.told("s", width=800, height=900)


async def test_a_key_frame_of_more_than_a_mebibyte_passes(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    streaming = run_streamer(
        data, display=display, width=1920, height=1080, fps=5, bitrate_kbps=150_000
    )
    async with streaming as streamer, card(streamer, "--noise", "--size", "1920x1080"):
        await gateway.hear("ready")
        async with watch(data) as viewer:
            sizes: list[int] = []
            with anyio.fail_after(20):
                while not sizes or max(sizes) < 2**20:
                    sizes.append(len(await viewer.picture(key=True)))
                    await viewer.send("i")
            assert max(sizes) < 8 * 2**20


async def test_a_still_screen_costs_nothing_and_nobody_watching_costs_less(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer, card(streamer, "--still"):
        await gateway.hear("ready")
        async with watch(data) as viewer:
            await viewer.picture(key=True)
            await anyio.sleep(3)
            await _quiet(viewer)
            await _costs_what_looking_costs(streamer, viewer, display)
            waits = list[float]()
            for _ in range(5):  # the best of some: the machine is shared
                moved = time.monotonic()
                await viewer.send("m", 0.5, 0.5)
                await viewer.send("b", 0, 1)
                await viewer.picture()
                waits.append(time.monotonic() - moved)
                if waits[-1] < 0.25:
                    break
                await viewer.send("b", 0, 0)
                await _quiet(viewer)
            assert min(waits) < 0.25
        await gateway.hear("status", viewers=0)


OURS_S = 0.05
"""Of three seconds' processor time: 1.7 % of a core for all that is not the capture library."""


async def _costs_what_looking_costs(streamer: Streamer, viewer: Watcher, display: XDisplay) -> None:
    """No picture comes, and the streamer takes hardly more than the library that looks for one.

    The library compares the whole screen 60 times a second, which takes 0.06 s of three seconds on
    one machine and 0.15 s on another; what we add to it is what this test can promise anywhere.
    """
    added = list[float]()
    for _ in range(3):  # the best of some: the machine is shared
        began = cpu_seconds(streamer.process.pid)
        with pytest.raises(TimeoutError), anyio.fail_after(3):
            await viewer.picture()
        took = cpu_seconds(streamer.process.pid) - began
        alone = await anyio.run_process(
            [sys.executable, Path(__file__).with_name("library_alone.py")],
            env={**os.environ, "DISPLAY": display.name},
            stderr=None,
        )
        floor = alone.stdout.decode().split("FLOOR ")[1]
        added.append(took - float(floor))
        if added[-1] < OURS_S:
            break
    assert min(added) < OURS_S, added


async def _quiet(viewer: Watcher) -> None:
    """Until nothing has come for half a second."""
    while True:
        with anyio.move_on_after(0.5) as quiet:
            await viewer.picture_or_word()
        if quiet.cancelled_caught:
            return


async def test_a_second_viewer_shares_the_encoder(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer, card(streamer):
        await gateway.hear("ready")
        await _both_see_the_same(data)


async def _both_see_the_same(data: Path) -> None:
    async with watch(data, peer="p1") as first, watch(data, "spectator", peer="p2") as second:
        await first.picture(key=True)
        await second.picture(key=True)
        same = {await first.picture() for _ in range(60)} & {
            await second.picture() for _ in range(60)
        }
        assert len(same) > 30


async def test_every_joiner_gets_a_picture_however_close_they_come(
    gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data) as streamer, card(streamer):
        await gateway.hear("ready")

        async def join(peer: str) -> None:
            async with watch(data, "spectator", peer) as viewer:
                assert is_key(await viewer.picture(), "h264")

        for spread in (0, 0.002, 0.005, 0.011):
            async with anyio.create_task_group() as tasks:
                for number in range(6):
                    tasks.start_soon(join, f"p{number}")
                    await anyio.sleep(spread)


async def test_a_peer_that_opens_another_path_loses_the_one_it_had(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer, card(streamer):
        await gateway.hear("ready")
        async with watch(data, peer="p1") as old:
            await old.picture()
            async with watch(data, peer="p1") as new:
                assert is_key(await new.picture(), "h264")
                with anyio.fail_after(DEADLINE_S):
                    async for _ in old.socket:
                        pass
                for _ in range(10):
                    await new.picture()


async def test_M06_a_spectator_cannot_act(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer, card(streamer):
        await gateway.hear("ready")
        async with watch(data, "spectator") as viewer:
            await viewer.send("z", 640, 480)
            await viewer.send("k", "KeyA", 1)
            assert await viewer.told("n") == "not-controller"
            assert (await viewer.told("s"))["width"] == 1280


async def test_M06_garbage_ends_one_viewer_and_no_other(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer, card(streamer):
        await gateway.hear("ready")
        await _one_is_put_out(data)


async def _one_is_put_out(data: Path) -> None:
    async with watch(data, peer="honest") as honest, watch(data, peer="hostile") as hostile:
        await honest.picture(key=True)
        for _ in range(200):
            await hostile.socket.send_str("][" * 100)
        with anyio.fail_after(DEADLINE_S):
            async for _ in hostile.socket:
                pass
        # 1006 where our goodbye met messages still on their way.
        assert hostile.socket.close_code in {1000, 1006}
        for _ in range(30):
            await honest.picture()


async def test_a_message_over_64_kib_closes_the_socket(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer, card(streamer):
        await gateway.hear("ready")
        async with watch(data) as viewer:
            await viewer.socket.send_str("x" * (64 * 1024 + 1))
            with anyio.fail_after(DEADLINE_S):
                async for _ in viewer.socket:
                    pass
            assert viewer.socket.close_code == 1009


async def test_the_line_is_dialled_again_and_viewers_never_notice(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer, card(streamer):
        await gateway.hear("ready")
        async with watch(data) as viewer:
            await viewer.picture(key=True)
            await gateway.close()
            for _ in range(90):
                await viewer.picture()
            await gateway.open()
            await gateway.hear("hello")
            await gateway.hear("ready")
            pictures = [await viewer.picture() for _ in range(10)]
            assert not all(is_key(picture, "h264") for picture in pictures)


async def test_a_restarted_streamer_finds_the_application_that_lived_on(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    began = time.monotonic()
    async with run_streamer(data, display=display) as first, card(first, "--still"):
        await gateway.hear("ready")
        start_s = time.monotonic() - began
        first.process.kill()
        await first.process.wait()
        began = time.monotonic()
        async with run_streamer(data, display=display) as second:
            await second.line("FIRST-PICTURE")
            assert time.monotonic() - began < 2 * start_s
            async with watch(data) as viewer:
                assert is_key(await viewer.picture(), "h264")


@pytest.mark.parametrize("told", ["signal", "end"])
async def test_it_ends_within_a_second_when_told(
    display: XDisplay, gateway: GatewayEnd, data: Path, told: str
) -> None:
    """Or, on a machine that is busy just then, sooner than it started there."""
    began = time.monotonic()
    async with run_streamer(data, display=display) as streamer, card(streamer):
        await gateway.hear("ready")
        start_s = time.monotonic() - began
        async with watch(data) as viewer:
            await viewer.picture(key=True)
            began = time.monotonic()
            if told == "signal":
                streamer.process.send_signal(signal.SIGTERM)
            else:
                await gateway.tell({"type": "end", "reason": "stopped"})
            assert await viewer.told("e") == "stopped"
            with anyio.fail_after(DEADLINE_S):
                await streamer.process.wait()
            assert time.monotonic() - began < max(1, start_s)
            assert streamer.process.returncode == 0


async def test_it_ends_when_the_display_dies(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer, card(streamer):
        await gateway.hear("ready")
        display.process.kill()
        assert (await gateway.hear("fault"))["code"] == "display-died"
        with anyio.fail_after(DEADLINE_S):
            await streamer.process.wait()
        assert streamer.process.returncode == 1


async def test_it_ends_with_the_process_that_started_it(display: XDisplay, data: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-m', 'downstage.streamer', sys.argv[1]],"
        " stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)\n"
    )
    config = {
        "instance_id": "i",
        "session_id": "s",
        "instance_token": TOKEN,
        "link_url": f"unix://{data}/nobody.sock",
        "media_socket": str(data / "media.sock"),
        "display_kind": "x11",
        "x_display": display.name,
    }
    (data / "c.json").write_text(json.dumps(config))
    parent = await anyio.open_process([sys.executable, "-c", script, str(data / "c.json")])
    try:
        assert parent.stdout is not None
        with anyio.fail_after(DEADLINE_S):
            child = int(await parent.stdout.receive())
        parent.kill()
        await parent.wait()
        with anyio.fail_after(DEADLINE_S):
            while Path(f"/proc/{child}").exists():
                await anyio.sleep(0.02)
    finally:
        await parent.aclose()


async def test_no_secret_is_logged(
    display: XDisplay, gateway: GatewayEnd, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with run_streamer(data, display=display) as streamer, card(streamer):
        await gateway.hear("ready")
        await gateway.close()
    said = capfd.readouterr()
    assert "link.opened" in said.err
    assert TOKEN not in said.err + said.out


async def test_a_configuration_out_of_form_is_refused_without_its_content(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = data / "c.json"
    path.write_text(json.dumps({"instance_token": TOKEN, "x": 1}))
    with anyio.fail_after(DEADLINE_S):
        done = await anyio.run_process(
            [sys.executable, "-m", "downstage.streamer", str(path)], check=False, stderr=None
        )
    assert done.returncode == 1
    assert TOKEN not in capfd.readouterr().err


def test_the_header_is_sixteen_bytes() -> None:
    assert MEDIA_HEADER.size == 16 == struct.calcsize("<BBHId")
