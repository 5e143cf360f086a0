"""Frames as a server reads and writes them: any cut, any mask, any nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from downstage.services.sockets import frames
from downstage.services.sockets.frames import (
    BINARY,
    LARGE,
    ROOM,
    TEXT,
    TURN,
    FrameReader,
    Packet,
    Violation,
    frame_head,
)

pytestmark = pytest.mark.unit

LIMIT = 1 << 20
payloads = st.one_of(
    st.binary(max_size=300),
    st.integers(0, 3 * LARGE).map(lambda size: bytes(i % 253 for i in range(size))),
)


class Taker:
    """Keeps what a reader tells."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.told = list[tuple[str, bytes | str]]()
        self.reader = FrameReader(
            limit,
            lambda data: self.told.append(("binary", data)),
            lambda text: self.told.append(("text", text)),
            lambda opcode, data: self.told.append((str(opcode), data)),
        )

    def feed(self, data: bytes) -> None:
        """Everything, as far as there is room at once."""
        while data:
            room = self.reader.room()
            part, data = data[: len(room)], data[len(room) :]
            room[: len(part)] = part
            room.release()
            self.reader.filled(len(part))
            while self.reader.is_behind:
                self.reader.go_on()


def sent(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    """A frame as a client of another library sends it: masked at random."""
    return Frame(Opcode(opcode), data, fin).serialize(mask=True)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, bytes | str]]]:
    """Messages, some in fragments with pings between, and what a reader is to tell of them."""
    wire, told = b"", list[tuple[str, bytes | str]]()
    for payload, parts, ping in draw(
        st.lists(st.tuples(payloads, st.integers(1, 4), st.binary(max_size=125)), max_size=6)
    ):
        step = -(-len(payload) // parts) or 1
        cut = [payload[i : i + step] for i in range(0, len(payload), step)] or [b""]
        for number, part in enumerate(cut):
            wire += sent(0 if number else BINARY, part, fin=number == len(cut) - 1)
            if number < len(cut) - 1:
                wire += sent(9, ping)
                told.append(("9", ping))
        told.append(("binary", payload))
    return wire, told


def test_T06_many_frames_are_told_in_turns() -> None:
    """However many come at once, others have the loop in between."""
    taker = Taker()
    reader, wire = taker.reader, sent(BINARY, b"") * (3 * TURN + 5)
    room = reader.room()
    room[: len(wire)] = wire
    room.release()
    reader.filled(len(wire))
    for turn in (1, 2, 3):
        assert (len(taker.told), reader.is_behind) == (turn * TURN, True)
        reader.go_on()
    assert (len(taker.told), reader.is_behind, reader.is_within) == (3 * TURN + 5, False, False)


@given(conversations(), st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_however_it_is_cut_the_same_is_told(
    conversation: tuple[bytes, list[tuple[str, bytes | str]]], steps: list[int]
) -> None:
    wire, told = conversation
    taker = Taker()
    at = 0
    while at < len(wire):
        step = steps[at % len(steps)]
        taker.feed(wire[at : at + step])
        at += step
    assert taker.told == told
    assert not taker.reader.is_within


@given(st.lists(payloads, max_size=8), st.data())
def test_nothing_is_told_while_paused_and_nothing_is_lost(
    messages: list[bytes], data: st.DataObject
) -> None:
    taker = Taker()
    reader = taker.reader
    told = list[bytes]()

    def take(payload: bytes) -> None:
        assert not reader.paused
        told.append(payload)
        reader.paused = data.draw(st.booleans())

    reader.on_binary = take
    for message in messages:
        taker.feed(sent(BINARY, message))
        while reader.paused:
            reader.paused = False
            reader.go_on()
    assert told == messages


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    refused = None
    try:
        Taker(100).feed(data)
    except Violation as violation:
        refused = violation.code
    assert refused in (None, 1002, 1007, 1009)


@given(st.integers(0, 1 << 40), st.sampled_from([TEXT, BINARY]))
def test_heads_are_those_of_another_library(size: int, opcode: int) -> None:
    size = min(size, 200_000)
    assert (
        frame_head(opcode, size)
        == Frame(Opcode(opcode), bytes(size)).serialize(mask=False)[: len(frame_head(opcode, size))]
    )


def test_T06_lengths_need_no_memory_until_bytes_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand sockets that announce a large frame each, and send no more, cost little."""
    monkeypatch.setattr(frames, "_rooms", frames._Rooms())  # pyright: ignore[reportPrivateUsage]
    taker = Taker(1 << 40)
    taker.feed(b"\x82\xff" + (1 << 39).to_bytes(8, "big") + b"mask" + bytes(1000))
    arrived = 1000
    assert len(taker.reader.room()) <= 4 * 4096
    for _ in range(100):
        room = taker.reader.room()
        taker.reader.filled(len(room))
        arrived += len(room)
        assert len(taker.reader.room()) <= 4 * arrived
        if arrived > ROOM:
            break


@pytest.mark.parametrize("size", [LIMIT + 1, 1 << 63, (1 << 64) - 1])
def test_too_long_is_refused_at_the_head(size: int) -> None:
    taker = Taker()
    with pytest.raises(Violation) as refused:
        taker.feed(b"\x82\xff" + size.to_bytes(8, "big") + b"mask")
    assert refused.value.code == (1009 if size < 1 << 63 else 1002)


def test_a_million_fragments_take_no_more_than_their_bytes() -> None:
    taker = Taker(1000)
    taker.feed(sent(BINARY, b"", fin=False))
    for _ in range(1000):
        taker.feed(sent(0, b"", fin=False))
    taker.feed(sent(0, bytes(1000), fin=False))
    with pytest.raises(Violation, match="too-large"):
        taker.feed(sent(0, b"x", fin=False))


def test_a_large_frame_does_not_keep_the_next_from_coming() -> None:
    taker = Taker()
    large = bytes(range(256)) * (ROOM // 64)
    taker.feed(sent(BINARY, large) + sent(TEXT, b"t") + sent(BINARY, large) + sent(BINARY, b"b"))
    assert taker.told == [
        ("binary", large), ("text", "t"), ("binary", large), ("binary", b"b"),
    ]  # fmt: skip


def test_one_socket_does_not_see_what_another_reads() -> None:
    """They read into the same room."""
    first, second = Taker(), Taker()
    one, two = sent(BINARY, b"1" * 500), sent(BINARY, b"2" * 500)
    first.feed(one[:300])
    second.feed(two[:400])
    first.feed(one[300:])
    second.feed(two[400:])
    assert (first.told, second.told) == ([("binary", b"1" * 500)], [("binary", b"2" * 500)])


def test_packets_are_small_or_in_parts() -> None:
    part = bytes(ROOM)
    small = Packet((TEXT, [b"a", b"b"]), (BINARY, [b"c", b"d"]))
    assert small.wire == [b"\x81\x02ab\x82\x02cd"]
    assert small.size == 8
    large = Packet((BINARY, [part, part]))
    assert large.wire[1] is part
    assert large.size == sum(map(len, large.wire))
