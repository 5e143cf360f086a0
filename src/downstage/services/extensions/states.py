"""What an extension may be, and which step leads where; pure.

::

    discovered ── start ──> starting ── started ──> running ── stop ──> stopping ── stopped ──┐
      │    │                  │                       ^                   │                   │
      │    └─ block ─> blocked│                       │                   │                   v
      └─ stopped (disabled)   └──── fail ──> failed <─┼───── fail ────────┘                stopped
                                               └──── start, from stopped, failed and blocked ─┘
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal

__all__ = ["AT_REST", "IllegalStep", "State", "Step", "advance", "may"]

State = Literal["discovered", "starting", "running", "stopping", "stopped", "failed", "blocked"]
Step = Literal["start", "started", "stop", "stopped", "fail", "block"]

AT_REST: frozenset[State] = frozenset({"discovered", "stopped", "failed", "blocked"})
"""States in which nothing of the extension runs."""

_REST_STEPS: dict[Step, State] = {
    "start": "starting",
    "stopped": "stopped",
    "fail": "failed",
    "block": "blocked",
}
_STEPS: MappingProxyType[State, dict[Step, State]] = MappingProxyType(
    {
        "discovered": _REST_STEPS,
        "stopped": _REST_STEPS,
        "failed": _REST_STEPS,
        "blocked": _REST_STEPS,
        "starting": {"started": "running", "fail": "failed"},
        "running": {"stop": "stopping"},
        "stopping": {"stopped": "stopped", "fail": "failed"},
    }
)


class IllegalStep(ValueError):
    """The step does not lead anywhere from this state."""


def may(state: State, step: Step) -> bool:
    """Whether *step* is possible in *state*."""
    return step in _STEPS[state]


def advance(state: State, step: Step) -> State:
    """The state after *step*.

    Raises:
        IllegalStep: it is not possible in *state*.
    """
    try:
        return _STEPS[state][step]
    except KeyError:
        raise IllegalStep(f"{step} is not possible while {state}") from None
