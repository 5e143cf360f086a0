"""Whether entries are what their stream was described as: JSON, and as its schema says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio.to_thread
import msgspec

from downstage.kernel.errors import InvalidField
from downstage.streams.dialects.v1.judge import Judge
from downstage.streams.model import StreamSpec

__all__ = ["MAX_SCHEMA", "check_entries", "check_schema", "is_json", "is_text"]

MAX_SCHEMA = 256 * 1024
"""Bytes of a schema."""


def is_json(content_type: str | None) -> bool:
    """Whether entries of that type are JSON."""
    kind = _plain(content_type)
    return kind == "application/json" or kind.endswith("+json")


def is_text(content_type: str | None) -> bool:
    """Whether entries of that type are text."""
    return _plain(content_type).startswith("text/")


def _plain(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


async def check_schema(judge: Judge, schema: Mapping[str, Any] | None) -> None:
    """Whether *schema* is one.

    Raises:
        InvalidField: it is none, or too large. Unavailable: it cannot be told just now.
    """
    if schema is None:
        return
    encoded = msgspec.json.encode(schema)
    if len(encoded) > MAX_SCHEMA:
        raise InvalidField("schema", f"A schema has at most {MAX_SCHEMA} bytes.")
    await judge.hold(encoded)


async def check_entries(
    judge: Judge, spec: StreamSpec, payloads: Sequence[bytes | memoryview]
) -> None:
    """Whether *payloads* are what *spec* says.

    Raises:
        InvalidField: one of them is not; says which and why. Unavailable: as above.
    """
    if not is_json(spec.content_type):
        return
    if spec.schema is None:
        await anyio.to_thread.run_sync(_check_json, payloads)
    else:
        await judge.hold(msgspec.json.encode(spec.schema), payloads)


def _check_json(payloads: Sequence[bytes | memoryview]) -> None:
    for number, payload in enumerate(payloads):
        try:
            msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidField(f"entries.{number}", "This entry is not JSON.") from error
