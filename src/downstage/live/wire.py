"""Ops as bytes, with bounds on what anybody may send.

A batch is a msgpack array of ops, each an array that begins with its letter. What is out of form,
too deep or too much is refused whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from downstage.kernel.errors import BadMessage, TooLarge
from downstage.live.ops import Create, Op, Order, Sample, Set
from downstage.live.paths import check

__all__ = ["MAX_BATCH", "MAX_FIELD", "MAX_OPS", "decode", "decode_trusted", "encode", "split"]

MAX_BATCH = 3 * 1024 * 1024
"""Bytes of one batch, less than a frame of the socket; a mesh of 100,000 points is 1.2 MB."""
MAX_OPS = 50_000
"""Ops in one batch."""
MAX_FIELD = 256
"""Characters of a field's name."""
MAX_FIELDS = 256
"""Fields that one create may give."""
MAX_NAMES = 100_000
"""Names that one order may give."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Op])


def encode(ops: Iterable[Op]) -> bytes:
    """*ops* as one batch."""
    return _encoder.encode(list(ops))


def decode(data: bytes) -> list[Op]:
    """The ops of a batch that somebody sent.

    Raises:
        BadMessage: it is out of form.
        TooLarge: more than is taken at once.
    """
    if len(data) > MAX_BATCH:
        raise TooLarge(f"A batch has at most {MAX_BATCH} bytes.", size=len(data))
    ops = decode_trusted(data)
    if len(ops) > MAX_OPS:
        raise TooLarge(f"A batch has at most {MAX_OPS} ops.", ops=len(ops))
    for op in ops:
        check(op.path)
        _check_op(op)
    return ops


def decode_trusted(data: bytes) -> list[Op]:
    """The ops of a batch that was checked when it came in.

    Raises:
        BadMessage: it is not a batch.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadMessage("This is no batch of live ops.") from error


def split(ops: Sequence[Op], *, size: int = MAX_BATCH // 2) -> list[tuple[Op, ...]]:
    """*ops* in runs that fit into batches of *size* bytes, as far as a single op does."""
    runs, run, weight = list[tuple[Op, ...]](), list[Op](), 0
    for op in ops:
        cost = _cost(op)
        if run and (weight + cost > size or len(run) >= MAX_OPS // 2):
            runs.append(tuple(run))
            run, weight = [], 0
        run.append(op)
        weight += cost
    if run:
        runs.append(tuple(run))
    return runs


def _cost(op: Op) -> int:
    cost = len(op.path) * 2 + 64
    match op:
        case Set() | Sample():
            return cost + len(op.value or b"")
        case Create():
            return cost + sum(len(value) + 64 for value in op.fields.values())
        case Order():
            return cost + sum(len(name) * 2 + 5 for name in op.names)
        case _:
            return cost


def _check_op(op: Op) -> None:
    match op:
        case Set():
            _check_field(op.field)
        case Sample():
            if not math.isfinite(op.time):
                raise BadMessage("A time is a finite number.")
        case Create():
            if len(op.fields) > MAX_FIELDS:
                raise BadMessage(f"A spec is made with at most {MAX_FIELDS} fields.")
            for name in op.fields:
                _check_field(name)
        case Order():
            if len(op.names) > MAX_NAMES:
                raise BadMessage(f"An order names at most {MAX_NAMES} prims.")
        case _:
            pass


def _check_field(name: str) -> None:
    if not name or len(name) > MAX_FIELD:
        raise BadMessage(f"A field's name has 1 to {MAX_FIELD} characters.")
