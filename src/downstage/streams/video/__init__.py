"""Video out and in: HLS of streams and sessions, RTMP publishers, cameras that are pulled."""

from __future__ import annotations
