"""One client's conversation on its socket: what may come when, and who is waited for.

::

    client            gateway               streamer
    discover     →
                 ←    resp:discover
    settings     →    (version 2)       →   peer.open
                 ←    offer             ←   peer.signal
    answer       →                      →   peer.signal
    candidate    ⇄                      ⇄   peer.signal
    (closes)          the picture goes on

Before version 2 the client's offer takes the place of its settings, and the streamer answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import anyio

from downstage.contracts.anbox import AnboxScreen, AnboxSettings, Codec
from downstage.gateway.dialects.anbox import reasons
from downstage.gateway.dialects.anbox.messages import (
    ClientAnswer,
    ClientCandidate,
    ClientMessage,
    ClientOffer,
    Discover,
    SettingsMessage,
    candidate_out,
    channels_of,
    discovered,
    error_out,
    sdp_out,
)
from downstage.gateway.dialects.anbox.models import Screen
from downstage.gateway.rooms import Room, Viewer
from downstage.gateway.wire import Wire
from downstage.kernel.errors import BadMessage

__all__ = ["Awaited", "Speaker", "Talk"]

Awaited = Literal["client", "instance", "answer", "media", "nobody"]
PATIENCE: dict[Awaited, float] = {"client": 30.0, "instance": 90.0, "answer": 30.0, "media": 60.0}
"""Seconds that each is waited for; longest the instance, which may still be starting."""
OFFERING_VERSION = 2
"""From here on it is the streamer who offers."""
CODECS: dict[str, Codec] = {"AV1": "AV1", "H264": "H264", "VP8": "VP8", "VP9": "VP9"}
MAX_CODECS = 8


class Speaker:
    """The sending half of a client's socket: what the room says, in the client's words.

    Whatever ends the conversation from our side says why before it closes.

    Args:
        wire: of the socket.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._has_ended = False
        self._session: Mapping[str, Any] = {}
        self.awaited: Awaited = "client"
        self.changed = anyio.Event()
        """Another one is waited for."""

    def send(self, message: Mapping[str, Any]) -> None:
        """Something of the room."""
        match message["type"]:
            case "offer" | "answer":
                self._wire.send(sdp_out(message))
                self.wait_for("answer" if message["type"] == "offer" else "media")
            case "candidate":
                told = candidate_out(message)
                if told is not None:
                    self._wire.send(told)
            case "session":
                self._session = message["session"]
                if self._session.get("state") == "ending":
                    self.end(reasons.of_end(dict(self._session)))
            case "bye":
                shown = dict(self._session) or {"reason": message.get("reason")}
                self.end(reasons.of_end(shown))
            case "closed":
                self.end(reasons.of_close(message.get("reason"), message.get("detail")))
            case _:
                pass

    def close(self, code: int = 1000, reason: str = "") -> None:
        """The room closes the line."""
        self.end(reasons.of_close(reason), code, reason)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Something that is the client's own already."""
        self._wire.send(message)

    def end(self, text: str, code: int = 1000, reason: str = "ended") -> None:
        """Say why, then close; only the first time."""
        if not self._has_ended:
            self._has_ended = True
            self._wire.send(error_out(text))
            self._wire.close(code, reason)

    def wait_for(self, awaited: Awaited) -> None:
        """From now on it is another's turn."""
        self.awaited = awaited
        changed, self.changed = self.changed, anyio.Event()
        changed.set()


class Talk:
    """What the client says.

    Args:
        speaker: to answer by.
        room, viewer: where it is.
        screen: the picture it is sent.
    """

    def __init__(self, speaker: Speaker, room: Room, viewer: Viewer, screen: Screen) -> None:
        self._speaker = speaker
        self._room = room
        self._viewer = viewer
        self._screen = screen
        self._settings: SettingsMessage | None = None
        self._is_open = False

    def hear(self, message: ClientMessage) -> None:
        """One message.

        Raises:
            BadMessage: it may not come now, or asks for too much.
            Violation: the same, as the room judges.
        """
        match message:
            case Discover():
                self._speaker.tell(discovered(self._screen.fps))
            case SettingsMessage():
                self._set(message)
            case ClientOffer():
                self._offer(message)
            case ClientAnswer():
                self._room.hear(self._viewer, message.ours())
                self._speaker.wait_for("media")
            case ClientCandidate():
                self._room.hear(self._viewer, message.ours())
            case _:
                pass

    def _set(self, message: SettingsMessage) -> None:
        if self._settings is not None:
            raise BadMessage("settings: they were sent already; open a new socket to change them.")
        self._settings = message
        if message.version >= OFFERING_VERSION:
            self._open(self._wanted(message, channels_of(message.data_channels)))

    def _offer(self, message: ClientOffer) -> None:
        version = self._settings.version if self._settings else 0
        if version >= OFFERING_VERSION or self._is_open:
            raise BadMessage("offer: in this version the instance offers, and once.")
        early = self._settings or SettingsMessage(type="settings")
        wanted = self._wanted(early, channels_of(message.data_channels or early.data_channels))
        self._open(wanted.model_copy(update={"offers": "viewer"}), message.sdp)

    def _open(self, settings: AnboxSettings, offer: str | None = None) -> None:
        self._is_open = True
        self._speaker.wait_for("instance")
        self._room.want(self._viewer, settings, offer)

    def _wanted(self, message: SettingsMessage, channels: list[str]) -> AnboxSettings:
        video = message.video.preferred_decoder_codecs if message.video else []
        known: list[Codec] = [CODECS[name.upper()] for name in video if name.upper() in CODECS]
        return AnboxSettings(
            api_version=message.version,
            data_channels=channels,
            enable_speaker=message.enable_speaker is not False,
            enable_video=message.enable_video is not False,
            enable_microphone=bool(message.enable_microphone),
            enable_camera=bool(message.enable_camera),
            preferred_codecs=known[:MAX_CODECS],
            device_type=message.device_type,
            foreground_activity=message.foreground_activity,
            screen=AnboxScreen(**self._screen.model_dump()),
        )
