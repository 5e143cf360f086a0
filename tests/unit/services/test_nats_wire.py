"""The wire of ``nats://`` without a wire: any bytes are read or refused, any body arrives."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from downstage.services.transports.nats_flow import PIECE, WINDOW, Incoming, Outgoing, cost
from downstage.services.transports.nats_frames import (
    MAX_HEAD,
    AnswerHead,
    CallHead,
    CreditHead,
    FailHead,
    FrameError,
    Kind,
    PieceHead,
    kind_of,
    pack,
    pack_bare,
    unpack,
)

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HEADS = (CallHead, AnswerHead, PieceHead, CreditHead, FailHead)
fields = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=4)
numbers = st.integers(0, 2**62)
heads = st.one_of(
    st.builds(
        CallHead, st.text(), st.text(), st.text(), fields, numbers, st.booleans(), st.booleans()
    ),
    st.builds(AnswerHead, numbers, fields, st.booleans()),
    st.builds(PieceHead, numbers, st.booleans()),
    st.builds(CreditHead, numbers),
    st.builds(FailHead, st.text()),
)


@given(heads, st.binary(max_size=100), st.sampled_from(Kind))
def test_unpacking_undoes_packing(head: msgspec.Struct, body: bytes, kind: Kind) -> None:
    frame = pack(kind, head, body)
    assert kind_of(frame) is kind
    assert unpack(frame, type(head)) == (head, body)


@given(st.binary(max_size=200), st.sampled_from(HEADS))
@example(b"\x01\x01\x00\x00\x00\x01\xc1", CallHead)
@example(b"\x01\x01\x00\x00\x00\x05\xdd\xff\xff\xff\xff", CallHead)
def test_any_bytes_are_read_or_refused(frame: bytes, head: type[msgspec.Struct]) -> None:
    try:
        kind_of(frame)
        found, body = unpack(frame, head)
    except FrameError:
        return
    assert isinstance(found, head)
    assert frame.endswith(body)


@given(heads, st.data())
def test_a_frame_with_other_bytes_is_read_or_refused(
    head: msgspec.Struct, data: st.DataObject
) -> None:
    frame = bytearray(pack(Kind.CALL, head, b"body"))
    at = data.draw(st.integers(0, len(frame) - 1))
    frame[at] = data.draw(st.integers(0, 255))
    try:
        kind_of(bytes(frame))
        unpack(bytes(frame), type(head))
    except FrameError:
        return


def test_a_head_has_a_limit() -> None:
    with pytest.raises(FrameError, match="larger than"):
        pack(Kind.FAIL, FailHead("x" * MAX_HEAD))


def test_a_bare_frame_is_six_bytes() -> None:
    assert pack_bare(Kind.BEAT) == b"\x01\x06\0\0\0\0"


@given(
    st.integers(0, WINDOW // 2),
    st.lists(st.integers(0, 3 * PIECE), max_size=12),
    st.integers(1024, PIECE),
    st.integers(0, 4),
)
async def test_any_body_arrives_within_the_window(
    first: int, sizes: list[int], piece: int, slowness: int
) -> None:
    """Whatever the pieces and however slow the reader: all of it, in order, and bounded."""
    incoming = Incoming(b"f" * first, more=True)
    under_way = cost(first) if first else 0

    async def publish(frame: bytes) -> None:
        nonlocal under_way
        head, body = unpack(frame, PieceHead)
        under_way += cost(len(body))
        assert under_way <= WINDOW + cost(piece)
        incoming.push(head, body)

    outgoing = Outgoing(publish, first, piece)

    async def write() -> None:
        for number, size in enumerate(sizes):
            if size:
                await outgoing.send(bytes([number]) * size, more=True)
        await outgoing.send(b"", more=False)

    writing = asyncio.create_task(write())
    got = bytearray()
    async with asyncio.timeout(10):
        while (taken := await incoming.take()) is not None:
            got += taken
            for _ in range(slowness):
                await asyncio.sleep(0)
            if (frame := incoming.credit()) is not None:
                amount = unpack(frame, CreditHead)[0].taken
                under_way -= amount
                outgoing.grant(amount)
        await writing
    assert got == b"f" * first + b"".join(bytes([n]) * s for n, s in enumerate(sizes))
    assert incoming.is_empty


async def test_what_came_before_a_failure_can_be_taken() -> None:
    incoming = Incoming(b"one", more=True)
    incoming.fail(LookupError("gone"))
    incoming.fail(ValueError("later"))
    assert await incoming.take() == b"one"
    with pytest.raises(LookupError):
        await incoming.take()


async def test_a_whole_body_does_not_fail_any_more() -> None:
    incoming = Incoming(b"all", more=False)
    incoming.fail(LookupError("gone"))
    assert [await incoming.take(), await incoming.take()] == [b"all", None]
    with pytest.raises(FrameError, match="after the last"):
        incoming.push(PieceHead(1), b"x")
