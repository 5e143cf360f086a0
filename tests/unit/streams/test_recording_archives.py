"""Archives of recordings: what is exported comes back as it was, what is hostile is refused."""

from __future__ import annotations

import io
import os
import stat
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import Writer

from downstage.kernel.errors import InvalidInput, PlatformError, TooLarge
from downstage.kernel.zips import Archive
from downstage.streams.model import Entry, EntryId, StreamSpec
from downstage.streams.recordings.exporting import export_zip, zip_of, zip_of_range
from downstage.streams.recordings.importing import open_source
from downstage.streams.recordings.layout import ABOUT, CUT_BYTES, raw_path, read_raw_path
from downstage.streams.recordings.ledger import MAGIC
from downstage.streams.recordings.reader import RecordingReader
from downstage.streams.recordings.writer import RecordingFile, compression_for

pytestmark = pytest.mark.unit

SPECS = {
    "cam": StreamSpec(content_type="image/jpeg", description="by the window"),
    "pose": StreamSpec(content_type="application/json", schema={"type": "object"}),
    "raw": StreamSpec(),
}
IDS = st.builds(EntryId, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
RELAXED = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ROWS = st.lists(st.tuples(st.sampled_from(sorted(SPECS)), IDS, st.binary(max_size=50)), max_size=30)


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda _: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)


def record(path: Path, entries: list[Entry]) -> Path:
    path.unlink(missing_ok=True)
    file = RecordingFile(path, {}, floor=0)
    for name, spec in SPECS.items():
        file.describe(name, spec)
        rows = [(e.stream, e.id, e.data) for e in entries if e.stream == name]
        if rows:
            file.write_chunk(rows, compression_for(spec.content_type))
    file.finish()
    return path


def taken(archive: bytes, path: Path) -> tuple[str, list[Entry], dict[str, str | None]]:
    """Import *archive*: the name in it, the entries, the types."""
    path.unlink(missing_ok=True)
    source = open_source(io.BytesIO(archive), path.parent)
    file = RecordingFile(path, {}, floor=0)
    try:
        source.write(file)
    finally:
        file.finish()
    with RecordingReader(path) as reader:
        found = sorted(reader.entries(), key=lambda e: (e.id, e.stream))
        return source.name, found, {n: f.content_type for n, f in reader.facts().items()}


def zipped(members: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return made.getvalue()


def inner(*ids: str, data: bytes = b"x") -> bytes:
    return zipped(dict.fromkeys(ids, data))


@RELAXED
@given(ROWS)
def test_an_import_of_an_export_is_the_same(tmp_path: Path, rows: object) -> None:
    unique = {(s, i): Entry(s, i, d) for s, i, d in rows}  # type: ignore[attr-defined]
    entries = sorted(unique.values(), key=lambda e: (e.id, e.stream))
    with RecordingReader(record(tmp_path / "a.mcap", entries)) as reader:
        archive = b"".join(export_zip(reader, "walk"))
    name, found, types = taken(archive, tmp_path / "b.mcap")
    assert found == entries
    assert name == ("walk" if entries else "")
    assert types == {n: SPECS[n].content_type for n in {e.stream for e in entries}}


def test_an_export_has_the_layout_of_the_data_server(tmp_path: Path) -> None:
    entries = [Entry("cam", EntryId(n, 0), b"x" * 5_000) for n in range(1, 2101)]
    big = [Entry("raw", EntryId(n, 1), b"y" * 6_000_000) for n in range(1, 3)]
    with RecordingReader(record(tmp_path / "a.mcap", entries + big)) as reader:
        pieces = list(export_zip(reader, "walk"))
    assert max(map(len, pieces)) < CUT_BYTES + 200_000
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as outer:
        assert outer.testzip() is None
        assert [n for n in outer.namelist() if n != ABOUT] == [
            "raw/walk/cam/1-0_1000-0.zip",
            "raw/walk/cam/1001-0_2000-0.zip",
            "raw/walk/cam/2001-0_2100-0.zip",
            "raw/walk/raw/1-1_1-1.zip",
            "raw/walk/raw/2-1_2-1.zip",
        ]
        assert {i.compress_type for i in outer.infolist()} == {zipfile.ZIP_STORED}
        with zipfile.ZipFile(io.BytesIO(outer.read("raw/walk/cam/2001-0_2100-0.zip"))) as one:
            assert one.namelist()[:2] == ["2001-0", "2002-0"]
            assert one.read("2001-0") == b"x" * 5_000


def test_what_the_data_server_itself_wrote_is_taken(tmp_path: Path) -> None:
    archive = zipped(
        {
            "walk/main/1650000000000-0_1650000000050-0.zip": inner(
                "1650000000050-0", "1650000000000-0", data=b"\xff\xd8\xff\xe0 a picture"
            ),
            "walk/eye/1650000000001-0_1650000000001-0.zip": inner("1650000000001-0", data=b"{}"),
        },
        zipfile.ZIP_DEFLATED,
    )
    name, found, types = taken(archive, tmp_path / "b.mcap")
    assert name == "walk"
    assert [(e.stream, e.id.ms % 100) for e in found] == [("main", 0), ("eye", 1), ("main", 50)]
    assert types == {"main": "image/jpeg", "eye": "application/json"}


def test_one_zip_of_a_range(tmp_path: Path) -> None:
    entries = [Entry("cam", EntryId(n), b"%d" % n) for n in range(1, 2001)]
    with RecordingReader(record(tmp_path / "a.mcap", entries)) as reader:
        made = zip_of_range(reader, "cam", EntryId(5), EntryId(7))
        assert made == zip_of(entries[4:7])
        with pytest.raises(TooLarge):
            zip_of_range(reader, "cam", EntryId(0), EntryId(9999))


def test_any_mcap_file_is_taken(tmp_path: Path) -> None:
    made = io.BytesIO()
    writer = Writer(made)
    writer.start()
    schema = writer.register_schema("p", "jsonschema", b'{"type":"object"}')
    channel = writer.register_channel("/robot/pose", "json", schema)
    for at in (5_000_000, 5_000_000, 7_400_000):
        writer.add_message(channel, at, b'{"x":1}', at)
    writer.finish()
    _, found, types = taken(made.getvalue(), tmp_path / "b.mcap")
    assert [e.id for e in found] == [EntryId(5, 0), EntryId(5, 1), EntryId(7, 0)]
    assert types == {"robot.pose": "application/json"}


def mcap_with(chunk: bytes, *, size: int, packed_as: str) -> bytes:
    """A file of one chunk that says it has *size* bytes."""
    word = packed_as.encode()
    body = struct.pack("<QQQI", 0, 0, size, 0) + struct.pack("<I", len(word)) + word
    body += struct.pack("<Q", len(chunk)) + chunk
    parts = ((1, bytes(8)), (6, body), (0xF, bytes(4)), (2, bytes(20)))
    records = b"".join(bytes([op]) + struct.pack("<Q", len(part)) + part for op, part in parts)
    return MAGIC + records + MAGIC


UNPACKED = 1 << 28
BOMB = zstandard.ZstdCompressor(write_content_size=True).compress(bytes(UNPACKED))
HIDDEN = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(UNPACKED))


@pytest.mark.parametrize(
    ("chunk", "size", "packed_as"),
    [
        pytest.param(BOMB, 1000, "zstd", id="a frame that says more than its chunk"),
        pytest.param(BOMB, UNPACKED, "zstd", id="a chunk without measure"),
        pytest.param(HIDDEN, 1000, "zstd", id="a frame that says nothing"),
        pytest.param(lz4.frame.compress(bytes(UNPACKED)), 1000, "lz4", id="lz4"),
        pytest.param(bytes(1 << 20), 1 << 20, "", id="records that are none"),
        pytest.param(b"\x05" + (2**63).to_bytes(8, "little"), 9, "", id="a record without end"),
        pytest.param(b"", 0, "nope", id="packed by nobody knows what"),
    ],
)
def test_C03_hostile_chunks_are_refused_before_they_unfold(
    chunk: bytes, size: int, packed_as: str, tmp_path: Path
) -> None:
    whole = mcap_with(chunk, size=size, packed_as=packed_as)
    tracemalloc.start()
    try:
        with pytest.raises((InvalidInput, TooLarge)):
            taken(whole, tmp_path / "hostile.mcap")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_our_own_mcap_comes_back_as_it_was(tmp_path: Path) -> None:
    entries = [Entry("raw", EntryId(1, 2**40), b"a"), Entry("raw", EntryId(2**63, 9), b"b")]
    path = record(tmp_path / "a.mcap", entries)
    _, found, _ = taken(path.read_bytes(), tmp_path / "b.mcap")
    assert found == entries


def link() -> bytes:
    info = zipfile.ZipInfo("walk/main/1-0_1-0.zip")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return made.getvalue()


def twice() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for _ in range(2):
            archive.writestr("walk/main/1-0_1-0.zip", inner("1-0"))
    return made.getvalue()


def bomb() -> bytes:
    return zipped({"walk/main/1-0_1-0.zip": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)


def inner_bomb() -> bytes:
    one = zipped({"1-0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    return zipped({"walk/main/1-0_1-0.zip": one})


def lying(declared: int) -> bytes:
    """A packed member whose directory says another size than it unpacks to."""
    whole = zipped({"walk/main/1-0_1-0.zip": b"abc" * 3000}, zipfile.ZIP_DEFLATED)
    true, said = struct.pack("<L", 9000), struct.pack("<L", declared)
    assert whole.count(true) == 2
    return whole.replace(true, said)


def many() -> bytes:
    """Half a million members that are not there, in a directory that is."""
    entry = b"PK\x01\x02" + bytes(42)
    directory = entry * 500_000
    return directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), 0, 0)


def overlapping() -> bytes:
    """A member that lies within the bytes of another, as it would in a bomb of many names."""
    first, second = "walk/a/1-0_1-0.zip", "walk/b/1-0_1-0.zip"
    within = zipped({second: inner("1-0")})
    whole = bytearray(zipped({first: within, second: inner("1-0")}))
    at = whole.rindex(b"PK\x01\x02")
    whole[at + 42 : at + 46] = struct.pack("<L", 30 + len(first))
    return bytes(whole)


HOSTILE: dict[str, tuple[Callable[[], bytes], type[PlatformError]]] = {
    "slip": (lambda: zipped({"../../etc/1-0_1-0.zip": inner("1-0")}), InvalidInput),
    "slip-in-stream": (lambda: zipped({"walk/../1-0_1-0.zip": inner("1-0")}), InvalidInput),
    "absolute": (lambda: zipped({"/walk/main/1-0_1-0.zip": inner("1-0")}), InvalidInput),
    "backslash": (lambda: zipped({"walk\\main\\1-0_1-0.zip": inner("1-0")}), InvalidInput),
    "deep": (lambda: zipped({"raw/a/b/c/d/1-0_1-0.zip": inner("1-0")}), InvalidInput),
    "other-file": (lambda: zipped({"walk/main/run.sh": b"rm -rf"}), InvalidInput),
    "link": (link, InvalidInput),
    "twice": (twice, InvalidInput),
    "bomb": (bomb, TooLarge),
    "inner-bomb": (inner_bomb, TooLarge),
    "says-less": (lambda: lying(100), InvalidInput),
    "says-more": (lambda: lying(9500), InvalidInput),
    "many": (many, TooLarge),
    "overlapping": (overlapping, InvalidInput),
    "no-zip": (lambda: b"PK" + bytes(100), InvalidInput),
    "empty": (lambda: b"", InvalidInput),
    "inner-no-zip": (lambda: zipped({"walk/main/1-0_1-0.zip": b"nothing"}), InvalidInput),
    "member-no-id": (lambda: zipped({"walk/main/1-0_1-0.zip": inner("../../x")}), InvalidInput),
    "other-ids": (lambda: zipped({"walk/main/1-0_1-0.zip": inner("2-0")}), InvalidInput),
    "backwards": (lambda: zipped({"walk/main/9-0_1-0.zip": inner("2-0")}), InvalidInput),
    "two-recordings": (
        lambda: zipped({"a/m/1-0_1-0.zip": inner("1-0"), "b/m/1-0_1-0.zip": inner("1-0")}),
        InvalidInput,
    ),
    "about-nested": (lambda: zipped({ABOUT: b"[" * 100_000}), InvalidInput),
    "mcap-cut": (lambda: b"\x89MCAP0\r\n\x01" + b"\xff" * 8, InvalidInput),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE)
def test_C03_hostile_archives_are_refused_before_they_unfold(kind: str, tmp_path: Path) -> None:
    make, error = HOSTILE[kind]
    archive = make()
    begun = time.process_time()
    with pytest.raises(error):
        taken(archive, tmp_path / "b.mcap")
    # Unpacking what the bombs hold takes longer than looking at them.
    assert time.process_time() - begun < 5
    assert not (tmp_path.parent / "etc").exists()


def test_paths_of_the_layout_are_read_as_they_are_written() -> None:
    first, last = EntryId(1, 2), EntryId(3, 4)
    read = read_raw_path(raw_path("walk", "cam", first, last))
    assert (read.recording, read.stream, read.first, read.last) == ("walk", "cam", first, last)
    assert read_raw_path("cam/1-2_3-4.zip").recording == ""


def test_C03_members_that_share_bytes_are_told_from_their_places() -> None:
    with pytest.raises(InvalidInput, match="share their bytes"):
        Archive(io.BytesIO(overlapping()), most=9, most_bytes=10**6, most_total=10**6)
