"""An instance's states, pure: what has happened in, the next record out.

::

    starting ──picture──→ running
        │                    │
        ├──── stop asked, a part ended ────→ ending ──nothing runs──→ ended
        └──── the keeper is lost ─────────────────────────────────→ ended(lost)

The stage only grows; the first reason stays; `revision` grows by one at every change and only
then; nothing leaves ``ended``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from downstage.contracts.manager import InstanceState
from downstage.spawners.plan import Report, Stage

__all__ = ["Instance", "ask_to_end", "has_ended_by", "learn", "lose"]

STAGES: tuple[Stage, ...] = (
    "placed",
    "pulling",
    "display",
    "audio",
    "streamer",
    "application",
    "running",
)
STATES: tuple[InstanceState, ...] = ("starting", "running", "ending", "ended")
MAX_DETAIL = 2000


@dataclass(frozen=True, slots=True)
class Instance:
    """What may change of an instance."""

    state: InstanceState = "starting"
    stage: Stage = "placed"
    reason: str | None = None
    detail: str | None = None
    exit_code: int | None = None
    isolated: bool = True
    revision: int = 1


def learn(instance: Instance, report: Report) -> Instance:
    """What its keeper says; reports may repeat, none takes anything back."""
    if instance.state == "ended":
        return instance
    state = max(instance.state, report.phase, key=STATES.index)
    is_end = report.phase in ("ending", "ended")
    says_more = is_end or (report.stage == "pulling" and instance.reason is None)
    return _changed(
        instance,
        replace(
            instance,
            state=state,
            stage=max(instance.stage, report.stage, key=STAGES.index),
            reason=instance.reason or (report.reason if is_end else None),
            detail=_told(instance) or (_cut(report.detail) if says_more else None),
            exit_code=_first(instance.exit_code, report.exit_code if is_end else None),
            isolated=report.isolated,
        ),
    )


def ask_to_end(instance: Instance, reason: str, detail: str | None = None) -> Instance:
    """Somebody wants it to end; asking twice changes nothing."""
    if instance.state in ("ending", "ended"):
        return instance
    return _changed(instance, replace(instance, state="ending", reason=reason, detail=detail))


def lose(instance: Instance, report: Report | None) -> Instance:
    """Its keeper is gone and nothing of it runs; *report* is the last that it left."""
    if instance.state == "ended":
        return instance
    if report is not None and report.phase == "ended":
        return learn(instance, report)
    lost = "The keeper of this instance was killed, and all of it with it. Start it again."
    reason = instance.reason or (report.reason if report else None) or "lost"
    detail = _told(instance) or (_cut(report.detail) if report else None)
    if reason == "lost":
        detail = detail or lost
    return _changed(instance, replace(instance, state="ended", reason=reason, detail=detail))


def has_ended_by(instance: Instance, reason: str, detail: str) -> Instance:
    """It never came to be."""
    if instance.state == "ended":
        return instance
    return _changed(
        instance,
        replace(
            instance,
            state="ended",
            reason=instance.reason or reason,
            detail=_told(instance) or _cut(detail),
        ),
    )


def _told(instance: Instance) -> str | None:
    """What was said of its end; before that, a detail says how far its image has come."""
    return None if instance.reason is None else instance.detail


def _changed(before: Instance, after: Instance) -> Instance:
    return before if after == before else replace(after, revision=before.revision + 1)


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one


def _cut(text: str | None) -> str | None:
    return None if text is None else text[:MAX_DETAIL]
