"""What every bus promises: at most once, in order for one publisher, never blocking it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import msgspec

__all__ = ["MAX_HINT", "Bus", "Message", "check_subject", "decode", "encode"]

MAX_HINT = 256 * 1024
"""Bytes of one message as JSON."""

SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")
MAX_SUBJECT = 256


@dataclass(frozen=True, slots=True)
class Message:
    """One hint.

    `gap` says that messages before it may have been dropped: read the truth again. Where nothing
    else comes to carry it, a message of its own does: subject and payload are empty then.
    """

    subject: str
    payload: Mapping[str, object]
    gap: bool = False


class Bus(Protocol):
    """Publish and subscribe on dotted subjects."""

    def publish(self, subject: str, payload: Mapping[str, object]) -> None:
        """Tell everybody who listens now; never waits, never fails for a slow listener.

        Raises:
            ValueError: a subject with empty parts, spaces or wildcards; a payload that is no JSON
                object or is larger than `MAX_HINT`.
        """
        ...

    def subscribe(self, pattern: str) -> AbstractAsyncContextManager[AsyncIterator[Message]]:
        """Messages whose subject fits *pattern*: ``*`` is one part, a last ``>`` all the rest."""
        ...


def check_subject(subject: str) -> None:
    """Refuse what would not be one subject everywhere."""
    if len(subject) > MAX_SUBJECT or not SUBJECT.fullmatch(subject):
        raise ValueError(f"{subject[:80]!r} is no subject: parts joined by dots, no wildcards")


def encode(payload: Mapping[str, object]) -> bytes:
    """*payload* as JSON, bounded."""
    try:
        data = msgspec.json.encode(payload)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"the payload is not JSON: {error}") from error
    if len(data) > MAX_HINT:
        raise ValueError(f"the payload is larger than {MAX_HINT} bytes")
    return data


def decode(data: bytes) -> dict[str, object]:
    """The inverse of `encode`.

    Raises:
        ValueError: not a JSON object of the allowed size.
    """
    if len(data) > MAX_HINT:
        raise ValueError(f"the payload is larger than {MAX_HINT} bytes")
    try:
        return msgspec.json.decode(data, type=dict[str, object])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"the payload is no JSON object: {error}") from error
