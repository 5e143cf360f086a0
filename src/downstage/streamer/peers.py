"""Viewers' paths: WebRTC peers that the gateway announces, WebSockets that it relays."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from downstage.contracts.anbox import AnboxSettings
from downstage.contracts.streamer import StreamerConfig
from downstage.kernel.errors import BadMessage
from downstage.kernel.logging import get_logger
from downstage.kernel.silence import Silence
from downstage.media.frame import Size
from downstage.media.transport import TransportEvents
from downstage.media.transport.webrtc import PeerOptions, WebRtcTransport
from downstage.media.transport.websocket import MediaSocket, WebSocketTransport
from downstage.streamer import control
from downstage.streamer.anbox.speech import AnboxSpeech
from downstage.streamer.channels.bridge import Bridge
from downstage.streamer.house import House
from downstage.streamer.media_server import read_messages
from downstage.streamer.message import Message
from downstage.streamer.speech import OwnSpeech, Speech
from downstage.streamer.viewer import Role, Viewer

__all__ = ["Peers"]

log = get_logger(__name__)

MAX_RELAYS = 4
"""Servers that the instance's own interface was told of; the oldest gives way."""
MAX_VIEWERS = 32
MAX_SDP = 48 * 1024
MAX_EARLY = 80
"""Messages of a viewer that are kept until its connection is made."""
PAGE_SILENT_S = 3.0
"""A page pings every second; one that is cut off holds its keys no longer than this."""
RESIZE_S = 3.0
"""How long a viewer whose page cannot follow waits for the picture to have its size."""


class _Open(BaseModel):
    model_config = ConfigDict(extra="ignore")
    peer: str = Field(min_length=1, max_length=128)
    role: Role = "spectator"
    width: int | None = Field(default=None, ge=1, le=65535)
    height: int | None = Field(default=None, ge=1, le=65535)
    ice_servers: list[dict[str, str]] = Field(default_factory=list[dict[str, str]], max_length=8)
    dialect: str | None = None
    anbox: AnboxSettings | None = None

    @property
    def size(self) -> Size | None:
        """The picture it wants, where it may ask for one."""
        if self.role != "controller" or not self.width or not self.height:
            return None
        return Size(self.width, self.height)


class _Signal(BaseModel):
    model_config = ConfigDict(extra="ignore")
    type: str
    sdp: str | None = Field(default=None, max_length=MAX_SDP)
    candidate: str | None = Field(default=None, max_length=1024)
    sdp_mid: str | None = Field(default=None, max_length=64)
    sdp_mline_index: int | None = Field(default=None, ge=0, le=64)


class Peers:
    """Opens and closes the paths of viewers, and tells the gateway about them.

    Args:
        config: the instance's configuration.
        house: who gets the pictures.
        send: says something to the gateway.
    """

    def __init__(
        self, config: StreamerConfig, house: House, send: Callable[[Message], None]
    ) -> None:
        self._config, self._house, self._send = config, house, send
        self._opens: dict[str, _Open] = {}
        self._rtc: dict[str, WebRtcTransport] = {}
        self._speeches: dict[str, Speech] = {}
        self._early: dict[str, list[_Signal]] = {}
        self._relays: deque[dict[str, str]] = deque(maxlen=MAX_RELAYS)
        folder = Path(config.channels) if config.channels else None
        self._bridge = Bridge(folder, config.channel_names, self._told)

    async def open(self) -> None:
        """Listen for the application's side of data channels."""
        try:
            self._bridge.open()
        except OSError as error:
            log.warning("channels.failed", error=str(error))

    def add_relay(self, server: dict[str, str]) -> None:
        """Find paths by this server, too, from the next viewer on."""
        self._relays.append(server)

    def use(self, config: StreamerConfig) -> None:
        """Open paths by *config* from now on."""
        self._config = config

    @property
    def living(self) -> list[str]:
        """Ids of the WebRTC peers whose path is there, or about to be."""
        return sorted(self._rtc)

    def received(self, message: Message) -> None:
        """Act on a ``peer.…`` message of the gateway."""
        try:
            match message.get("type"):
                case "peer.open":
                    self._open(_Open.model_validate(message))
                case "peer.restart":
                    known = self._opens.get(str(message.get("peer")))
                    if known is not None:
                        self._open(known)
                case "peer.signal":
                    payload = _Signal.model_validate(message.get("payload"))
                    self._signal(str(message.get("peer")), payload)
                case "peer.release":
                    self._house.release(str(message.get("peer")))
                case "peer.close":
                    peer, reason = str(message.get("peer")), str(message.get("reason", "closed"))
                    self._opens.pop(peer, None)
                    self._spawn_close(peer, reason)
                case _:
                    pass
        except ValidationError as error:
            log.warning(
                "link.message_refused", kind=str(message.get("type")), errors=len(error.errors())
            )

    async def serve_socket(self, peer: str, role: str, socket: MediaSocket) -> None:
        """Serve one relayed WebSocket until it ends."""
        if role not in get_args(Role) or len(self._house.viewers) >= MAX_VIEWERS:
            await socket.close(code=1013, message=b"full")
            return
        self._replace(peer)
        viewer = self._house.admit(peer, cast("Role", role), self._misbehaved)
        transport = WebSocketTransport(
            socket,
            codec="h264",
            ceiling_kbps=self._config.bitrate_kbps,
            events=self._events(viewer, on_closed=_nothing),
        )
        viewer.attach(transport)
        log.info("viewer.joined", peer=peer, role=role, transport="websocket")
        silence = Silence(lambda: PAGE_SILENT_S)

        def take(message: str | bytes) -> None:
            silence.heard()
            viewer.message(message)

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(transport.run)
                tasks.start_soon(_let_go_in_silence, viewer, silence)
                await read_messages(socket, take)
                tasks.cancel_scope.cancel()
        finally:
            self._house.dismiss(viewer)
            log.info("viewer.left", peer=peer, transport="websocket")
            await transport.close("left")

    async def close(self, reason: str) -> None:
        """Tell every viewer that it is over and end every path."""
        viewers = self._house.viewers
        for viewer in viewers:
            viewer.tell(control.end(reason))
        # The last words need a moment to be written.
        await anyio.sleep(0.05)
        async with anyio.create_task_group() as tasks:
            for viewer in viewers:
                tasks.start_soon(viewer.transport.close, reason)
        self._bridge.close()

    def _open(self, wish: _Open) -> None:
        if len(self._house.viewers) >= MAX_VIEWERS and wish.peer not in self._rtc:
            self._send({"type": "peer.close", "peer": wish.peer, "reason": "full"})
            return
        self._opens[wish.peer] = wish
        self._early[wish.peer] = []
        self._house.spawn(partial(self._run_peer, wish), f"peer {wish.peer}")

    async def _run_peer(self, wish: _Open) -> None:
        options = PeerOptions(
            ceiling_kbps=self._config.bitrate_kbps,
            ice_servers=(*self._config.ice_servers, *self._relays, *wish.ice_servers),
            udp_ports=self._config.udp_ports,
            public_ip=self._config.public_ip,
            audio=self._config.pulse_server is not None,
        )
        self._replace(wish.peer)
        viewer = self._house.admit(wish.peer, wish.role, self._misbehaved)
        speech = self._speech(wish, viewer)
        closed = partial(self._path_closed, wish.peer, viewer)
        events = self._events(viewer, on_closed=closed)
        events = dataclasses.replace(events, on_channel=speech.channel)
        transport = WebRtcTransport(speech.options(options), events)
        viewer.attach(transport)
        self._rtc[wish.peer], self._speeches[wish.peer] = transport, speech
        try:
            await self._take_size(wish, viewer)
            if not speech.viewer_offers:
                offer = await transport.offer()
                self._tell_peer(wish.peer, {"type": "offer", "sdp": offer})
            for early in self._early.pop(wish.peer, []):
                self._signal(wish.peer, early)
            async with anyio.create_task_group() as tasks:
                if not speech.viewer_offers:
                    tasks.start_soon(self._late_candidates, wish.peer, transport)
                await transport.run()
                tasks.cancel_scope.cancel()
        finally:
            if self._rtc.get(wish.peer) is transport:
                del self._rtc[wish.peer], self._speeches[wish.peer]
                self._early.pop(wish.peer, None)
            self._house.dismiss(viewer)
            await transport.close("left")

    async def _late_candidates(self, peer: str, transport: WebRtcTransport) -> None:
        for line in await transport.late_candidates():
            self._tell_peer(
                peer,
                {"type": "candidate", "candidate": line, "sdp_mid": "0", "sdp_mline_index": 0},
            )

    def _speech(self, wish: _Open, viewer: Viewer) -> Speech:
        if wish.dialect == "anbox" and wish.anbox is not None:
            left = partial(self._send, {"type": "peer.session_end", "peer": wish.peer})
            return AnboxSpeech(viewer, wish.anbox, self._bridge, left)
        return OwnSpeech(viewer, self._bridge)

    async def _take_size(self, wish: _Open, viewer: Viewer) -> None:
        """Let the picture have the size that the viewer wants."""
        if wish.size is None:
            return
        if not viewer.holds_size:
            self._house.wish(wish.size)
            return
        self._house.resize(wish.size)
        with anyio.move_on_after(RESIZE_S):
            await self._house.turned()

    def _told(self, kind: str, data: object, peer: str | None) -> None:
        """The application says something to viewers whose dialect has such messages."""
        for name, speech in self._speeches.items():
            if isinstance(speech, AnboxSpeech) and peer in (None, name):
                speech.control.told(kind, data)

    def _signal(self, peer: str, signal: _Signal) -> None:
        early = self._early.get(peer)
        if early is not None:
            if len(early) < MAX_EARLY:
                early.append(signal)
            return
        transport = self._rtc.get(peer)
        if transport is None:
            return
        if signal.type == "answer" and signal.sdp:
            self._house.spawn(partial(self._answer, peer, transport, signal.sdp), "answer")
        elif signal.type == "offer" and signal.sdp and self._speeches[peer].viewer_offers:
            self._house.spawn(partial(self._accept, peer, transport, signal.sdp), "offer")
        elif signal.type == "candidate":
            self._house.spawn(
                partial(
                    transport.candidate, signal.candidate, signal.sdp_mid, signal.sdp_mline_index
                ),
                "candidate",
            )

    async def _answer(self, peer: str, transport: WebRtcTransport, answer: str) -> None:
        try:
            await transport.answer(answer)
        except BadMessage as error:
            await self._refuse(peer, transport, error)
            raise

    async def _accept(self, peer: str, transport: WebRtcTransport, offer: str) -> None:
        try:
            answer = await transport.accept(offer)
        except BadMessage as error:
            await self._refuse(peer, transport, error)
            raise
        self._tell_peer(peer, {"type": "answer", "sdp": answer})
        await self._late_candidates(peer, transport)

    async def _refuse(self, peer: str, transport: WebRtcTransport, error: BadMessage) -> None:
        gone = {"type": "peer.close", "peer": peer, "reason": error.code, "detail": error.detail}
        self._send(gone)
        await transport.close(error.code)

    def _events(self, viewer: Viewer, *, on_closed: Callable[[str], None]) -> TransportEvents:
        return TransportEvents(
            on_message=viewer.message,
            on_key_wanted=lambda: self._house.key_wanted(viewer),
            on_lost=lambda frame_id: self._house.lost(viewer, frame_id),
            on_rate=viewer.rate_changed,
            on_open=partial(self._path_opened, viewer),
            on_closed=on_closed,
        )

    def _path_opened(self, viewer: Viewer) -> None:
        speech = self._speeches.get(viewer.peer)
        if speech is not None and viewer.transport is self._rtc.get(viewer.peer):
            speech.begins()
        self._house.opened(viewer)
        if viewer.transport.kind == "webrtc":
            log.info("viewer.joined", peer=viewer.peer, role=viewer.role, transport="webrtc")
            self._send({"type": "peer.connected", "peer": viewer.peer})

    def _path_closed(self, peer: str, viewer: Viewer, reason: str) -> None:
        if viewer.transport is not self._rtc.get(peer):
            return
        log.info("viewer.left", peer=peer, transport="webrtc", reason=reason)
        self._send({"type": "peer.disconnected", "peer": peer, "reason": reason})

    def _misbehaved(self, viewer: Viewer, reason: str) -> None:
        self._house.spawn(partial(viewer.transport.close, reason), "close")

    def _replace(self, peer: str) -> None:
        """A peer has one path: the one it had is closed when it opens another."""
        self._rtc.pop(peer, None)
        self._speeches.pop(peer, None)
        for viewer in self._house.viewers:
            if viewer.peer == peer:
                self._house.spawn(partial(viewer.transport.close, "replaced"), "close")

    def _spawn_close(self, peer: str, reason: str) -> None:
        transport = self._rtc.get(peer)
        if transport is not None:
            self._house.spawn(partial(transport.close, reason), "close")

    def _tell_peer(self, peer: str, payload: dict[str, Any]) -> None:
        self._send({"type": "peer.signal", "peer": peer, "payload": payload})


async def _let_go_in_silence(viewer: Viewer, silence: Silence) -> None:
    """Release what a page holds each time that it falls silent: perhaps it comes back elsewhere."""
    while True:
        await silence.wait()
        viewer.let_go()


def _nothing(_reason: str) -> None:
    """A socket that ends tells it by ending."""
