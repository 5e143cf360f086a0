"""Files of recordings: ids come back, any cut leaves what was whole, all of it is found again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader

from downstage.kernel.errors import Damaged, OutOfSpace
from downstage.streams.model import ZERO, Entry, EntryId, StreamSpec
from downstage.streams.recordings.ids import form_of, pack, unpack
from downstage.streams.recordings.reader import RecordingReader
from downstage.streams.recordings.repair import is_being_written, mend
from downstage.streams.recordings.writer import RecordingFile, compression_for

pytestmark = pytest.mark.unit

MOST = 2**64 - 1
IDS = st.builds(
    EntryId,
    st.one_of(st.integers(0, 50), st.integers(0, MOST), st.integers(2**64 // 10**6 - 5000, 2**45)),
    st.one_of(st.integers(0, 3), st.integers(2**32 - 2, 2**32 + 2), st.integers(0, MOST)),
)
SPECS = {
    "cam": StreamSpec(content_type="image/jpeg"),
    "pose": StreamSpec(content_type="application/json", schema={"type": "object"}),
    "raw": StreamSpec(),
}
RECORDINGS = st.lists(
    st.lists(st.tuples(st.sampled_from(sorted(SPECS)), IDS, st.binary(max_size=40)), max_size=6),
    max_size=6,
)
RELAXED = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of files: nobody pulls the plug of this test."""
    monkeypatch.setattr(os, "fdatasync", lambda _: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)


def write(path: Path, chunks: list[list[Entry]]) -> RecordingFile:
    path.unlink(missing_ok=True)
    file = RecordingFile(path, {"name": "walk"}, floor=0)
    for name, spec in SPECS.items():
        file.describe(name, spec)
    for chunk in chunks:
        rows = [(entry.stream, entry.id, entry.data) for entry in chunk]
        if rows:
            file.write_chunk(rows, compression_for(SPECS[rows[0][0]].content_type))
    return file


def ordered(drawn: list[list[tuple[str, EntryId, bytes]]]) -> list[list[Entry]]:
    """The same with each stream's ids growing, as a store gives them."""
    ids = {name: iter(sorted({i for c in drawn for s, i, _ in c if s == name})) for name in SPECS}
    found: list[list[Entry]] = []
    for chunk in drawn:
        found.append([])
        for stream, _, data in chunk:
            entry = next(ids[stream], None)
            if entry is not None:
                found[-1].append(Entry(stream, entry, data))
    return [chunk for chunk in found if chunk]


def flat(chunks: list[list[Entry]]) -> list[Entry]:
    return sorted((e for chunk in chunks for e in chunk), key=lambda e: (e.id, e.stream))


def by_id(entries: object) -> list[Entry]:
    return sorted(entries, key=lambda e: (e.id, e.stream))  # type: ignore[call-overload]


@given(IDS)
def test_ids_come_back(entry: EntryId) -> None:
    form = form_of(entry)
    assert all(0 <= number < 2**64 for number in pack(entry, form))
    assert unpack(form, *pack(entry, form)) == entry


@RELAXED
@given(RECORDINGS)
def test_what_is_written_is_read_also_by_the_stock_reader(tmp_path: Path, drawn: object) -> None:
    chunks = ordered(drawn)  # type: ignore[arg-type]
    path = tmp_path / "a.mcap"
    write(path, chunks).finish()
    with RecordingReader(path) as reader:
        assert by_id(reader.entries()) == flat(chunks)
        backwards = [entry.id for entry in reader.entries(reverse=True)]
        assert backwards == sorted(backwards, reverse=True)
        assert len(backwards) == len(flat(chunks))
    with path.open("rb") as file:
        stock = make_reader(file, validate_crcs=True)
        found = [(c.topic, m.data) for _, c, m in stock.iter_messages()]
        assert sorted(found) == sorted((e.stream, e.data) for e in flat(chunks))
        assert [note.metadata for note in stock.iter_metadata()] == [{"name": "walk"}]


@RELAXED
@given(RECORDINGS, st.data())
def test_any_cut_leaves_every_chunk_that_was_whole(
    tmp_path: Path, drawn: object, data: st.DataObject
) -> None:
    chunks = ordered(drawn)  # type: ignore[arg-type]
    path = tmp_path / "a.mcap"
    file = RecordingFile.__new__(RecordingFile)
    ends: list[int] = []
    for n in range(len(chunks) + 1):
        file = write(path, chunks[:n])
        ends.append(file.size)
        file.abandon()
    whole = path.read_bytes()
    cut = data.draw(st.integers(ends[0], len(whole)))
    junk = data.draw(st.binary(max_size=30))
    path.write_bytes(whole[:cut] + junk)
    mended = mend(path)
    assert mended.about == {"name": "walk"}
    kept = [e for n, chunk in enumerate(chunks) if ends[n + 1] <= cut for e in chunk]
    with RecordingReader(path) as reader:
        found = by_id(reader.entries())
        # A chunk whose message index alone was torn is whole, too.
        assert {(e.stream, e.id) for e in kept} <= {(e.stream, e.id) for e in found}
        assert found == flat([chunk for chunk in chunks if chunk[0] in found])
        assert {n: f.count for n, f in reader.ledger.facts.items() if f.count} == {
            name: sum(e.stream == name for e in found) for name in {e.stream for e in found}
        }
    with path.open("rb") as file_:
        assert sum(1 for _ in make_reader(file_).iter_messages()) == len(found)


@RELAXED
@given(RECORDINGS, IDS, IDS)
def test_reading_between_ids_finds_what_is_between(
    tmp_path: Path, drawn: object, one: EntryId, other: EntryId
) -> None:
    chunks, (start, stop) = ordered(drawn), sorted((one, other))  # type: ignore[arg-type]
    path = tmp_path / "a.mcap"
    write(path, chunks).finish()
    everything = flat(chunks)
    with RecordingReader(path) as reader:
        between = [e for e in everything if start <= e.id <= stop]
        assert by_id(reader.entries(None, start, stop)) == between
        assert by_id(reader.entries(None, start, stop, reverse=True)) == between
        for name in SPECS:
            of = [e for e in everything if e.stream == name]
            before = [e for e in of if e.id <= one]
            assert reader.at(name, one, "previous") == (before[-1] if before else None)
            near = reader.at(name, one)
            if of:
                assert near is not None
                assert abs(near.id.ms - one.ms) == min(abs(e.id.ms - one.ms) for e in of)
            else:
                assert near is None


def test_facts_are_the_same_written_and_read(tmp_path: Path) -> None:
    entries = [Entry("cam", EntryId(n, 7), b"x" * n) for n in range(1, 50)]
    file = write(tmp_path / "a.mcap", [entries[:20], entries[20:]])
    written = file.finish().facts["cam"]
    with RecordingReader(tmp_path / "a.mcap") as reader:
        read = reader.facts()["cam"]
    assert (written.count, written.first, written.last) == (49, EntryId(1, 7), EntryId(49, 7))
    assert (read.count, read.first, read.last) == (49, EntryId(1, 7), EntryId(49, 7))
    assert (read.chunks, read.content_type) == (2, "image/jpeg")


def test_a_file_that_is_written_is_locked_and_may_be_read_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    file = write(path, [[Entry("cam", EntryId(5), b"five")]])
    assert is_being_written(path)
    with pytest.raises(BlockingIOError):
        mend(path)
    with RecordingReader(path, file.ledger) as reader:
        assert [e.data for e in reader.entries()] == [b"five"]
        file.write_chunk([("cam", EntryId(6), b"six")], "")
        assert [e.data for e in reader.entries()] == [b"five", b"six"]
    file.finish()
    assert not is_being_written(path)


def test_what_is_no_recording_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"something else altogether")
    with pytest.raises(Damaged):
        mend(path)
    with pytest.raises(Damaged):
        RecordingReader(path)
    assert path.read_bytes() == b"something else altogether"


def test_a_disk_below_the_floor_refuses_the_next_chunk(tmp_path: Path) -> None:
    file = RecordingFile(tmp_path / "a.mcap", {}, floor=0)
    file.floor = 2**62
    size = file.path.stat().st_size
    with pytest.raises(OutOfSpace):
        file.write_chunk([("cam", EntryId(5), b"five")], "")
    assert file.path.stat().st_size == size
    file.finish()
    with RecordingReader(file.path) as reader:
        assert list(reader.entries(None, ZERO)) == []


def test_pictures_are_not_packed_again_and_text_is() -> None:
    assert compression_for("image/jpeg") == compression_for("video/mp4") == ""
    assert compression_for("application/json") == compression_for("text/plain") == "zstd"
    assert compression_for(None) == compression_for("audio/pcm;rate=48000") == "lz4"
