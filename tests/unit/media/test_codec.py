"""Reading encoded frames: key or not, which profile, which codec an answer takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.media.codec import first_codec, is_key, webcodecs_name
from downstage.media.frame import Codec

pytestmark = [pytest.mark.unit]

SPS = b"\0\0\0\1\x67\x42\xc0\x28\xda"
PPS = b"\0\0\0\1\x68\xce\x3c\x80"
IDR = b"\0\0\1\x65\x88\x84"
DELTA = b"\0\0\0\1\x41\x9a\x24"
SEI = b"\0\0\1\x06\x05\x10"


@pytest.mark.parametrize(
    ("data", "codec", "key"),
    [
        pytest.param(SPS + PPS + IDR, "h264", True, id="parameter sets lead"),
        pytest.param(SEI + IDR, "h264", True, id="SEI before the IDR"),
        pytest.param(DELTA, "h264", False, id="delta"),
        pytest.param(SEI + DELTA, "h264", False, id="SEI before a delta"),
        pytest.param(b"", "h264", False, id="empty"),
        pytest.param(b"\x10\x02", "vp8", True, id="vp8 key"),
        pytest.param(b"\x11\x02", "vp8", False, id="vp8 delta"),
        pytest.param(b"", "vp8", False, id="vp8 empty"),
    ],
)
def test_a_key_frame_is_told_from_a_delta(data: bytes, codec: Codec, *, key: bool) -> None:
    assert is_key(memoryview(data), codec) is key


@given(st.binary(max_size=1024))
def test_any_bytes_are_read_without_fault(data: bytes) -> None:
    assert is_key(data, "h264") in {True, False}
    assert webcodecs_name(data, "h264") is None or webcodecs_name(data, "h264") is not None


def test_the_decoder_is_configured_with_the_profile_of_the_stream() -> None:
    assert webcodecs_name(SPS + PPS + IDR, "h264") == "avc1.42C028"
    assert webcodecs_name(DELTA, "h264") is None
    assert webcodecs_name(b"\x10", "vp8") == "vp8"


def answer(payloads: str, *maps: str) -> str:
    lines = ["v=0", "m=audio 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 opus/48000/2"]
    lines += [f"m=video 9 UDP/TLS/RTP/SAVPF {payloads}", *(f"a=rtpmap:{line}" for line in maps)]
    return "\r\n".join([*lines, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", ""])


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        pytest.param(answer("97 98", "97 H264/90000", "98 rtx/90000"), "h264", id="h264"),
        pytest.param(answer("103 97", "97 H264/90000", "103 VP8/90000"), "vp8", id="vp8 first"),
        pytest.param(answer("98", "98 AV1/90000"), None, id="neither"),
        pytest.param("v=0\r\n", None, id="no video"),
    ],
)
def test_the_answers_order_decides_the_codec(text: str, codec: str | None) -> None:
    assert first_codec(text) == codec
