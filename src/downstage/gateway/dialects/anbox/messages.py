"""The signalling messages of this dialect: models in, ours out; SDP and candidates in base64.

What is no JSON object with a ``type`` is refused. A type that is not known is passed over: newer
clients may say more.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from downstage.contracts.anbox import MAX_API_VERSION, MAX_CHANNELS
from downstage.gateway.messages import AnswerMessage, CandidateMessage
from downstage.kernel.errors import BadMessage
from downstage.kernel.limits import MAX_SIGNALLING

__all__ = [
    "ClientAnswer",
    "ClientCandidate",
    "ClientMessage",
    "ClientOffer",
    "Discover",
    "SettingsMessage",
    "Unknown",
    "candidate_out",
    "channels_of",
    "discovered",
    "error_out",
    "read_client",
    "sdp_out",
]

SHORTEST_SDP, LONGEST_SDP = 8, 60_000
LONGEST_CANDIDATE = 1024
NOT_BASE64 = "is not text in base64"


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError(NOT_BASE64) from error


def _sdp(value: str) -> str:
    found = _decoded(value)
    if not found.startswith(("v=0\r\n", "v=0\n")) or not (
        SHORTEST_SDP <= len(found) <= LONGEST_SDP
    ):
        raise ValueError("is no session description")
    return found


Sdp = Annotated[str, Field(max_length=MAX_SIGNALLING), AfterValidator(_sdp)]
Candidate = Annotated[str, Field(max_length=2 * LONGEST_CANDIDATE), AfterValidator(_decoded)]
Channel = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Channels = Annotated[list[Channel], Field(max_length=MAX_CHANNELS + 1)]
CONTROL = "control"


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Discover(_Message):
    """A client asks what is spoken here."""

    type: Literal["discover"]


class Video(_Message):
    """What the client can decode, the best first."""

    preferred_decoder_codecs: list[Annotated[str, Field(max_length=32)]] = Field(
        default_factory=list[str], max_length=16
    )


class SettingsMessage(_Message):
    """What a client wants; before version 2 it says its version alone."""

    type: Literal["settings"]
    api_version: int = Field(default=0, ge=0)
    data_channels: Channels | None = None
    enable_speaker: bool | None = None
    enable_microphone: bool | None = None
    enable_video: bool | None = None
    enable_camera: bool | None = None
    device_type: Annotated[str, Field(max_length=64)] | None = None
    foreground_activity: Annotated[str, Field(max_length=256)] | None = None
    video: Video | None = None

    @property
    def version(self) -> int:
        """The newest that both speak."""
        return min(self.api_version, MAX_API_VERSION)


class ClientOffer(_Message):
    """A client of an early version offers."""

    type: Literal["offer"]
    sdp: Sdp
    data_channels: Channels | None = Field(default=None, alias="dataChannels")


class ClientAnswer(_Message):
    """A client answers our offer."""

    type: Literal["answer"]
    sdp: Sdp

    def ours(self) -> AnswerMessage:
        """The same between gateway and streamer."""
        return AnswerMessage(type="answer", sdp=self.sdp)


class ClientCandidate(_Message):
    """One candidate of the client."""

    type: Literal["candidate"]
    candidate: Candidate | None = None
    mid: Annotated[str, Field(max_length=64)] | None = Field(default=None, alias="sdpMid")
    line: Annotated[int, Field(ge=0, le=64)] | None = Field(default=None, alias="sdpMLineIndex")

    def ours(self) -> CandidateMessage:
        """The same between gateway and streamer."""
        text = self.candidate[:LONGEST_CANDIDATE] if self.candidate else None
        return CandidateMessage(
            type="candidate", candidate=text, sdp_mid=self.mid, sdp_mline_index=self.line
        )


class Unknown(_Message):
    """A message of another type."""

    type: Annotated[str, Field(max_length=128)]


ClientMessage = Discover | SettingsMessage | ClientOffer | ClientAnswer | ClientCandidate | Unknown
KNOWN: dict[str, type[ClientMessage]] = {
    "discover": Discover,
    "settings": SettingsMessage,
    "offer": ClientOffer,
    "answer": ClientAnswer,
    "candidate": ClientCandidate,
}


def read_client(text: str) -> ClientMessage:
    """One message of a client.

    Raises:
        BadMessage: it is none; the text names the field.
    """
    if len(text) > MAX_SIGNALLING:
        raise BadMessage("The message is too long.")
    try:
        # Twice, so that a type that is not known is no error; 64 KiB bound the work.
        kind = Unknown.model_validate_json(text).type
        return KNOWN.get(kind, Unknown).model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:64] or "the message"
        raise BadMessage(f"{place}: {first['msg']}.") from error


def channels_of(names: list[str] | None) -> list[str]:
    """Named channels, each once; the control channel is there by itself.

    Raises:
        BadMessage: there are too many.
    """
    found = list(dict.fromkeys(name for name in names or () if name != CONTROL))
    if len(found) > MAX_CHANNELS:
        raise BadMessage(f"data_channels: at most {MAX_CHANNELS} beside {CONTROL}.")
    return found


def discovered(fps: int) -> dict[str, Any]:
    """The answer to a client that asks what is spoken here."""
    return {
        "type": "resp:discover",
        "max_api_version": MAX_API_VERSION,
        "fps": fps,
        "capabilities": [],
    }


def sdp_out(message: Mapping[str, Any]) -> dict[str, Any]:
    """Our offer or answer, as it is sent to the client."""
    return {"type": message["type"], "sdp": _encoded(message["sdp"])}


def candidate_out(message: Mapping[str, Any]) -> dict[str, Any] | None:
    """Our candidate, as it is sent; the end of candidates is not."""
    if not message.get("candidate"):
        return None
    return {
        "type": "candidate",
        "candidate": _encoded(message["candidate"]),
        "sdpMid": message.get("sdp_mid"),
        "sdpMLineIndex": message.get("sdp_mline_index"),
    }


def error_out(text: str) -> dict[str, Any]:
    """The last message before we close."""
    return {"type": "error", "message": text}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
