"""Frames: they come out as they went in, however they are cut; anything else is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.spawners.remote.frames import (
    HEAD,
    MAX_PAYLOAD,
    Decoder,
    Frame,
    FrameError,
    Kind,
    encode,
    json_of,
    object_of,
)

pytestmark = pytest.mark.unit

frames = st.lists(
    st.builds(
        Frame,
        channel=st.integers(0, 2**32 - 1),
        kind=st.sampled_from(Kind),
        payload=st.binary(max_size=200),
    ),
    max_size=20,
)


@given(sent=frames, cuts=st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_out_as_they_went_in(sent: list[Frame], cuts: list[int]) -> None:
    data, decoder, found = b"".join(map(encode, sent)), Decoder(), list[Frame]()
    at = turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        found += decoder.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert found == sent
    assert decoder.is_empty


@given(data=st.binary(max_size=400))
def test_garbage_is_refused_or_waits_for_more_and_never_grows(data: bytes) -> None:
    decoder = Decoder()
    try:
        for frame in decoder.feed(data):
            assert len(frame.payload) <= len(data)
    except FrameError:
        return


def test_a_frame_that_would_be_too_long_is_refused_by_its_head() -> None:
    with pytest.raises(FrameError):
        list(Decoder().feed(HEAD.pack(MAX_PAYLOAD + 1, 1, Kind.DATA)))
    with pytest.raises(FrameError, match="too long"):
        encode(Frame(1, Kind.DATA, bytes(MAX_PAYLOAD + 1)))
    with pytest.raises(FrameError):
        list(Decoder().feed(HEAD.pack(0, 1, 99)))


def test_half_a_frame_is_none() -> None:
    decoder = Decoder()
    assert list(decoder.feed(encode(Frame(1, Kind.DATA, b"abc"))[:-1])) == []
    assert not decoder.is_empty


@pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b"1"])
def test_what_holds_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(FrameError):
        object_of(Frame(1, Kind.ITEM, payload))
    assert object_of(Frame(1, Kind.ITEM, json_of({"a": 1}))) == {"a": 1}
