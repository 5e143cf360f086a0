"""One extension of a host: what it is, what it is doing, and why it is not."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from downstage.services.extensions.manifest import Manifest
from downstage.services.extensions.states import State, Step, advance

if TYPE_CHECKING:
    from downstage.services.extensions.actor import Actor
    from downstage.services.extensions.discovery import Found

__all__ = ["ExtensionInfo", "Unit", "told"]

MAX_TRACEBACK = 16_384


class ExtensionInfo(BaseModel):
    """One line of ``GET /extensions``."""

    id: str
    name: str
    version: str
    title: str
    state: State
    reason: str
    """Why it does not run; empty where it does."""
    traceback: str
    dependencies: list[str]
    settings_unknown: list[str]
    """Keys that were given for it and that it does not know."""
    source: str
    started_at: datetime | None
    """None where it does not run; so is how long its start took."""
    start_ms: float | None


@dataclass(slots=True, eq=False)
class Unit:
    """An extension that was found; `Lifecycle` alone changes it."""

    found: Found
    is_service: bool = False
    """One of the platform's own: its failure to start is the platform's."""
    wanted: bool = True
    state: State = "discovered"
    reason: str = ""
    traceback: str = ""
    settings_unknown: list[str] = field(default_factory=list[str])
    started_at: datetime | None = None
    start_ms: float | None = None
    actor: Actor | None = None
    ready: list[Callable[[], Awaitable[Any]]] = field(
        default_factory=list[Callable[[], Awaitable[Any]]]
    )

    @property
    def name(self) -> str:
        """The part of its id that stays."""
        return self.found.name

    @property
    def manifest(self) -> Manifest | None:
        """None where it cannot be read."""
        return self.found.manifest

    @property
    def id(self) -> str:
        """``name-version``; the name where no manifest could be read."""
        return self.manifest.id if self.manifest else self.name

    def step(self, step: Step, reason: str = "", shown: str = "") -> None:
        """Go on to the state that *step* leads to."""
        self.state = advance(self.state, step)
        self.reason, self.traceback = reason, shown[-MAX_TRACEBACK:]

    def info(self) -> ExtensionInfo:
        """For people and programs that ask."""
        manifest, is_up = self.manifest, self.state == "running"
        return ExtensionInfo(
            id=self.id,
            name=self.name,
            version=str(manifest.version) if manifest else "",
            title=manifest.title if manifest else "",
            state=self.state,
            reason=self.reason,
            traceback=self.traceback,
            dependencies=[str(need) for need in manifest.dependencies] if manifest else [],
            settings_unknown=self.settings_unknown,
            source=self.found.source,
            started_at=self.started_at if is_up else None,
            start_ms=self.start_ms if is_up else None,
        )


def told(error: BaseException) -> tuple[str, str]:
    """One line and the whole traceback of *error*; of a group with one error, that error's line.

    What was never raised has no traceback that would say more than the line.
    """
    inner = _only(error)
    text = str(inner).strip()
    line = f"{type(inner).__name__}: {text}" if text else type(inner).__name__
    was_raised = error.__traceback__ is not None or error.__cause__ is not None
    return line, "".join(traceback.format_exception(error)) if was_raised else ""


def _only(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    return _only(group.exceptions[0]) if len(group.exceptions) == 1 else group
