"""Holds entries against schemas; as a program it loads nothing of the platform, see `judge`.

It reads and writes messages in MessagePack, four bytes of length before each: ``[schema,
payloads]`` is answered by null, or ``[number, what is wrong]``; number -1 is the schema itself.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, BinaryIO

import jsonschema_rs
import msgspec

__all__ = ["compiled", "judged", "serve"]

KEPT = 64
"""Schemas that stay compiled: that takes far longer than one use."""
MAX_SAID = 256
"""Characters that are told of what is wrong."""
MAX_MEMORY = 4 << 30
OF_SCHEMA = -1
HEAD = 4
Wrong = tuple[int, str]


@lru_cache(KEPT)
def compiled(schema: bytes) -> jsonschema_rs.Validator:
    """A validator of *schema*, whose patterns run in linear time and which fetches nothing."""
    return jsonschema_rs.validator_for(
        msgspec.json.decode(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )


def judged(schema: bytes, payloads: Sequence[bytes | memoryview]) -> Wrong | None:
    """What is wrong with the first of *payloads* that is not as *schema* says; None: nothing."""
    try:
        validator = compiled(schema)
    except (ValueError, RecursionError) as error:
        return OF_SCHEMA, f"This is no JSON Schema: {_said(error)}"
    for number, payload in enumerate(payloads):
        try:
            value = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return number, "This entry is not JSON."
        error = next(iter(validator.iter_errors(value)), None)
        if error is not None:
            return number, f"Not as the stream's schema says: {_said(error)}"
    return None


def _said(error: Any) -> str:
    return str(getattr(error, "message", error))[:MAX_SAID]


def serve(asked: BinaryIO, told: BinaryIO) -> None:
    """Answer until nobody asks."""
    decoder = msgspec.msgpack.Decoder(tuple[bytes, list[bytes]])
    _tell(told, None)  # it is there
    while head := asked.read(HEAD):
        schema, payloads = decoder.decode(asked.read(int.from_bytes(head, "big")))
        _tell(told, judged(schema, payloads))


def _tell(told: BinaryIO, wrong: Wrong | None) -> None:
    answer = msgspec.msgpack.encode(wrong)
    told.write(len(answer).to_bytes(HEAD, "big") + answer)
    told.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)
