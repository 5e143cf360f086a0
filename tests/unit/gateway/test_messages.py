"""Whatever text comes, it is a message of the protocol or refused as none."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.gateway.messages import (
    PeerSignal,
    Want,
    read_streamer,
    read_viewer,
)
from downstage.kernel.errors import BadMessage

pytestmark = pytest.mark.unit

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
types = st.sampled_from(
    ["want", "answer", "candidate", "restart", "bye", "hello", "ready", "status", "peer.signal"]
)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (read_viewer, read_streamer):
        with suppress(BadMessage):
            read(text)


@given(types, st.dictionaries(st.text(max_size=8), values, max_size=5))
def test_any_object_is_read_or_refused(kind: str, fields: dict[str, object]) -> None:
    text = json.dumps({**fields, "type": kind})
    for read in (read_viewer, read_streamer):
        with suppress(BadMessage):
            assert read(text).type == kind


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 60_000, id="nesting bomb"),
        pytest.param('{"a":' * 10_000, id="nested objects"),
        pytest.param('{"type":"want","width":' + "9" * 60_000 + "}", id="a number of 60 KB"),
        pytest.param('{"type":"want"}' + " " * 65_536, id="too long"),
        pytest.param('{"type":"want","type":"nonsense"}', id="twice the same key"),
        pytest.param('{"type":"answer","sdp":"' + "v=0\\r\\n" * 20_000 + '"}', id="giant SDP"),
    ],
)
def test_bombs_are_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        read_viewer(text)


def test_good_messages_are_read() -> None:
    want = read_viewer('{"type":"want","transport":"webrtc","width":800,"height":600}')
    assert want == Want(type="want", width=800, height=600)
    signal = read_streamer(
        json.dumps(
            {
                "type": "peer.signal",
                "peer": "s.p",
                "payload": {"type": "offer", "sdp": "v=0\r\nxxxx"},
                "newer": 1,
            }
        )
    )
    assert isinstance(signal, PeerSignal)
    assert signal.payload.type == "offer"
