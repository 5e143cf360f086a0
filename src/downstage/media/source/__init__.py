"""Where pictures come from: one Protocol, one file a display system, each with its own rules."""

from __future__ import annotations

from downstage.media.source.geometry import LARGEST, SMALLEST, clamp
from downstage.media.source.protocol import FrameSource, SourceEvents
from downstage.media.source.wayland import WaylandSource
from downstage.media.source.x11 import X11Source

__all__ = [
    "LARGEST",
    "SMALLEST",
    "FrameSource",
    "SourceEvents",
    "WaylandSource",
    "X11Source",
    "clamp",
]
