"""What a WebSocket's close may say."""

from __future__ import annotations

__all__ = ["fit_reason"]

MAX_REASON = 123
"""Bytes of a reason: what a close frame has room for."""


def fit_reason(reason: str) -> str:
    """As much of *reason* as a close frame carries."""
    return reason.encode()[:MAX_REASON].decode("utf-8", "ignore")
