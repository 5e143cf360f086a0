"""How a viewer's connection is spoken on: our own way, where its dialect is no other."""

from __future__ import annotations

from typing import Protocol

from downstage.kernel.errors import BadMessage
from downstage.media.transport import Channel
from downstage.media.transport.peer_options import PeerOptions
from downstage.streamer.channels.bridge import Bridge
from downstage.streamer.viewer import Viewer

__all__ = ["OwnSpeech", "Speech"]

MAX_CHANNELS = 16
"""Data channels that one viewer may make."""


class Speech(Protocol):
    """What differs between dialects on one peer connection."""

    @property
    def viewer_offers(self) -> bool:
        """The viewer makes the offer."""
        ...

    def options(self, base: PeerOptions) -> PeerOptions:
        """What the connection is made with."""
        ...

    def begins(self) -> None:
        """Media flows."""
        ...

    def channel(self, channel: Channel) -> None:
        """The viewer made a channel."""
        ...


class OwnSpeech:
    """Our own page: two channels of ours, and the application's."""

    viewer_offers = False

    def __init__(self, viewer: Viewer, bridge: Bridge) -> None:
        self._viewer, self._bridge = viewer, bridge
        self._count = 0

    def options(self, base: PeerOptions) -> PeerOptions:
        """As it is."""
        return base

    def begins(self) -> None:
        """Nothing is special then."""

    def channel(self, channel: Channel) -> None:
        """Bridge it to the application."""
        if self._count >= MAX_CHANNELS:
            channel.close()
            self._viewer.refuse(BadMessage("a viewer makes at most sixteen channels"))
            return
        self._count += 1
        self._bridge.join(channel, speaks=self._viewer.role == "controller")
