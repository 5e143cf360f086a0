"""Datagrams that no honest viewer sends, against a running streamer: others see their picture."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pylibsrtp
import pytest
from aiohttp import ClientSession, UnixConnector, WSMsgType
from OpenSSL import SSL
from selkies.webrtc import RTCPeerConnection, RTCSessionDescription
from selkies.webrtc.exceptions import InvalidStateError
from selkies.webrtc.rtcdtlstransport import RTCCertificate

from downstage.contracts.streamer import MEDIA_HEADER
from downstage.testing.streaming import GatewayEnd, XDisplay, run_program, run_streamer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SEED = 20_260_401
CARD = [sys.executable, "-m", "downstage.apps.test_card"]
PROFILE = b"SRTP_AES128_CM_SHA1_80"
NUMBERS = count(1)
DEADLINE_S = 15


@dataclass
class Stage:
    """A running streamer with a picture, and somebody who watches over a socket."""

    gateway: GatewayEnd
    pictures: int = 0
    places: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])

    async def seen(self, pictures: int) -> float:
        """Seconds until the watcher has seen so many more."""
        began, wanted = time.monotonic(), self.pictures + pictures
        with anyio.fail_after(DEADLINE_S):
            while self.pictures < wanted:
                await anyio.sleep(0.01)
        return time.monotonic() - began


@pytest.fixture
async def stage(display: XDisplay, gateway: GatewayEnd, data: Path) -> AsyncIterator[Stage]:
    made = Stage(gateway)
    async with (
        run_streamer(data, display=display, width=640, height=360, fps=30) as streamer,
        run_program(CARD, streamer.environment),
    ):
        await streamer.line("FIRST-PICTURE")
        await gateway.hear("ready")
        url = "http://streamer/media?peer=watcher&role=spectator"
        connector = UnixConnector(str(data / "media.sock"))
        async with (
            ClientSession(connector=connector) as session,
            session.ws_connect(url, max_msg_size=8 * 2**20, compress=0) as watcher,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(watch, made, watcher)
            await made.seen(5)
            yield made
            tasks.cancel_scope.cancel()
        assert streamer.process.returncode is None, "it lives"


async def watch(stage: Stage, socket_: Any) -> None:
    async for message in socket_:
        if message.type is WSMsgType.BINARY:
            stage.pictures += 1
            sequence = MEDIA_HEADER.unpack_from(message.data)[3]
            await socket_.send_str(f'["a",{sequence}]')


class Viewer:
    """A WebRTC viewer that can be told to misbehave."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.peer = f"peer-{next(NUMBERS)}"
        self.connection = RTCPeerConnection()
        self.offer = ""

    async def want(self) -> str:
        """The offer."""
        opening = {"type": "peer.open", "peer": self.peer, "role": "spectator"}
        await self.stage.gateway.tell({**opening, "transport": "webrtc"})
        while not self.offer:
            told = await self.stage.gateway.hear("peer.signal", peer=self.peer)
            self.offer = told["payload"].get("sdp") or ""
        return self.offer

    @property
    def door(self) -> tuple[str, int]:
        """Where the streamer waits for this viewer."""
        found = re.search(r"a=candidate:\S+ 1 udp \d+ (\d+\.\S+) (\d+)", self.offer)
        assert found is not None
        return found[1], int(found[2])

    async def answer(self, change: Callable[[str], str] = lambda sdp: sdp) -> None:
        connection = self.connection
        await connection.setRemoteDescription(RTCSessionDescription(self.offer, "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        answer = change(connection.localDescription.sdp)
        payload = {"type": "answer", "sdp": answer}
        await self.stage.gateway.tell(
            {"type": "peer.signal", "peer": self.peer, "payload": payload}
        )

    async def connect(self) -> None:
        await self.want()
        await self.answer()
        await self.stage.gateway.hear("peer.connected", peer=self.peer)

    async def gets_media(self) -> None:
        """Until a second's worth of packets has come."""
        before = self.received
        with anyio.fail_after(DEADLINE_S):
            while self.received < before + 60:
                await anyio.sleep(0.01)

    @property
    def received(self) -> int:
        stats = self.dtls._get_stats()
        return next(iter(stats.values())).packetsReceived

    @property
    def dtls(self) -> Any:
        return self.connection.sctp.transport

    async def throw(self, datagrams: list[bytes]) -> None:
        """Send them as they are, on the path that is there."""
        for datagram in datagrams:
            await self.dtls.transport._send(datagram)


@asynccontextmanager
async def viewer(stage: Stage) -> AsyncGenerator[Viewer]:
    made = Viewer(stage)
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A task of this end's own that still connects when the other end has closed.
        if not isinstance(context.get("exception"), InvalidStateError) and before is not None:
            before(loop, context)

    loop.set_exception_handler(heard)
    try:
        yield made
    finally:
        await made.connection.close()
        await anyio.sleep(0)
        loop.set_exception_handler(before)


def client_hello() -> bytes:
    """The first datagram of a media handshake."""
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_tlsext_use_srtp(PROFILE)
    client = SSL.Connection(context)
    client.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    return client.bio_read(4096)


async def test_M03_a_stranger_who_starts_the_handshake_first_is_not_heard(stage: Stage) -> None:
    hello = client_hello()
    assert hello[0] == 22
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.setblocking(False)
        async with viewer(stage) as honest:
            await honest.want()
            for _ in range(20):
                stranger.sendto(hello, honest.door)
            await anyio.sleep(0.1)
            await honest.answer()
            for _ in range(50):
                stranger.sendto(hello, honest.door)
                await anyio.sleep(0.01)
            await stage.gateway.hear("peer.connected", peer=honest.peer)
            stranger.sendto(hello, honest.door)
            await honest.gets_media()
        with pytest.raises(BlockingIOError):
            stranger.recv(4096)


async def test_M04_a_wrong_fingerprint_ends_the_connection(stage: Stage) -> None:
    def forged(sdp: str) -> str:
        return re.sub(r"(a=fingerprint:\S+ ).*", r"\1" + ":".join(["AB"] * 32), sdp)

    async with viewer(stage) as forger:
        await forger.want()
        await forger.answer(forged)
        await stage.gateway.hear("peer.disconnected", peer=forger.peer)
    await stage.seen(10)


async def test_M04_nothing_is_agreed_on_that_does_not_encrypt(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = RTCCertificate._create_ssl_context

    def naked(certificate: RTCCertificate, srtp_profiles: list[Any]) -> SSL.Context:
        context = create(certificate, srtp_profiles)
        context.set_cipher_list(b"eNULL:@SECLEVEL=0")
        return context

    monkeypatch.setattr(RTCCertificate, "_create_ssl_context", naked)
    async with viewer(stage) as eavesdropped:
        await eavesdropped.want()
        await eavesdropped.answer()
        await stage.gateway.hear("peer.disconnected", peer=eavesdropped.peer)
        assert eavesdropped.dtls.state != "connected"
    await stage.seen(10)


def stun(dice: random.Random) -> bytes:
    body = dice.randbytes(dice.randrange(64))
    kind = dice.choice([0x0001, 0x0101, 0x0111, 0x0003, dice.randrange(0x4000)])
    length = dice.choice([len(body), dice.randrange(65536)])
    cookie = dice.choice([0x2112A442, dice.randrange(2**32)])
    return struct.pack("!HHI", kind, length, cookie) + dice.randbytes(12) + body


def rtp(dice: random.Random) -> bytes:
    kind = dice.choice([96, 97, 111, 127, dice.randrange(256)])
    first = dice.choice([0x80, 0x90, 0xBF, 0xB0])
    return bytes([first, kind]) + dice.randbytes(dice.randrange(10, 200))


def rtcp(dice: random.Random) -> bytes:
    body = dice.randbytes(4 * dice.randrange(1, 20))
    words = dice.choice([len(body) // 4, dice.randrange(65536)])
    first = 0x80 | dice.randrange(64)
    return struct.pack("!BBH", first, dice.randrange(192, 224), words) + body


def sctp(dice: random.Random, tag: int) -> bytes:
    chunk = struct.pack("!BBH", dice.randrange(16), dice.randrange(256), dice.randrange(200))
    return struct.pack("!HHII", 5000, 5000, tag, 0) + chunk + dice.randbytes(dice.randrange(80))


async def survives(stage: Stage, misbehave: Callable[[Viewer], Awaitable[None]]) -> None:
    """Somebody misbehaves for as long as the others see 30 pictures, at the rate of before."""
    usual_s = await stage.seen(30)
    async with viewer(stage) as hostile:
        await hostile.connect()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(misbehave, hostile)
            during_s = await stage.seen(30)
            tasks.cancel_scope.cancel()
    assert during_s < max(3, 3 * usual_s)
    async with viewer(stage) as honest:
        await honest.connect()
        await honest.gets_media()


async def test_M04_what_is_malformed_or_repeated_is_dropped(stage: Stage) -> None:
    dice = random.Random(SEED)

    async def misbehave(hostile: Viewer) -> None:
        dtls = hostile.dtls
        sent: list[bytes] = []
        send = dtls.transport._send

        async def recorded(datagram: bytes) -> None:
            if len(sent) < 500:
                sent.append(datagram)
            await send(datagram)

        dtls.transport._send = recorded
        while True:
            junk = [make(dice) for make in (stun, rtp, rtcp) for _ in range(20)]
            junk += [dice.randbytes(dice.randrange(1, 1200)) for _ in range(20)]
            junk += dice.sample(sent, min(20, len(sent)))  # once more
            for datagram in junk:
                await send(datagram)
            for _ in range(5):  # well sealed, malformed within
                for seal, make in (
                    (dtls._tx_srtp.protect, rtp),
                    (dtls._tx_srtp.protect_rtcp, rtcp),
                ):
                    with suppress(pylibsrtp.Error):  # some cannot even be sealed
                        await send(seal(make(dice)))
            await anyio.sleep(0.01)

    await survives(stage, misbehave)


async def test_M04_malformed_messages_of_the_data_channels_are_dropped(stage: Stage) -> None:
    dice = random.Random(SEED)

    async def misbehave(hostile: Viewer) -> None:
        tag = hostile.connection.sctp._remote_verification_tag
        while True:
            for _ in range(20):
                await hostile.dtls._send_data(sctp(dice, dice.choice([tag, 0, 1])))
            await anyio.sleep(0.01)

    await survives(stage, misbehave)


async def test_M04_a_flood_costs_the_others_no_picture(stage: Stage) -> None:
    dice = random.Random(SEED)
    packets = [rtp(dice) for _ in range(100)]

    async def misbehave(hostile: Viewer) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            while True:
                for packet in packets:
                    try:
                        stranger.sendto(packet, hostile.door)
                    except BlockingIOError:
                        break
                await hostile.throw(packets)
                await anyio.sleep(0)

    await survives(stage, misbehave)
