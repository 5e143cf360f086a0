"""Forms are cut as they come, and parts are dealt to streams."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import InvalidField, InvalidInput, PlatformError, TooLarge
from downstage.streams.dialects.ptg import parts as module
from downstage.streams.dialects.ptg.parts import Part, boundary_of, cut, deal

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

MOST = 1 << 20


def form(*given: tuple[str, str | None, bytes], end: bytes = b"--B--\r\n") -> bytes:
    made = b""
    for name, filename, data in given:
        more = "" if filename is None else f'; filename="{filename}"'
        head = f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n'
        made += head.encode() + b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n"
    return made + end


async def pieces(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def cut_up(data: bytes, *, size: int = 7, most: int = MOST) -> list[Part]:
    return await cut(pieces(data, size), b"B", most=most)


async def test_a_form_is_cut_wherever_its_pieces_end() -> None:
    tricky = b"\r\n--\r\n--C\r\n\r"
    data = form(("entries", "a", tricky), ("cam0", None, b""), ("é", "ü/x", b"\0\xff"))
    for size in (1, 2, 5, 64, 4096):
        found = await cut_up(data, size=size)
        assert [(p.name, p.filename, bytes(p.data)) for p in found] == [
            ("entries", "a", tricky),
            ("cam0", None, b""),
            ("é", "ü/x", b"\0\xff"),
        ]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param(form(("entries", "a", b"x"), end=b""), InvalidInput, id="no last boundary"),
        pytest.param(form(("entries", "a", b"x"))[:-6], InvalidInput, id="half a boundary"),
        pytest.param(b"nothing of that kind", InvalidInput, id="no form"),
        pytest.param(b"", InvalidInput, id="empty"),
        pytest.param(b"--B\r\nNo-Colon\r\n\r\nx\r\n--B--\r\n", InvalidInput, id="no colon"),
        pytest.param(
            b"--B\r\nBad Name: 1\r\n\r\nx\r\n--B--\r\n", InvalidInput, id="bad header name"
        ),
        pytest.param(b"--B\r\nX: 1\r\n\r\nx\r\n--B--\r\n", InvalidInput, id="part without a name"),
        pytest.param(form(("entries", "a" * 9000, b"")), InvalidInput, id="endless file name"),
    ],
)
async def test_T02_a_form_out_of_form_is_refused(data: bytes, error: type[PlatformError]) -> None:
    with pytest.raises((error, TooLarge)):
        await cut_up(data, size=64)


@pytest.mark.parametrize(
    "said", ["undefined''a", "idna''a", "punycode''%ff", "a\0b''a", "unheard-of''a"]
)
async def test_T02_a_file_name_in_any_codec_is_read_or_refused(said: str) -> None:
    head = f"--B\r\nContent-Disposition: form-data; name=entries; filename*={said}\r\n\r\n"
    try:
        found = await cut_up(head.encode() + b"x\r\n--B--\r\n")
    except InvalidInput:
        assert not said.startswith("unheard-of"), "a name that could be read"
    else:
        assert [part.filename for part in found] == ["a"]


async def test_T02_bytes_and_parts_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(await cut_up(form(("entries", "a", b"x" * 10)), most=10)) == 1
    with pytest.raises(TooLarge):
        await cut_up(form(("entries", "a", b"x" * 6), ("entries", "b", b"x" * 5)), most=10)
    monkeypatch.setattr(module, "MAX_PARTS", 2)
    with pytest.raises(TooLarge):
        await cut_up(form(*[("entries", "a", b"")] * 3))


@given(st.binary(max_size=200), st.integers(1, 50))
async def test_T02_any_body_is_cut_or_refused(data: bytes, size: int) -> None:
    for body in (data, b"--B\r\n" + data, form(("entries", "a", data), end=b"")):
        try:
            await cut_up(body, size=size)
        except PlatformError as error:
            refused = error.status
        else:
            refused = 400
        assert refused in (400, 413)


@pytest.mark.parametrize(
    "text",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 71,
        'multipart/form-data; boundary="a\\"b"',
        "multipart/form-data; boundary=é",
    ],
)
def test_a_boundary_out_of_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        boundary_of(text)


def test_only_forms_are_taken() -> None:
    assert boundary_of('Multipart/Form-Data; Boundary="a b"') == b"a b"
    for text in ("", "application/json", "multipart/mixed; boundary=B"):
        with pytest.raises(InvalidField):
            boundary_of(text)


def dealt(joined: str, *given: tuple[str, str | None]) -> list[str]:
    made = [Part(name, filename, bytearray(b"x")) for name, filename in given]
    return [stream for stream, _, _ in deal(joined, made, by_time=False)]


@pytest.mark.parametrize(
    ("joined", "given", "streams"),
    [
        pytest.param("cam", [("entries", "x.jpg")] * 2, ["cam", "cam"], id="one stream"),
        pytest.param("cam", [("cam", "cam"), ("entries", None)], ["cam", "cam"], id="named after"),
        pytest.param("a+b", [("entries", "x")] * 3, ["a", "b", "a"], id="dealt in turn"),
        pytest.param("a b", [("b", "x"), ("entries", "x")], ["b", "a"], id="a blank for the plus"),
        pytest.param("*", [("entries", "a"), ("entries", "b/1.jpg")], ["a", "b"], id="file names"),
        pytest.param("*", [("a", "a"), ("b", None)], ["a", "b"], id="all named after"),
    ],
)
def test_parts_are_dealt_to_streams(
    joined: str, given: Iterable[tuple[str, str | None]], streams: list[str]
) -> None:
    assert dealt(joined, *given) == streams


@pytest.mark.parametrize(
    ("joined", "given"),
    [
        pytest.param("cam", [], id="none"),
        pytest.param("cam", [("other", "x")], id="another stream"),
        pytest.param("*", [("entries", None)], id="no file name"),
        pytest.param("*", [("entries", "../x")], id="no name of a stream"),
        pytest.param("*", [("a b", "x")], id="no name either"),
        pytest.param("../x", [("entries", "x")], id="no name in the path"),
        pytest.param("+", [("entries", "x")], id="nothing in the path"),
    ],
)
def test_parts_of_no_stream_are_refused(
    joined: str, given: Iterable[tuple[str, str | None]]
) -> None:
    with pytest.raises(InvalidField):
        dealt(joined, *given)


def test_times_of_frames_become_ids() -> None:
    frame = bytearray(struct.pack("<BBQ", 2, 0, 1_700_000_000_123))
    made = [Part("entries", None, frame), Part("entries", None, bytearray(b"{}"))]
    assert [id_ for _, id_, _ in deal("cam", made, by_time=True)] == [b"1700000000123", b"*"]
    assert [id_ for _, id_, _ in deal("cam", made, by_time=False)] == [b"*", b"*"]
