"""The dialect's messages: read with limits, written as its clients read them, and never a crash."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from downstage.gateway.dialects.anbox import messages
from downstage.gateway.dialects.anbox.messages import (
    ClientAnswer,
    ClientCandidate,
    ClientOffer,
    Discover,
    SettingsMessage,
    Unknown,
    channels_of,
    read_client,
)
from downstage.kernel.errors import BadMessage
from downstage.kernel.limits import MAX_SIGNALLING

pytestmark = pytest.mark.unit

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"
CANDIDATE = "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def read(**message: Any) -> Any:
    return read_client(json.dumps(message))


def test_messages_are_read_as_clients_send_them() -> None:
    assert isinstance(read(type="discover"), Discover)
    assert read(type="answer", sdp=b64(SDP)).ours().sdp == SDP
    offer = read(type="offer", sdp=b64(SDP), dataChannels=["control", "news"])
    assert isinstance(offer, ClientOffer)
    assert channels_of(offer.data_channels) == ["news"]
    candidate = read(type="candidate", candidate=b64(CANDIDATE), sdpMid="0", sdpMLineIndex=0)
    assert isinstance(candidate, ClientCandidate)
    ours = candidate.ours()
    assert (ours.candidate, ours.sdp_mid, ours.sdp_mline_index) == (CANDIDATE, "0", 0)
    settings = read(
        type="settings",
        api_version=2,
        data_channels=["news"],
        enable_speaker=False,
        video={"preferred_decoder_codecs": ["AV1", "H264"]},
        something_new={"a": 1},
    )
    assert isinstance(settings, SettingsMessage)
    assert settings.version == 2
    assert settings.enable_speaker is False
    assert settings.enable_video is None


def test_a_newer_version_is_spoken_to_as_the_newest_of_ours() -> None:
    assert read(type="settings", api_version=7).version == 2


def test_a_type_that_is_not_known_is_no_error() -> None:
    assert isinstance(read(type="resp:discover", anything=[1]), Unknown)


def test_what_is_sent_is_in_base64() -> None:
    assert messages.sdp_out({"type": "offer", "sdp": SDP, "peer": "p"}) == {
        "type": "offer",
        "sdp": b64(SDP),
    }
    told = messages.candidate_out({"candidate": CANDIDATE, "sdp_mid": "0", "sdp_mline_index": 0})
    assert told == {
        "type": "candidate",
        "candidate": b64(CANDIDATE),
        "sdpMid": "0",
        "sdpMLineIndex": 0,
    }
    assert messages.candidate_out({"candidate": None}) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "{}",
        '{"type": 1}',
        '{"type": "answer"}',
        '{"type": "answer", "sdp": "%%%"}',
        '{"type": "answer", "sdp": "aGVsbG8="}',
        '{"type": "settings", "api_version": -1}',
        '{"type": "settings", "api_version": "two"}',
        '{"type": "settings", "data_channels": ["../../etc"]}',
        '{"type": "candidate", "candidate": "aGVsbG8=", "sdpMLineIndex": 100000}',
        '{"type": "offer", "sdp": null}',
        "[" * 100_000,
        '{"type":' * 5000,
        "x" * (MAX_SIGNALLING + 1),
    ],
)
def test_what_is_none_of_them_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadMessage) as refused:
        read_client(text)
    assert len(refused.value.detail) < 1000


def test_more_channels_than_there_may_be_are_refused() -> None:
    assert channels_of(["a", "b", "a", "control"]) == ["a", "b"]
    with pytest.raises(BadMessage):
        channels_of([f"c{number}" for number in range(6)])


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = (
    "sdp", "dataChannels", "candidate", "sdpMid", "sdpMLineIndex", "api_version", "data_channels",
    "enable_speaker", "enable_camera", "device_type", "foreground_activity", "video",
)  # fmt: skip
TYPES = ("discover", "settings", "offer", "answer", "candidate", "error", "input::key")
Shaped = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(TYPES) | st.text(max_size=12),
    st.dictionaries(st.sampled_from(FIELDS), Json, max_size=6),
)


@given(st.one_of(st.text(max_size=200), Json.map(json.dumps), Shaped.map(json.dumps)))
@example('{"type":"candidate","candidate":"' + "A" * 3000 + '"}')
@example('{"type":"settings","video":{"preferred_decoder_codecs":["\\ud800"]}}')
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    try:
        message = read_client(text)
    except BadMessage:
        return
    if isinstance(message, ClientAnswer | ClientCandidate):
        message.ours()
