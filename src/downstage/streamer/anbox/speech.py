"""How one viewer of that dialect is served: what is offered, which channels it may make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from downstage.contracts.anbox import MAX_CHANNELS, AnboxSettings
from downstage.kernel.errors import BadMessage
from downstage.media.frame import Codec, Size
from downstage.media.input import events
from downstage.media.transport import Channel
from downstage.media.transport.peer_options import PeerOptions
from downstage.streamer.anbox.control import Control
from downstage.streamer.anbox.reading import Reader
from downstage.streamer.channels.bridge import Bridge
from downstage.streamer.viewer import Viewer

__all__ = ["AnboxSpeech"]

CONTROL = "control"
_CODECS: dict[str, Codec] = {"H264": "h264", "VP8": "vp8"}


class AnboxSpeech:
    """Speaks with one viewer of the Anbox dialect.

    Args:
        viewer: who it is.
        settings: what it asked for.
        bridge: the way to the application.
        on_farewell: called once, when the viewer ends the stream.
    """

    def __init__(
        self,
        viewer: Viewer,
        settings: AnboxSettings,
        bridge: Bridge,
        on_farewell: Callable[[], None],
    ) -> None:
        self._viewer, self._settings, self._bridge = viewer, settings, bridge
        self._reader = Reader(Size(settings.screen.width, settings.screen.height))
        self.control = Control(viewer, self._reader, bridge, on_farewell)
        self._has_control = False
        self._named = 0
        viewer.holds_size = viewer.role == "controller"
        if not settings.enable_video:
            # Nothing is encoded for somebody who does not look.
            viewer.take(events.Visible(visible=False))

    @property
    def viewer_offers(self) -> bool:
        """The viewer makes the offer."""
        return self._settings.offers == "viewer"

    def options(self, base: PeerOptions) -> PeerOptions:
        """What its peer connection is made with.

        Sound is offered even where there is none: such a viewer is ready once it has what it asked
        for, and would wait for ever.
        """
        settings = self._settings
        wanted = [_CODECS[name] for name in settings.preferred_codecs if name in _CODECS]
        codecs = tuple(dict.fromkeys((*wanted, *base.codecs)))
        return dataclasses.replace(
            base,
            audio=settings.enable_speaker,
            video=settings.enable_video,
            microphone=settings.enable_microphone,
            camera=settings.enable_camera,
            codecs=codecs,
            own_channels=False,
        )

    def begins(self) -> None:
        """Media flows: the picture that the viewer sees first is the one it lays out."""
        self._reader.layout = self._viewer.size

    def channel(self, channel: Channel) -> None:
        """The viewer made a channel."""
        if channel.name == CONTROL and not self._has_control:
            self._has_control = True
            self.control.use(channel)
        elif channel.name == CONTROL or self._named >= MAX_CHANNELS:
            channel.close()
            self._viewer.refuse(BadMessage("a viewer makes at most six channels"))
        else:
            self._named += 1
            self._bridge.join(channel, speaks=self._viewer.role == "controller")
