"""Pictures, sound and input over WebRTC; the only file that knows `selkies.webrtc`.

The library takes encoded frames as they are and brings feedback on each packet, pacing,
retransmission and the playout-delay extension (0, 0). Three of its habits are bent here:

* it gathers every candidate before it gives the offer; ours leaves with the host candidates, and
  what a STUN server answers follows as a candidate message, so that a silent server costs nothing;
* it gives up at once where the first answer holds no candidate; ours waits for the viewer's checks;
* it repairs (FlexFEC) even without loss; ours begins above one per cent.

It has no ICE restart: a restart is a new connection under the same peer id.

Offers are ours, with two data channels of ours (``input``, ``pointer``); for other dialects a
viewer may offer instead, and make every data channel itself.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict
from typing import Any

import anyio
from selkies.ice import ice
from selkies.webrtc import (
    RTCDataChannel,
    RTCDtlsTransport,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
    sdp,
)
from selkies.webrtc.exceptions import InvalidStateError, OperationError
from selkies.webrtc.rtcicetransport import candidate_to_aioice
from selkies.webrtc.rtcsctptransport import RTCSctpCapabilities

from downstage.kernel.candidates import Reach, is_sound, sift
from downstage.kernel.errors import BadMessage
from downstage.kernel.logging import get_logger
from downstage.media.codec import first_codec
from downstage.media.frame import AudioPacket, Codec, EncodedFrame
from downstage.media.transport.bitrate import BitrateControl, PathReport, SmoothedLoss
from downstage.media.transport.channel import MAX_MESSAGE, Channel
from downstage.media.transport.gate import FrameGate
from downstage.media.transport.peer_options import (
    PeerOptions,
    configuration_of,
    direction,
    first_server,
    video_preferences,
)
from downstage.media.transport.protocol import TransportEvents, TransportStats
from downstage.media.transport.strangers import Watch
from downstage.media.transport.tracks import MIME, AudioTrack, VideoTrack

__all__ = ["PeerOptions", "WebRtcTransport"]

log = get_logger(__name__)

CONTROL_BYTES = 1024 * 1024
EARLY_CONTROL = 32
RELAY_DEADLINE_S = 1.0
STUN_DEADLINE_S = 5.0
CLOSE_DEADLINE_S = 1.0
CONNECT_DEADLINE_S = 30.0
TICK_S = 1.0
ABORTS, ABORT_S = 2, 0.03
"""Packets that end the data channels, before the engine's own: any one of them may be lost."""
FIRST_CANDIDATE_S = 0.3
PLACEHOLDER = 65_534
"""Id of a channel that is never used; browsers number theirs from 0 to 1023."""
_MISFITS = (
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    AssertionError,
    InvalidStateError,
    OperationError,
)
"""What the engine raises for a description that is none, or does not fit."""


class WebRtcTransport:
    """One viewer's peer connection; `run` keeps it until it ends.

    Args:
        options: addresses, ports, rates.
        events: what to call.
    """

    kind = "webrtc"

    def __init__(self, options: PeerOptions, events: TransportEvents) -> None:
        self._options, self._events = options, events
        self.codec: Codec = "h264"
        self._gate = FrameGate(events.on_key_wanted)
        self._connection = RTCPeerConnection(configuration_of(options))
        self._sender = self._add_video()
        self._audio = self._add_audio()
        self._input = self._add_channels()
        self._connection.on("datachannel", self._channel_made)
        self._connection.on("connectionstatechange", self._state_changed)
        self._waiting_control: list[str] = []
        self._answered = anyio.Event()
        self._candidate_seen = anyio.Event()
        self._ended = anyio.Event()
        self._end_reason = "closed"
        self._opened = self._has_aborted = False
        self._rate = BitrateControl(options.ceiling_kbps)
        self._loss = SmoothedLoss()
        self._frames = self._bytes = 0
        self._watch: Watch | None = None

    def _add_video(self) -> RTCRtpSender | None:
        options = self._options
        way = direction(sends=options.video, receives=options.camera)
        if way is None:
            return None
        what = VideoTrack(self._gate) if options.video else "video"
        section = self._connection.addTransceiver(what, way)
        section.setCodecPreferences(video_preferences(options.codecs))
        if not options.video:
            return None
        sender = section.sender
        sender.fec_repair_packets = 0
        sender.on("pli", self._events.on_key_wanted)
        sender.on("lost_frame", self._events.on_lost)
        sender.on_frame_sent = self._counted
        return sender

    def _add_audio(self) -> AudioTrack | None:
        options = self._options
        way = direction(sends=options.audio, receives=options.microphone)
        if way is None:
            return None
        track = AudioTrack() if options.audio else None
        section = self._connection.addTransceiver(track or "audio", way)
        if not options.own_channels:
            # A stream with both would be played with the delay of the slower one.
            section.sender._stream_id = str(uuid.uuid4())  # noqa: SLF001
        return track

    def _add_channels(self) -> RTCDataChannel | None:
        if not self._options.own_channels:
            # Without any channel an offer has no section for them.
            self._connection.createDataChannel("", negotiated=True, id=PLACEHOLDER)
            self._bound_messages()
            return None
        ordered = self._connection.createDataChannel("input", ordered=True)
        pointer = self._connection.createDataChannel("pointer", ordered=False, maxRetransmits=0)
        for channel in (ordered, pointer):
            channel.on("message", self._events.on_message)
        ordered.on("open", self._flush_control)
        self._bound_messages()
        return ordered

    def _bound_messages(self) -> None:
        """Say how long a message may be: a browser refuses what would be lost here."""
        bound = RTCSctpCapabilities(maxMessageSize=MAX_MESSAGE)
        self._connection.sctp.getCapabilities = lambda: bound

    @property
    def is_open(self) -> bool:
        """Media may flow."""
        return self._opened and not self._ended.is_set()

    async def offer(self) -> str:
        """The offer's SDP, with host candidates; later ones come from `late_candidates`."""
        await self._connection.setLocalDescription(await self._connection.createOffer())
        # The library fails at once without a candidate to check; the viewer's checks are enough.
        self._ice._awaits_inbound_checks = _always  # noqa: SLF001
        self._watch = Watch(self._ice)
        return str(self._connection.localDescription.sdp)

    async def answer(self, answer: str) -> None:
        """Take the viewer's answer; its order of codecs decides.

        Raises:
            BadMessage: it is not an answer to our offer.
        """
        if self._answered.is_set():
            raise BadMessage("this offer was answered already")
        self._use_codec(answer)
        self._answered.set()
        if "a=candidate:" not in answer:
            with anyio.move_on_after(FIRST_CANDIDATE_S):
                await self._candidate_seen.wait()
        answer, _ = sift(answer, Reach.LOOPBACK)
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        except _MISFITS as error:
            raise BadMessage("the answer does not fit the offer") from error

    async def accept(self, offer: str) -> str:
        """Take an offer of the viewer's; the answer's SDP, with host candidates.

        Raises:
            BadMessage: it is not an offer, or has nothing that can be sent.
        """
        if self._answered.is_set():
            raise BadMessage("an offer was answered already")
        self._answered.set()
        self._ice._awaits_inbound_checks = _always  # noqa: SLF001
        offer, _ = sift(offer, Reach.LOOPBACK)  # the gateway, who knows whose it is, is stricter
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            answer = await self._connection.createAnswer()
            self._use_codec(answer.sdp)
            await self._connection.setLocalDescription(answer)
        except _MISFITS as error:
            raise BadMessage("the offer cannot be answered") from error
        self._watch = Watch(self._ice)
        return str(self._connection.localDescription.sdp)

    async def candidate(self, line: str | None, mid: str | None, index: int | None) -> None:
        """Take one of the viewer's candidates; None or an empty line ends them.

        Names are not asked for, see `downstage.kernel.candidates`; beyond 64 the engine takes none.

        Raises:
            BadMessage: it is not a candidate.
        """
        if not line:
            return
        try:
            candidate = sdp.candidate_from_sdp(line.removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = mid, index
            if mid is None and index is None:
                candidate.sdpMLineIndex = 0
            if not is_sound(line):
                return
            self._candidate_seen.set()
            await self._ice.add_remote_candidate(candidate_to_aioice(candidate))
        except (ValueError, KeyError, IndexError) as error:
            raise BadMessage("the candidate cannot be read") from error

    async def late_candidates(self) -> list[str]:
        """Candidates that STUN servers told after the offer had left; may take seconds."""
        server = first_server(self._options.ice_servers, "stun:")
        if server is None:
            return []
        lines: list[str] = []
        for protocol in list(self._ice._protocols):  # noqa: SLF001
            with anyio.move_on_after(STUN_DEADLINE_S):
                try:
                    found, _ = await ice.server_reflexive_candidate(protocol, server)
                except (OSError, ice.stun.TransactionError):
                    continue
                lines.append("candidate:" + found.to_sdp())
        return lines

    def send_video(self, frame: EncodedFrame) -> None:
        """Hand a picture to the packetiser, or leave it out."""
        if self.is_open and frame.codec == self.codec:
            self._gate.put(frame)

    def send_audio(self, packet: AudioPacket) -> None:
        """Hand over a packet of sound; the oldest waiting one gives way."""
        if self._audio is not None and self.is_open:
            self._audio.put(packet)

    def send_control(self, message: str) -> None:
        """Send on the ordered channel, or keep a few until it opens."""
        if self._input is None:
            return
        if self._input.readyState == "open":
            if self._input.bufferedAmount < CONTROL_BYTES:
                self._input.send(message)
        elif len(self._waiting_control) < EARLY_CONTROL:
            self._waiting_control.append(message)

    def acknowledge(self, sequence: int) -> None:
        """Feedback on packets says more; nothing to do."""

    def stats(self) -> TransportStats:
        """The counters as they stand."""
        return TransportStats(
            self._frames,
            self._bytes,
            self._gate.dropped,
            loss=self._loss.loss,
            refused=self._watch.dropped.total if self._watch is not None else 0,
        )

    async def run(self) -> None:
        """Steer rate and repair once a second until the connection ends."""
        with anyio.move_on_after(CONNECT_DEADLINE_S):
            while not self._opened and not self._ended.is_set():
                with anyio.move_on_after(TICK_S):
                    await self._ended.wait()
        if not self._opened:
            self._end("never-connected")
        while not self._ended.is_set():
            with anyio.move_on_after(TICK_S):
                await self._ended.wait()
            self._steer()

    async def close(self, reason: str) -> None:
        """End the connection."""
        self._end(reason)
        with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True):
            await self._abort()
            await self._connection.close()
        if self._watch is not None and self._watch.dropped.total:
            log.info("datagrams.dropped", **asdict(self._watch.dropped))

    async def _abort(self) -> None:
        """Say more than once that it is over: a viewer of another dialect hears it here alone."""
        if self._options.own_channels or not self._opened or self._has_aborted:
            return
        self._has_aborted = True
        for _ in range(ABORTS):
            await self._connection.sctp._abort()  # noqa: SLF001
            await anyio.sleep(ABORT_S)

    @property
    def _ice(self) -> Any:
        return self._path.transport.iceGatherer._connection  # noqa: SLF001

    @property
    def _path(self) -> RTCDtlsTransport:
        return self._connection.sctp.transport

    def _use_codec(self, description: str) -> None:
        if self._sender is None:
            return
        codec = first_codec(description)
        if codec is None:
            raise BadMessage("the answer takes neither H.264 nor VP8")
        self.codec = codec
        self._sender.switch_codec(MIME[codec])

    def _channel_made(self, channel: RTCDataChannel) -> None:
        if self._events.on_channel is None:
            channel.close()
        else:
            self._events.on_channel(Channel(channel))

    def _state_changed(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and not self._opened:
            self._opened = True
            rate = self._options.ceiling_kbps * 1000
            self._path.enable_pacer(rate, self._events.on_key_wanted)
            self._events.on_open()
        elif state in {"failed", "closed"}:
            self._end("path-lost" if state == "failed" else "closed")

    def _end(self, reason: str) -> None:
        if not self._ended.is_set():
            self._end_reason = reason
            self._ended.set()
            self._events.on_closed(reason)

    def _flush_control(self) -> None:
        waiting, self._waiting_control = self._waiting_control, []
        for message in waiting:
            self.send_control(message)

    def _counted(self, _captured_ns: int, size: int) -> None:
        self._frames += 1
        self._bytes += size

    def _steer(self) -> None:
        window = self._path.take_twcc_window() if self._opened else None
        if window is None or self._sender is None:
            return
        queue = window["queue_ms"]
        if window["queue_rising_ms"] is not None:
            queue = max(queue or 0.0, window["queue_rising_ms"])
        if self._loss.update(window["loss_fraction"]):
            self._sender.steer_fec(window["loss_fraction"], queue is not None and queue > 0)
        else:
            self._sender.fec_repair_packets = 0
        report = PathReport(
            loss=window["loss_fraction"],
            queue_ms=queue,
            sent_kbps=window["sent_bps"] / 1000,
            delivered_kbps=window["goodput_bps"] / 1000,
        )
        self._events.on_rate(self._rate.update(report, time.monotonic()))


def _always() -> bool:
    return True
