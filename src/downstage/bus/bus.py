"""What every bus promises: at most once, in order for one publisher, never blocking it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Bus", "Message"]


@dataclass(frozen=True, slots=True)
class Message:
    """One hint. `gap` says that messages before it were dropped: read the truth again."""

    subject: str
    payload: Mapping[str, object]
    gap: bool = False


class Bus(Protocol):
    """Publish and subscribe on dotted subjects."""

    def publish(self, subject: str, payload: Mapping[str, object]) -> None:
        """Tell everybody who listens now; never waits, never fails for a slow listener."""
        ...

    def subscribe(self, pattern: str) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Messages whose subject fits *pattern*: ``*`` is one part, a last ``>`` all the rest."""
        ...
