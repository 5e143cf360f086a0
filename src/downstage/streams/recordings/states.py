"""The life of a recording, as a pure machine: what may follow what. No I/O.

::

    recording ──stop──▶ stopping ──closed──▶ stored
        │                   │
        ├──────broke────────┴──▶ failed(reason)      the file is closed and readable
        └──────repaired─────┴──▶ recovered           the process had died; the file was mended
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from downstage.kernel.errors import Conflict

__all__ = ["FINAL", "Happened", "Life", "State", "step"]


class State(Enum):
    """Where a recording stands."""

    RECORDING = "recording"
    STOPPING = "stopping"
    """Nothing new is taken; what was taken is being written."""
    STORED = "stored"
    FAILED = "failed"
    """It ended before it was told to; what was written until then is there."""
    RECOVERED = "recovered"
    """Its process died; all chunks that were whole are there."""


class Happened(Enum):
    """What can happen to a recording."""

    STOP = "stop"
    CLOSED = "closed"
    BROKE = "broke"
    REPAIRED = "repaired"


FINAL = frozenset({State.STORED, State.FAILED, State.RECOVERED})
"""States that nothing follows; the file has its index."""

FOLLOWS: dict[tuple[State, Happened], State] = {
    (State.RECORDING, Happened.STOP): State.STOPPING,
    (State.STOPPING, Happened.STOP): State.STOPPING,
    (State.STOPPING, Happened.CLOSED): State.STORED,
    (State.RECORDING, Happened.BROKE): State.FAILED,
    (State.STOPPING, Happened.BROKE): State.FAILED,
    (State.RECORDING, Happened.REPAIRED): State.RECOVERED,
    (State.STOPPING, Happened.REPAIRED): State.RECOVERED,
}


@dataclass(frozen=True, slots=True)
class Life:
    """State and, of a failed recording, why."""

    state: State = State.RECORDING
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self.state in FINAL


def step(life: Life, happened: Happened, reason: str = "") -> Life:
    """What *life* is after something happened; *reason* is kept of what broke.

    Raises:
        Conflict: that cannot happen to it now.
    """
    if happened is Happened.STOP and life.ended:
        return life  # stopping twice is no mistake
    following = FOLLOWS.get((life.state, happened))
    if following is None:
        raise Conflict(f"A recording that is {life.state.value} cannot be {happened.value}.")
    return replace(life, state=following, reason=reason if happened is Happened.BROKE else "")
