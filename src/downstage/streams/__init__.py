"""Streams: entries of bytes in order, pushed, pulled, recorded, replayed, watched."""

from __future__ import annotations
