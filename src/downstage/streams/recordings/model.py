"""What is known of a recording, and who may do what with it. Data and rules alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from downstage.kernel.errors import Forbidden, NotFound
from downstage.streams import names
from downstage.streams.model import Caller, EntryId, Grant, Right
from downstage.streams.recordings.ledger import Facts
from downstage.streams.recordings.states import Life

__all__ = ["Recording", "may_change", "may_read_all", "may_see", "readable", "recorder_of"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording as the catalogue has it; times are milliseconds since 1970."""

    id: str
    """Never changes; names the file."""
    tenant: str
    name: str
    owner: str
    """Subject of whoever started it."""
    owner_name: str
    patterns: tuple[str, ...]
    """Names and patterns of the streams that were asked for."""
    started_at: int
    life: Life = field(default_factory=Life)
    ended_at: int | None = None
    hidden: bool = False
    imported: bool = False
    size: int = 0
    """Bytes of its file."""
    facts: Mapping[str, Facts] = field(default_factory=dict[str, Facts])
    """What is in it, by stream."""
    gaps: int = 0
    """Times that entries were gone before they could be recorded."""
    local: bool = True
    """Its file lies in the folder of the service."""
    content_path: str = ""
    """Where it lies in the content service; empty: it does not."""
    due: bool = False
    """It is still to be put into the content service."""

    @property
    def first(self) -> EntryId | None:
        """The oldest entry of all streams."""
        return min((f.first for f in self.facts.values() if f.first is not None), default=None)

    @property
    def last(self) -> EntryId | None:
        """The newest entry of all streams."""
        return max((f.last for f in self.facts.values() if f.last is not None), default=None)


def may_see(caller: Caller, recording: Recording) -> bool:
    """Whether *caller* may know of it: its owner, and who may read something that is in it."""
    if recording.tenant != caller.tenant:
        return False
    if recording.owner == caller.subject:
        return True
    if recording.facts:
        return any(Right.READ in caller.rights(name) for name in recording.facts)
    return _covers(caller, recording, Right.READ)


def readable(caller: Caller, recording: Recording) -> list[str]:
    """Streams of it that *caller* may read, sorted."""
    return sorted(name for name in recording.facts if Right.READ in caller.rights(name))


def may_read_all(caller: Caller, recording: Recording) -> None:
    """Return if *caller* may have the file as it is.

    Raises:
        Forbidden: a stream is in it that it may not read.
    """
    if len(readable(caller, recording)) < len(recording.facts):
        raise Forbidden("This token may not read all streams of this recording.")


def may_change(caller: Caller, recording: Recording) -> None:
    """Return if *caller* may stop, rename, hide or delete it.

    Raises:
        NotFound: it may not even know of it.
        Forbidden: it may not record these streams.
    """
    if not may_see(caller, recording):
        raise NotFound(f"There is no recording {recording.name}.")
    if recording.owner == caller.subject and any(
        Right.RECORD in grant.rights or Right.ADMIN in grant.rights for grant in caller.grants
    ):
        return
    if recording.facts:
        allowed = all(Right.RECORD in caller.rights(name) for name in recording.facts)
    else:
        allowed = _covers(caller, recording, Right.RECORD)
    if not allowed:
        raise Forbidden("This token may not record all streams of this recording.")


def _covers(caller: Caller, recording: Recording, right: Right) -> bool:
    return all(
        any(
            (right in grant.rights or Right.ADMIN in grant.rights)
            and (grant.pattern in ("*", pattern) or grant.covers(pattern))
            for grant in caller.grants
        )
        for pattern in recording.patterns
    )


def recorder_of(caller: Caller, patterns: tuple[str, ...]) -> Caller:
    """*caller* with what it may record alone, for the recorder to read by.

    Raises:
        NotFound, Forbidden: it may not record a stream that is named, or nothing at all.
    """
    grants = tuple(
        Grant(grant.pattern, Right.READ | Right.RECORD)
        for grant in caller.grants
        if Right.RECORD in grant.rights or Right.ADMIN in grant.rights
    )
    if not grants:
        raise Forbidden("This needs the scope streams:record.", scope="streams:record")
    for pattern in patterns:
        if not names.is_pattern(pattern):
            caller.need(pattern, Right.RECORD)
    return replace(caller, grants=grants)
