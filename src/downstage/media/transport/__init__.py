"""How pictures reach a viewer: one Protocol, WebRTC first, a WebSocket where UDP does not pass.

The transports themselves are `webrtc` and `websocket`; they are not imported here, since both bring
libraries that take a third of a second to load, and a display is ready before that.
"""

from __future__ import annotations

from downstage.media.transport.channel import MAX_MESSAGE, Channel
from downstage.media.transport.protocol import Transport, TransportEvents, TransportStats

__all__ = ["MAX_MESSAGE", "Channel", "Transport", "TransportEvents", "TransportStats"]
