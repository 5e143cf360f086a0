"""What a peer connection is made with, in our words and in the engine's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from selkies.webrtc import RTCBundlePolicy, RTCConfiguration, RTCIceServer, RTCRtpSender

from downstage.media.frame import Codec
from downstage.media.transport.tracks import MIME

__all__ = ["PeerOptions", "configuration_of", "direction", "first_server", "video_preferences"]


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """What a connection needs to know beside its peer."""

    ceiling_kbps: int
    ice_servers: tuple[dict[str, str], ...] = ()
    udp_ports: tuple[int, int] | None = None
    public_ip: str | None = None
    audio: bool = True
    """Sound is sent."""
    video: bool = True
    """Pictures are sent."""
    microphone: bool = False
    """The viewer may send sound."""
    camera: bool = False
    """The viewer may send pictures."""
    codecs: tuple[Codec, ...] = ("h264", "vp8")
    """In this order."""
    own_channels: bool = True
    """False: the viewer makes all data channels; picture and sound are streams of their own."""


def configuration_of(options: PeerOptions) -> RTCConfiguration:
    """What the engine is configured with; STUN servers are asked by the transport itself."""
    relays = [
        RTCIceServer(s["urls"], s.get("username"), s.get("credential"))
        for s in options.ice_servers
        if s.get("urls", "").startswith(("turn:", "turns:"))
    ]
    return RTCConfiguration(
        iceServers=relays,
        bundlePolicy=RTCBundlePolicy.MAX_BUNDLE,
        iceHostPublicIps=[options.public_ip] if options.public_ip else None,
        icePortRange=options.udp_ports,
    )


def direction(*, sends: bool, receives: bool) -> str | None:
    """What a section says; None: it is left out."""
    if sends:
        return "sendrecv" if receives else "sendonly"
    return "recvonly" if receives else None


def video_preferences(codecs: tuple[Codec, ...]) -> list[Any]:
    """The engine's codecs in the order of *codecs*, and what repairs them."""
    wanted = [*(MIME[codec].lower() for codec in codecs), "video/rtx", "video/flexfec-03"]
    offered = RTCRtpSender.getCapabilities("video").codecs
    return [
        codec
        for mime in wanted
        for codec in offered
        if codec.mimeType.lower() == mime
        # 4:4:4 is never encoded here.
        and not str((codec.parameters or {}).get("profile-level-id", "")).startswith("f4")
    ]


def first_server(servers: tuple[dict[str, str], ...], scheme: str) -> tuple[str, int] | None:
    """Host and port of the first server of *scheme*."""
    for server in servers:
        url = server.get("urls", "")
        if url.startswith(scheme):
            host, _, port = url.removeprefix(scheme).partition(":")
            return host, int(port) if port.isdigit() else 3478
    return None
