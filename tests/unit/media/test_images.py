"""Entries from one form into another, and what is refused on the way."""

from __future__ import annotations

import io
import json
import struct
import zlib
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from downstage.kernel.errors import TooLarge, UnsupportedMedia
from downstage.media import holo, images
from downstage.media.images import black, check, convert, guess, notice

pytestmark = pytest.mark.unit

RED = np.zeros((16, 24, 3), np.uint8)
RED[..., 0] = 250


def encoded(pixels: Any, form: str) -> bytes:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, form)
    return made.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def frame(kind: int, body: bytes, *, version: int = 2, sizes: tuple[int, ...] = ()) -> bytes:
    return (
        struct.pack("<BBQ", version, kind, 1_700_000_000_123) + struct.pack("<IIII", *sizes) + body
    )


def test_pictures_become_other_pictures() -> None:
    png = encoded(RED, "PNG")
    jpeg = convert(png, "jpg")
    assert opened(jpeg).format == "JPEG"
    assert opened(jpeg).size == (24, 16)
    assert opened(jpeg).getpixel((3, 3)) == pytest.approx((250, 0, 0), abs=6)
    assert opened(convert(jpeg, "PNG", "JPEG")).format == "PNG"


def test_what_is_in_that_form_already_is_left_as_it_is() -> None:
    jpeg = encoded(RED, "JPEG")
    assert convert(jpeg, "jpeg") is jpeg
    assert convert(jpeg, "jpg", "jpg") is jpeg
    assert convert(b"anything", "raw") == b"anything"
    with pytest.raises(UnsupportedMedia):
        convert(b"anything", "jpg", "jpg")


def test_a_picture_becomes_numbers_and_json() -> None:
    png = encoded(RED[:2, :2], "PNG")
    assert json.loads(convert(png, "json")) == [[[250, 0, 0]] * 2] * 2
    floats = np.frombuffer(convert(png, "ndarray"), "<f4")
    assert floats.tolist() == [250, 0, 0] * 4
    assert json.loads(convert(floats.tobytes(), "json", "ndarray")) == [250, 0, 0] * 4
    assert convert(b"[1, 2.5]", "ndarray") == np.array([1, 2.5], "<f4").tobytes()
    assert convert(b'{"a": "\xc3\xa9"}', "json") == b'{"a":"\xc3\xa9"}'


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_pictures_of_all_modes_become_jpeg(mode: str) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    made = io.BytesIO()
    Image.new(mode, (5, 4)).save(made, form)
    source = made.getvalue()
    target = "png" if form == "JPEG" else "jpg"
    assert opened(convert(source, target)).size == (5, 4)


def test_the_form_is_seen_or_said() -> None:
    assert guess(encoded(RED, "WEBP")) == "webp"
    assert guess(b"[1]") == "json"
    assert guess(b"1", content_type="application/json; charset=utf-8") == "json"
    assert guess(b"\x02\x00" + bytes(30), stream="main") == "holo"
    assert guess(b"\x02\x00" + bytes(30), stream="hololens1:main") == "holo"
    assert guess(b"\x02\x00" + bytes(30), stream="other") is None
    assert guess(encoded(RED, "JPEG"), stream="main") == "jpg"


@pytest.mark.parametrize(
    ("data", "output", "source"),
    [
        pytest.param(b"abc", "jpg", None, id="unknown form"),
        pytest.param(b"abc", "mp4", "jpg", id="unknown output"),
        pytest.param(b"abc", "jpg", "mp4", id="unknown input"),
        pytest.param(b"abc", "json", "json", id="no json"),
        pytest.param(b"[" * 100_000, "ndarray", "json", id="nesting bomb"),
        pytest.param(b"abc", "json", "ndarray", id="odd bytes"),
        pytest.param(b'["a"]', "ndarray", None, id="words"),
        pytest.param(b"[[1], [2, 3]]", "ndarray", None, id="ragged"),
        pytest.param(b"[1]", "png", None, id="json is no picture"),
        pytest.param(bytes(8), "png", "ndarray", id="no picture"),
        pytest.param(b"abcd", "json", "raw", id="plain bytes"),
        pytest.param(b"\x00\x00\xc0\x7f", "json", "ndarray", id="not a number"),
        pytest.param(encoded(RED, "PNG")[:60], "jpg", None, id="cut short"),
        pytest.param(encoded(RED, "PNG"), "jpg", "webp", id="another form than said"),
    ],
)
def test_what_cannot_be_is_refused(data: bytes, output: str, source: str | None) -> None:
    with pytest.raises(UnsupportedMedia):
        convert(data, output, source)


def test_names_of_forms_are_checked_before_any_entry_is_read() -> None:
    check(None, None)
    check("JPG", "holo")
    with pytest.raises(UnsupportedMedia):
        check("exe", None)


def png_of(width: int, height: int) -> bytes:
    """A few bytes that say they are as large as that."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [6001, 9500, 14_000, 60_000])
def test_T02_a_pixel_bomb_is_refused_before_it_is_unfolded(side: int) -> None:
    with pytest.raises(TooLarge):
        convert(png_of(side, side), "jpg")


@pytest.mark.parametrize("kind", [1, 7])
def test_T02_four_billion_rows_of_nothing_are_refused(kind: int) -> None:
    """Each would be a list of its own in JSON, of an entry of 26 bytes."""
    with pytest.raises(UnsupportedMedia):
        convert(frame(kind, b"", sizes=(0, 2**32 - 1, 0, 0)), "json", "holo")
    assert convert(frame(kind, b"", sizes=(3, 0, 0, 0)), "json", "holo") == b"[]"


def test_numbers_that_no_float_holds_are_refused() -> None:
    with pytest.raises(UnsupportedMedia):
        convert(b"[1%s]" % (b"0" * 400), "ndarray", "json")


def test_json_of_too_many_numbers_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(images, "MAX_NUMBERS", 11)
    with pytest.raises(TooLarge):
        convert(encoded(RED[:2, :2], "PNG"), "json")


def test_holo_frames_hold_pictures_turned_as_the_camera_is() -> None:
    grey = np.zeros((8, 16), np.uint8)
    grey[:, 8:] = 255
    jpeg = encoded(grey, "JPEG")
    left = frame(4, jpeg + bytes(64), sizes=(16, 8, len(jpeg), 64))
    turned = opened(convert(left, "png", "holo"))
    assert turned.size == (8, 16)
    assert turned.getpixel((2, 14)) == pytest.approx(255, abs=8)
    plain = frame(3, grey.tobytes(), version=1, sizes=(16, 8, 1, 0))
    assert opened(convert(plain, "jpg", "holo")).size == (8, 16)


def test_holo_colours_are_put_right() -> None:
    jpeg = encoded(RED, "JPEG")
    body = jpeg + bytes(80)
    sizes = (24, 16, len(jpeg), 80)
    of_two = opened(convert(frame(0, body, sizes=sizes), "png", stream="main"))
    of_three = opened(convert(frame(0, body, version=3, sizes=sizes), "png", stream="main"))
    assert of_two.getpixel((3, 3)) == pytest.approx((250, 0, 0), abs=6)
    assert of_three.getpixel((3, 3)) == pytest.approx((0, 0, 250), abs=6)


def test_holo_depth_readings_and_sound_become_arrays() -> None:
    depth = np.arange(6, dtype="<u2").reshape(2, 3) * 1000
    found = frame(1, depth.tobytes() + bytes(64), sizes=(3, 2, 2, 64))
    assert json.loads(convert(found, "json", "holo")) == depth.tolist()
    assert opened(convert(found, "png", "holo")).getpixel((2, 1)) == 5000
    assert opened(convert(found, "jpg", "holo")).getpixel((2, 1)) == pytest.approx(255, abs=9)
    rows = np.arange(6, dtype="<f4").reshape(2, 3)
    assert json.loads(convert(frame(7, rows.tobytes(), sizes=(3, 2, 4, 0)), "json", "holo")) == (
        rows.tolist()
    )
    lut = frame(11, bytes(4 * 6 * 3), sizes=(3, 2, 4, 0))
    assert len(json.loads(convert(lut, "json", "holo"))) == 6
    sound = struct.pack("<iiq", 44100, 2, 0) + np.arange(4, dtype="<f4").tobytes()
    assert json.loads(convert(sound, "json", "holo")) == [[0, 1], [2, 3]]


def test_holo_frames_say_when_they_were_taken() -> None:
    assert holo.time_ms(frame(1, b"", sizes=(0, 0, 0, 0))) == 1_700_000_000_123
    assert holo.time_ms(b'{"hand": 1, "eye": 2}') is None
    assert holo.time_ms(struct.pack("<iiq", 44100, 2, 0)) is None
    assert holo.time_ms(b"") is None


@given(st.binary(max_size=64), st.sampled_from([0, 1, 3, 7, 11, 172, 200]), st.integers(0, 4))
def test_any_bytes_are_read_or_refused(body: bytes, kind: int, version: int) -> None:
    for data in (bytes([version, kind]) + body, body):
        for output in ("jpg", "png", "json", "ndarray"):
            for source in ("holo", "jpg", "png", "json", "ndarray", None):
                with suppress(UnsupportedMedia, TooLarge):
                    convert(data, output, source)


def test_notices_are_pictures() -> None:
    assert opened(black(760, 428)).size == (760, 428)
    assert opened(black(760, 428)).getpixel((9, 9)) == (0, 0, 0)
    standing = opened(notice("please stand by", 760, 428)).convert("L")
    assert int(np.asarray(standing).max()) > 150
