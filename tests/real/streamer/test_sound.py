"""Sound: a tone played into the instance's sink comes out as Opus; without a server, a reason."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, UnixConnector, WSMsgType

from downstage.contracts.streamer import AUDIO, MEDIA_HEADER
from downstage.testing.streaming import GatewayEnd, XDisplay, run_program, run_streamer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

PULSE = [
    "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
    "--disable-shm=yes", "--log-level=error",
]  # fmt: skip


@pytest.fixture
async def pulse(anyio_backend: str, data: Path) -> AsyncIterator[str]:
    """A PulseAudio of one's own with the sink ``downstage``."""
    assert anyio_backend == "asyncio"
    home = data / "pulse"
    home.mkdir(mode=0o700)
    command = [
        *PULSE,
        "-L", f"module-native-protocol-unix socket={home}/native auth-anonymous=1",
        "-L", "module-null-sink sink_name=downstage rate=48000 channels=2",
    ]  # fmt: skip
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PULSE_RUNTIME_PATH": str(home)}
    async with run_program(command, environment):
        with anyio.fail_after(10):
            while not (home / "native").exists():
                await anyio.sleep(0.02)
        yield f"unix:{home}/native"


def write_tone(path: Path, *, hertz: int, seconds: float) -> None:
    """A sine as a wave file."""
    rate = 48_000
    samples = (
        round(9000 * math.sin(2 * math.pi * hertz * n / rate)) for n in range(int(rate * seconds))
    )
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))


@asynccontextmanager
async def watch(gateway: GatewayEnd) -> AsyncIterator[ClientWebSocketResponse]:
    """Open the media socket as soon as the streamer serves it."""
    await gateway.hear("hello")
    connector = UnixConnector(str(gateway.folder / "media.sock"))
    async with (
        ClientSession(connector=connector) as session,
        session.ws_connect("http://streamer/media?peer=p&role=controller", compress=0) as viewer,
    ):
        yield viewer


async def quiet(viewer: ClientWebSocketResponse) -> bool:
    """Whether half a second passes without a message."""
    with anyio.move_on_after(0.5) as scope:
        await viewer.receive()
    return scope.cancelled_caught


async def test_a_tone_becomes_packets_and_silence_none(
    display: XDisplay, gateway: GatewayEnd, data: Path, pulse: str
) -> None:
    write_tone(data / "tone.wav", hertz=440, seconds=2)
    async with run_streamer(data, display=display, pulse_server=pulse), watch(gateway) as viewer:
        facts: dict[str, object] = {}
        with anyio.fail_after(10):
            while not facts.get("audio"):
                message = await viewer.receive()
                if message.type is WSMsgType.TEXT and json.loads(message.data)[0] == "s":
                    facts = json.loads(message.data)[1]
        assert facts["audio_reason"] is None
        player = ["paplay", "--server", pulse, "--device", "downstage", str(data / "tone.wav")]
        async with run_program(player, {}):
            packets: list[int] = []
            with anyio.fail_after(10):
                while len(packets) < 50:
                    message = await viewer.receive()
                    if message.type is WSMsgType.BINARY and message.data[0] == AUDIO:
                        packets.append(MEDIA_HEADER.unpack_from(message.data)[3])
        assert packets == list(range(packets[0], packets[0] + 50))
        with anyio.fail_after(20):
            while not await quiet(viewer):
                pass


@pytest.mark.parametrize("server", ["missing", "deaf"])
async def test_pictures_run_without_a_sound_server_and_say_why(
    display: XDisplay, gateway: GatewayEnd, data: Path, server: str
) -> None:
    listener = None
    if server == "deaf":
        listener = await anyio.create_unix_listener(data / "deaf")
    try:
        streaming = run_streamer(data, display=display, pulse_server=f"unix:{data}/{server}")
        async with (
            streaming as streamer,
            run_program(["xterm"], streamer.environment),
            watch(gateway) as viewer,
        ):
            pictures, reason = 0, None
            with anyio.fail_after(15):
                while not pictures or reason in {None, "not started"}:
                    message = await viewer.receive()
                    if message.type is WSMsgType.TEXT and json.loads(message.data)[0] == "s":
                        reason = json.loads(message.data)[1]["audio_reason"]
                    pictures += message.type is WSMsgType.BINARY
            assert isinstance(reason, str)
            assert "sound server" in reason
            ready = await gateway.hear("ready")
            assert ready["audio"] is False
    finally:
        if listener is not None:
            await listener.aclose()


def test_the_server_is_to_be_had() -> None:
    assert subprocess.run(["pulseaudio", "--version"], check=True, capture_output=True).stdout
