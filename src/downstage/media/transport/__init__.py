"""How pictures reach a viewer: one Protocol, WebRTC first, a WebSocket where UDP does not pass."""

from __future__ import annotations

from downstage.media.transport.protocol import Transport, TransportEvents, TransportStats
from downstage.media.transport.webrtc import PeerOptions, WebRtcTransport
from downstage.media.transport.websocket import WebSocketTransport

__all__ = [
    "PeerOptions",
    "Transport",
    "TransportEvents",
    "TransportStats",
    "WebRtcTransport",
    "WebSocketTransport",
]
