"""What gateway and streamer say to each other about a viewer that speaks the Anbox dialect.

The gateway speaks that dialect's signalling (JSON with base64 inside) and the REST API; the
streamer speaks its data channels, since media flows between viewer and streamer alone. Between
the two it is our own link (`downstage.contracts.streamer`) with these additions:

======================  ===========  ==========================================================
type                    direction    content
======================  ===========  ==========================================================
``peer.open``           to streamer  as ever, and ``dialect``: ``anbox``; ``anbox``: `AnboxSettings`
``peer.signal``         to streamer  ``payload``: ``offer`` where `AnboxSettings.offers` is
                                     ``viewer``, else ``answer``; or ``candidate``
``peer.signal``         to gateway   ``payload``: the other of the two; or ``candidate``
``peer.session_end``    to gateway   ``peer``: its viewer said ``stream::disconnect`` on the
                                     control channel; what that means, the gateway decides
``peer.close``          to gateway   ``reason`` is a code, ``detail`` (may be absent) a sentence
                                     for the viewer: told as the dialect's ``error`` message
``peer.close``          to streamer  close the peer connection, which that dialect's viewers
                                     take as the end of the stream
======================  ===========  ==========================================================

Payloads are ours: plain SDP, candidates as ``candidate`` ``sdp_mid`` ``sdp_mline_index``. A
viewer of this dialect can neither renegotiate nor restart: ``peer.restart`` is never sent for it.
A streamer may send its candidates inside the SDP, one by one, or both.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from downstage.contracts.wire import Answer

__all__ = [
    "MAX_API_VERSION",
    "MAX_CHANNELS",
    "AnboxScreen",
    "AnboxSettings",
    "ChannelName",
    "Codec",
]

MAX_API_VERSION = 2
MAX_CHANNELS = 5
"""Named data channels of one viewer, beside ``control``."""

ChannelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Codec = Literal["AV1", "H264", "VP8", "VP9"]


class AnboxScreen(Answer):
    """The picture that this viewer is sent, as the session keeps it: sizes even and in bounds."""

    width: int = Field(ge=2, le=3840)
    height: int = Field(ge=2, le=2160)
    fps: int = Field(ge=1, le=240)
    density: int = Field(default=240, ge=72)


class AnboxSettings(Answer):
    """What a viewer wants of its peer connection: the ``anbox`` of a ``peer.open``.

    What a version does not know, its viewers cannot say: before 2 they want picture and sound
    and nothing of their own.
    """

    api_version: int = Field(default=MAX_API_VERSION, ge=0, le=MAX_API_VERSION)
    offers: Literal["streamer", "viewer"] = "streamer"
    """Who makes the offer: the streamer from version 2 on, the viewer before."""
    data_channels: list[ChannelName] = Field(default_factory=list[str], max_length=MAX_CHANNELS)
    """Named channels that the viewer makes, beside ``control``."""
    enable_speaker: bool = True
    """Sound to the viewer."""
    enable_video: bool = True
    """Picture to the viewer."""
    enable_microphone: bool = False
    """Sound of the viewer may come."""
    enable_camera: bool = False
    """Picture of the viewer may come."""
    preferred_codecs: list[Codec] = Field(default_factory=list[Codec], max_length=8)
    """The viewer's order of decoders; empty: whatever the offer says."""
    device_type: str | None = Field(default=None, max_length=64)
    foreground_activity: str | None = Field(default=None, max_length=256)
    screen: AnboxScreen
