"""The channel ``control`` of one viewer: input for the display, events for the application."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from downstage.kernel.errors import BadMessage
from downstage.kernel.logging import get_logger
from downstage.media.input.limiter import Bucket
from downstage.media.transport import Channel
from downstage.streamer.anbox.reading import Deeds, Farewell, Forward, Reader, Unknown
from downstage.streamer.channels.bridge import Bridge
from downstage.streamer.viewer import Viewer

__all__ = ["Control"]

log = get_logger(__name__)

ANSWERS = {
    "vhal::get-all-prop-configs": "vhal-prop-configs",
    "vhal::get": "vhal-get-answer",
    "vhal::set": "vhal-set-answer",
}
ANSWER_S = 0.8
"""How long the application may take: the viewer gives up after a second."""
MAX_ASKED = 16
MAX_BUFFERED = 1 << 20
MAX_SAID = 64 * 1024
EVENTS_A_SECOND, EVENTS_AT_ONCE = 400, 400
"""Pads and sensors tell something at each picture, several at once."""


class Control:
    """Acts on what the viewer says, and speaks to it.

    Args:
        viewer: whose hands it moves.
        reader: knows the size by which places are meant.
        bridge: the way to the application.
        on_farewell: called once, when the viewer ends the stream.
    """

    def __init__(
        self, viewer: Viewer, reader: Reader, bridge: Bridge, on_farewell: Callable[[], None]
    ) -> None:
        self._viewer, self._reader, self._bridge = viewer, reader, bridge
        self._on_farewell = on_farewell
        self._bucket = Bucket(EVENTS_A_SECOND, EVENTS_AT_ONCE, EVENTS_AT_ONCE, time.monotonic())
        self._channel: Channel | None = None
        self._asked: deque[_Question] = deque()
        self._has_left = False
        self.unknown = self.dropped = 0
        """Messages of kinds that are not known; events beyond what one viewer may send."""

    def use(self, channel: Channel) -> None:
        """Listen on the viewer's channel."""
        self._channel = channel
        channel.listen(self.hear, self.close)

    def close(self) -> None:
        """The channel is gone."""
        while self._asked:
            self._asked.popleft().cancel()

    def hear(self, message: str | bytes) -> None:
        """Take one message; nothing it says can do harm."""
        try:
            meant = self._reader.read(message)
        except BadMessage as error:
            self._viewer.refuse(error)
            return
        match meant:
            case Deeds(deeds):
                for deed in deeds:
                    self._viewer.take(deed)
            case Forward(kind, data):
                self._forward(kind, data)
            case Farewell():
                if not self._has_left:
                    self._has_left = True
                    self._on_farewell()
            case Unknown(kind):
                self.unknown += 1
                if self.unknown == 1:
                    log.info("control.unknown", peer=self._viewer.peer, kind=kind)

    def say(self, kind: str, data: object) -> bool:
        """Tell the viewer something; its *data* travels as a JSON text of its own."""
        channel = self._channel
        text = json.dumps({"type": kind, "data": json.dumps(data)})
        if channel is None or len(text) > MAX_SAID or channel.buffered > MAX_BUFFERED:
            return False
        return channel.send(text)

    def told(self, kind: str, data: object) -> None:
        """The application says something; an answer only where one is awaited."""
        if kind in ANSWERS.values():
            if not self._asked or self._asked[0].answer != kind:
                return
            self._asked.popleft().cancel()
        self.say(kind, data)
        self._settle()

    def _forward(self, kind: str, data: Any) -> None:
        if self._viewer.role != "controller" or not self._bucket.take(time.monotonic()):
            self.dropped += 1
            return
        self._viewer.acted()
        answer = ANSWERS.get(kind)
        if answer is not None and len(self._asked) >= MAX_ASKED:
            self.dropped += 1
            return
        heard = self._bridge.event(kind, data, self._viewer.peer)
        if answer is not None:
            self._asked.append(_Question(answer, ANSWER_S if heard else 0.0, self._settle))
            self._settle()

    def _settle(self) -> None:
        """Answers bear no number: each comes in its turn, also the one that nobody gives."""
        while self._asked and self._asked[0].is_late:
            answer = self._asked.popleft().answer
            self.say(answer, {"error": "The application answers no vehicle properties."})


class _Question:
    """Something that the viewer waits for an answer to."""

    def __init__(self, answer: str, seconds: float, on_late: Callable[[], None]) -> None:
        self.answer, self.is_late = answer, seconds <= 0
        self._on_late = on_late
        self._timer: asyncio.TimerHandle | None = None
        if not self.is_late:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def cancel(self) -> None:
        """It is answered, or nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self.is_late = True
        self._on_late()
