"""Our own API of streams, below ``/v1/streams`` and ``/v1/recordings``."""

from __future__ import annotations
