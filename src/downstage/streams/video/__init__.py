"""Video in and out: HLS, RTMP, WebRTC views of streams."""

from __future__ import annotations
