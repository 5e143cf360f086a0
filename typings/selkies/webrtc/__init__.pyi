"""What we call of selkies.webrtc 2.1."""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from selkies.webrtc import sdp as sdp
from selkies.webrtc.rtcicetransport import RTCIceTransport
from selkies.webrtc.rtcsctptransport import RTCSctpCapabilities

class MediaStreamTrack:
    kind: str
    def __init__(self) -> None: ...

class RTCBundlePolicy(Enum):
    MAX_BUNDLE = "max-bundle"

class RTCIceServer:
    def __init__(
        self, urls: str | list[str], username: str | None = None, credential: str | None = None
    ) -> None: ...

class RTCConfiguration:
    def __init__(
        self,
        iceServers: list[RTCIceServer] | None = None,
        bundlePolicy: RTCBundlePolicy = ...,
        iceHostPublicIps: list[str] | None = None,
        icePortRange: tuple[int, int] | None = None,
    ) -> None: ...

class RTCSessionDescription:
    sdp: str
    type: str
    def __init__(self, sdp: str, type: str) -> None: ...

class RTCRtpCodecCapability:
    mimeType: str
    parameters: dict[str, Any] | None

class RTCRtpCapabilities:
    codecs: Sequence[RTCRtpCodecCapability]

class RTCDtlsTransport:
    transport: RTCIceTransport
    def enable_pacer(
        self, encoder_bps: int, request_keyframe: Callable[[], None] | None = None
    ) -> None: ...
    def take_twcc_window(self) -> dict[str, Any] | None: ...

class RTCSctpTransport:
    transport: RTCDtlsTransport
    getCapabilities: Callable[[], RTCSctpCapabilities]
    async def _abort(self) -> None: ...

class RTCRtpSender:
    transport: RTCDtlsTransport
    _stream_id: str
    fec_repair_packets: int
    on_frame_sent: Callable[[int, int], None] | None
    def on(self, event: str, f: Callable[..., None]) -> None: ...
    def switch_codec(self, mime_type: str) -> bool: ...
    def steer_fec(self, loss_fraction: float, queued: bool = False) -> None: ...
    @classmethod
    def getCapabilities(cls, kind: str) -> RTCRtpCapabilities: ...

class RTCRtpTransceiver:
    sender: RTCRtpSender
    def setCodecPreferences(self, codecs: Sequence[RTCRtpCodecCapability]) -> None: ...

class RTCDataChannel:
    label: str
    readyState: str
    bufferedAmount: int
    bufferedAmountLowThreshold: int
    def on(self, event: str, f: Callable[..., None]) -> None: ...
    def send(self, data: str | bytes) -> None: ...
    def close(self) -> None: ...

class RTCPeerConnection:
    connectionState: str
    localDescription: RTCSessionDescription
    sctp: RTCSctpTransport
    def __init__(self, configuration: RTCConfiguration | None = None) -> None: ...
    def on(self, event: str, f: Callable[..., None]) -> None: ...
    def addTransceiver(
        self, trackOrKind: MediaStreamTrack | str, direction: str = "sendrecv"
    ) -> RTCRtpTransceiver: ...
    def createDataChannel(
        self,
        label: str,
        *,
        maxRetransmits: int | None = None,
        ordered: bool = True,
        negotiated: bool = False,
        id: int | None = None,
    ) -> RTCDataChannel: ...
    async def createOffer(self) -> RTCSessionDescription: ...
    async def createAnswer(self) -> RTCSessionDescription: ...
    async def setLocalDescription(
        self, sessionDescription: RTCSessionDescription | None = None
    ) -> None: ...
    async def setRemoteDescription(self, sessionDescription: RTCSessionDescription) -> None: ...
    async def close(self) -> None: ...
