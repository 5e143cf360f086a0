"""Recordings: MCAP files that are written while entries pass, read again at any speed."""

from __future__ import annotations
