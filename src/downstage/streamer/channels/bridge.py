"""All data channels of an instance, and the door for events."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from downstage.contracts.channels import EVENTS, MAX_NAMES, NAME, PREFIX, RESERVED, TEXT
from downstage.kernel.logging import get_logger
from downstage.media.transport import Channel
from downstage.streamer.channels.door import Door, DoorEvents
from downstage.streamer.channels.lane import Lane, pack

__all__ = ["Bridge"]

log = get_logger(__name__)

OPENED = "channel::opened"
WATCHERS = MAX_NAMES // 2
"""Beyond so many channels those who only watch open none: names stay for who speaks."""
_NAME = re.compile(NAME)
Told = Callable[[str, Any, str | None], None]
"""A message of the application for viewers: its type, its data, and for whom alone."""


class Bridge:
    """Opens a lane for each name, on demand or because the application declares it.

    Args:
        folder: where the sockets are to be; None: this instance has no such folder.
        declared: names that are there from the start.
        told: takes what the application says to viewers on ``events``.
    """

    def __init__(self, folder: Path | None, declared: Iterable[str], told: Told) -> None:
        self._path, self._declared, self._told = folder, list(declared), told
        self._folder: int | None = None
        self._lanes: dict[str, Lane] = {}
        self._events: Door | None = None

    def open(self) -> None:
        """Listen for the application.

        Raises:
            OSError: the folder is not there, or no sockets can be made in it.
        """
        if self._path is None:
            return
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
        self._folder = os.open(self._path, flags)
        self._sweep(f"/proc/self/fd/{self._folder}")
        self._events = Door(self._folder, EVENTS, DoorEvents(self._said, self._introduce))
        self._events.open()
        for name in self._declared:
            self._lane(name)

    def close(self) -> None:
        """Let the application go."""
        for lane in self._lanes.values():
            lane.close()
        self._lanes.clear()
        if self._events is not None:
            self._events.close()
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def join(self, channel: Channel, *, speaks: bool) -> bool:
        """Take a data channel of a viewer; False (and it is closed) where it cannot be bridged."""
        lane = self._lane(channel.name, MAX_NAMES if speaks else WATCHERS)
        if lane is None:
            channel.close()
            return False
        lane.join(channel, speaks=speaks)
        return True

    def event(self, kind: str, content: object, viewer: str) -> bool:
        """Tell the application of input that no display takes; False where nobody listens."""
        if self._events is None or not self._events.is_connected:
            return False  # what a pad did before there was anybody is of no use later
        text = json.dumps({"type": kind, "data": content, "viewer": viewer})
        return self._events.send(pack(text))

    @staticmethod
    def _sweep(folder: str) -> None:
        """Remove what a streamer before us left: an application would knock in vain."""
        for name in os.listdir(folder):  # noqa: PTH208 - by way of a descriptor
            if name.startswith(PREFIX):
                os.unlink(f"{folder}/{name}")  # noqa: PTH108 - by way of a descriptor

    def _lane(self, name: str, most: int = MAX_NAMES) -> Lane | None:
        lane = self._lanes.get(name)
        if lane is not None:
            return lane
        fits = _NAME.fullmatch(name) is not None and name not in RESERVED
        if self._folder is None or not fits or len(self._lanes) >= most:
            log.warning("channel.refused", channel=name[:64], known=len(self._lanes))
            return None
        lane = Lane(self._folder, name)
        try:
            lane.open()
        except OSError as error:
            log.warning("channel.failed", channel=name, error=str(error))
            return None
        self._lanes[name] = lane
        self._announce(name)
        return lane

    def _announce(self, name: str) -> None:
        if self._events is not None and self._events.is_connected:
            text = json.dumps({"type": OPENED, "data": {"name": name}, "viewer": None})
            self._events.send(pack(text))

    def _introduce(self) -> None:
        for name in self._lanes:
            self._announce(name)

    def _said(self, kind: int, message: bytes) -> None:
        try:
            said: object = json.loads(message) if kind == TEXT else None
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            return
        content = cast("dict[str, Any]", said)
        what, viewer = content.get("type"), content.get("viewer")
        if isinstance(what, str):
            self._told(what, content.get("data"), viewer if isinstance(viewer, str) else None)
