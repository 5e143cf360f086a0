"""Messages on the two signalling sockets, as strict models: what is not one of these is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from downstage.contracts.wire import Answer, Request
from downstage.kernel.errors import BadMessage
from downstage.kernel.limits import MAX_SIGNALLING

__all__ = [
    "AnswerMessage",
    "Beat",
    "Bye",
    "CandidateMessage",
    "FromStreamer",
    "FromViewer",
    "Hello",
    "OfferMessage",
    "PeerClosed",
    "PeerConnected",
    "PeerDisconnected",
    "PeerSessionEnd",
    "PeerSignal",
    "PictureReady",
    "Restart",
    "Status",
    "StreamerFault",
    "Want",
    "read_streamer",
    "read_viewer",
]

Sdp = Annotated[str, Field(min_length=8, max_length=60_000, pattern=r"^v=0\r?\n")]
PeerId = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, BeforeValidator(lambda text: text[:512] if isinstance(text, str) else text)]
"""Words for people: cut, never a reason to hang up."""


class Want(Request):
    """A viewer asks for an offer."""

    type: Literal["want"]
    transport: Literal["webrtc"] = "webrtc"
    width: int | None = Field(default=None, ge=1, le=65535)
    height: int | None = Field(default=None, ge=1, le=65535)


class OfferMessage(Request):
    """The streamer's offer."""

    type: Literal["offer"]
    sdp: Sdp


class AnswerMessage(Request):
    """The viewer's answer to the last offer."""

    type: Literal["answer"]
    sdp: Sdp
    peer: PeerId | None = None


class CandidateMessage(Request):
    """One candidate; null says that there are no more."""

    type: Literal["candidate"]
    candidate: str | None = Field(default=None, max_length=1024)
    sdp_mid: str | None = Field(default=None, max_length=64)
    sdp_mline_index: int | None = Field(default=None, ge=0, le=64)
    peer: PeerId | None = None


class Restart(Request):
    """The path broke: a new offer with an ICE restart, please."""

    type: Literal["restart"]


class Bye(Request):
    """The viewer leaves."""

    type: Literal["bye"]
    reason: Text | None = None


FromViewer = Want | AnswerMessage | CandidateMessage | Restart | Bye


class Hello(Answer):
    """The first message of a streamer."""

    type: Literal["hello"]
    instance_id: str = Field(max_length=128)
    session_id: str = Field(max_length=64)
    peers: list[PeerId] = Field(default_factory=list, max_length=256)


class Beat(Answer):
    """An answer to our own, so that silence is told from quiet."""

    type: Literal["beat"]


class PictureReady(Answer):
    """The first picture was captured."""

    type: Literal["ready"]
    width: int = Field(ge=1, le=65535)
    height: int = Field(ge=1, le=65535)
    encoder: Text | None = None
    """None: the display works and nothing is encoded just now."""
    audio: bool
    encoder_reason: Text | None = None
    audio_reason: Text | None = None


class Status(Answer):
    """How it goes, about once a second."""

    type: Literal["status"]
    width: int | None = Field(default=None, ge=1, le=65535)
    height: int | None = Field(default=None, ge=1, le=65535)
    last_input_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class PeerSignal(Answer):
    """Something for one viewer."""

    type: Literal["peer.signal"]
    peer: PeerId
    payload: Annotated[OfferMessage | AnswerMessage | CandidateMessage, Field(discriminator="type")]
    """An answer where it was the viewer who offered."""


class PeerConnected(Answer):
    """Media flows to this viewer."""

    type: Literal["peer.connected"]
    peer: PeerId


class PeerDisconnected(Answer):
    """The path to this viewer broke."""

    type: Literal["peer.disconnected"]
    peer: PeerId
    reason: Text | None = None


class PeerClosed(Answer):
    """The streamer gave this viewer up."""

    type: Literal["peer.close"]
    peer: PeerId
    reason: Text | None = None
    detail: Text | None = None


class PeerSessionEnd(Answer):
    """This viewer said that it is done, by a message to the streamer."""

    type: Literal["peer.session_end"]
    peer: PeerId


class StreamerFault(Answer):
    """It is about to give up."""

    type: Literal["fault"]
    code: str = Field(max_length=64, pattern=r"^[a-z0-9-]+$")
    detail: Text | None = None


FromStreamer = (
    Hello
    | Beat
    | PictureReady
    | Status
    | PeerSignal
    | PeerConnected
    | PeerDisconnected
    | PeerClosed
    | PeerSessionEnd
    | StreamerFault
)

_viewer: TypeAdapter[FromViewer] = TypeAdapter(Annotated[FromViewer, Field(discriminator="type")])
_streamer: TypeAdapter[FromStreamer] = TypeAdapter(
    Annotated[FromStreamer, Field(discriminator="type")]
)


def read_viewer(text: str) -> FromViewer:
    """One message of a viewer.

    Raises:
        BadMessage: it is none.
    """
    return _read(_viewer, text)


def read_streamer(text: str) -> FromStreamer:
    """One message of a streamer.

    Raises:
        BadMessage: it is none.
    """
    return _read(_streamer, text)


def _read(adapter: TypeAdapter[Any], text: str) -> Any:
    # 64 KiB and pydantic's own nesting limit bound the work, whatever comes.
    if len(text) > MAX_SIGNALLING:
        raise BadMessage("The message is too long.")
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:64]
        what = place or first["type"]
        raise BadMessage(f"The message is not one of the protocol's: {what}.") from error
