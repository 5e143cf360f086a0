"""Whether entries are what their stream was described as: JSON Schema, in threads.

Schemas are strangers' data, and so is what they are held against: patterns run in linear time, and
nothing that a schema refers to is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec

from downstage.kernel.errors import InvalidField
from downstage.streams.model import StreamSpec

if TYPE_CHECKING:
    import jsonschema_rs

__all__ = ["MAX_SCHEMA", "check_entries", "check_schema", "is_json", "is_text"]

MAX_SCHEMA = 256 * 1024
"""Bytes of a schema."""
KEPT = 64
MAX_SAID = 256
"""Characters that are told of what is wrong."""


def is_json(content_type: str | None) -> bool:
    """Whether entries of that type are JSON."""
    kind = _plain(content_type)
    return kind == "application/json" or kind.endswith("+json")


def is_text(content_type: str | None) -> bool:
    """Whether entries of that type are text."""
    return _plain(content_type).startswith("text/")


def _plain(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


async def check_schema(schema: Mapping[str, Any] | None) -> None:
    """Whether *schema* is one.

    Raises:
        InvalidField: it is none, or too large.
    """
    if schema is None:
        return
    encoded = msgspec.json.encode(schema)
    if len(encoded) > MAX_SCHEMA:
        raise InvalidField("schema", f"A schema has at most {MAX_SCHEMA} bytes.")
    await anyio.to_thread.run_sync(_compiled, encoded)


async def check_entries(spec: StreamSpec, payloads: Sequence[bytes | memoryview]) -> None:
    """Whether *payloads* are what *spec* says.

    Raises:
        InvalidField: one of them is not; says which and why.
    """
    if not is_json(spec.content_type):
        return
    schema = None if spec.schema is None else msgspec.json.encode(spec.schema)
    await anyio.to_thread.run_sync(_check, schema, payloads)


def _check(schema: bytes | None, payloads: Sequence[bytes | memoryview]) -> None:
    validator = None if schema is None else _compiled(schema)
    for number, payload in enumerate(payloads):
        try:
            value = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidField(f"entries.{number}", "This entry is not JSON.") from error
        error = None if validator is None else next(validator.iter_errors(value), None)
        if error is not None:
            raise InvalidField(
                f"entries.{number}", f"Not as the stream's schema says: {_said(error)}"
            )


def _said(error: Any) -> str:
    return str(getattr(error, "message", error))[:MAX_SAID]


@lru_cache(KEPT)
def _compiled(schema: bytes) -> jsonschema_rs.Validator:
    """A validator of *schema*; compiling takes far longer than one use.

    Raises:
        InvalidField: it is no schema.
    """
    # Loaded at the first use: few streams have a schema.
    import jsonschema_rs

    try:
        return jsonschema_rs.validator_for(
            msgspec.json.decode(schema),
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except (ValueError, RecursionError) as error:
        raise InvalidField("schema", f"This is no JSON Schema: {_said(error)}") from error
