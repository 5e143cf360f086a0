"""Recordings and replays in the forms of both dialects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from downstage.contracts.recordings import RecordedStream, RecordingView, ReplayView
from downstage.streams.model import Caller, EntryId
from downstage.streams.recordings.ledger import Facts
from downstage.streams.recordings.model import Recording, readable
from downstage.streams.recordings.replay import Progress
from downstage.streams.recordings.replays import Replayed

__all__ = ["ptg_info", "ptg_progress", "recording_view", "replay_view", "seconds_between"]

MEBIBYTE = 1 << 20


def seconds_between(first: EntryId | None, last: EntryId | None) -> float:
    """Between two ids; 0 where there are none."""
    return 0.0 if first is None or last is None else (last.ms - first.ms) / 1000


def recording_view(recording: Recording, caller: Caller) -> RecordingView:
    """What *caller* may know of it."""
    return RecordingView(
        name=recording.name,
        state=recording.life.state.value,
        reason=recording.life.reason,
        owner=recording.owner_name,
        patterns=list(recording.patterns),
        started_at=recording.started_at,
        ended_at=recording.ended_at,
        first_id=_text(recording.first),
        last_id=_text(recording.last),
        duration_s=seconds_between(recording.first, recording.last),
        size=recording.size,
        hidden=recording.hidden,
        imported=recording.imported,
        gaps=recording.gaps,
        stored_in="content" if recording.content_path else "local",
        content_path=recording.content_path,
        streams=[_stream(name, recording.facts[name]) for name in readable(caller, recording)],
    )


def _stream(name: str, facts: Facts) -> RecordedStream:
    return RecordedStream(
        name=name,
        content_type=facts.content_type,
        entries=facts.count,
        bytes=facts.bytes,
        chunks=facts.chunks,
        first_id=_text(facts.first),
        last_id=_text(facts.last),
    )


def replay_view(replayed: Replayed) -> ReplayView:
    """A replay as it stands."""
    progress = replayed.replay.progress()
    return ReplayView(
        id=replayed.id,
        recording=replayed.recording,
        state=progress.state.value,
        reason="" if progress.failure is None else progress.failure.detail,
        position_ms=progress.position_ms,
        duration_ms=progress.duration_ms,
        speed=replayed.replay.speed,
        rounds=progress.rounds,
        counts=progress.counts,
        current={stream: str(entry) for stream, entry in progress.current.items()},
        active=progress.active,
    )


def ptg_info(recording: Recording, caller: Caller, files: Sequence[str]) -> dict[str, Any]:
    """The data server's info object; its keys, and no others."""
    streams = {
        name: {
            "chunk_count": facts.chunks,
            "size_mb": facts.bytes / MEBIBYTE,
            **_times(facts.first, facts.last),
        }
        for name, facts in ((name, recording.facts[name]) for name in readable(caller, recording))
    }
    return {
        "name": recording.name,
        "streams": streams,
        "size_mb": sum(recording.facts[name].bytes for name in streams) / MEBIBYTE,
        **_times(*_ends(recording.facts[name] for name in streams)),
        "files": list(files),
    }


def _ends(of: Iterable[Facts]) -> tuple[EntryId | None, EntryId | None]:
    facts = list(of)
    firsts = [one.first for one in facts if one.first is not None]
    lasts = [one.last for one in facts if one.last is not None]
    return min(firsts, default=None), max(lasts, default=None)


def _times(first: EntryId | None, last: EntryId | None) -> dict[str, Any]:
    seconds = seconds_between(first, last)
    known = first is not None and last is not None
    return {
        "duration": str(timedelta(seconds=seconds)) if known and seconds < 1e12 else None,  # noqa: PLR2004 - what a timedelta holds
        "duration_secs": seconds if known else None,
        "first-entry": _text(first),
        "last-entry": _text(last),
        "first-entry-time": _clock(first),
        "last-entry-time": _clock(last),
    }


def ptg_progress(
    progress: Progress, before: Mapping[str, int], facts: Mapping[str, Facts]
) -> dict[str, Any]:
    """The data server's message: what came since the last one, seconds there are and were.

    Args:
        progress: of now.
        before: counts that were told.
        facts: of the recording.
    """
    updates = {
        stream: count - before.get(stream, 0)
        for stream, count in progress.counts.items()
        if count > before.get(stream, 0)
    }
    told = {*updates, *progress.active}
    return {
        "updates": updates,
        "active": progress.active,
        "durations": {s: seconds_between(facts[s].first, facts[s].last) for s in sorted(told)},
        "current": {
            s: seconds_between(facts[s].first, progress.current.get(s)) for s in sorted(told)
        },
    }


def _text(entry: EntryId | None) -> str | None:
    return None if entry is None else str(entry)


def _clock(entry: EntryId | None) -> str | None:
    """Local time, as the data server says it; None where no calendar has such a time."""
    if entry is None:
        return None
    try:
        at = datetime.fromtimestamp(entry.ms / 1000)  # noqa: DTZ006 - local time is what it says
    except (OverflowError, ValueError, OSError):
        return None
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")
