"""What a lifecycle asks of its host: a place for each extension, and how long things may take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import anyio

from downstage.services.context import ServiceContext
from downstage.services.extensions.manifest import Manifest
from downstage.services.extensions.settings import SettingsTree

__all__ = ["BeforeImport", "Deadlines", "Workplace", "tried"]

BeforeImport = Callable[[Manifest, SettingsTree], None]
"""Called before an extension's modules are imported."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long an extension may take."""

    start_s: float = 30.0
    stop_s: float = 5.0
    grace_s: float = 5.0
    """For requests in flight, before it is stopped."""


class Workplace(Protocol):
    """What the host makes for one extension, and takes down after it."""

    @property
    def context(self) -> ServiceContext:
        """What the extension is given."""
        ...

    @property
    def owner(self) -> str:
        """By which what it registers is known; its id, or a longer one where that is taken."""
        ...

    async def close(self) -> None:
        """End its tasks; then, once it has stopped, `clear` is called."""
        ...

    async def clear(self) -> None:
        """Take down all that is left: facilities, application, name."""
        ...


async def tried(hook: Callable[[], Awaitable[object]], deadline_s: float) -> BaseException | None:
    """Call *hook*; what it raised, or that it took too long."""
    try:
        with anyio.fail_after(deadline_s):
            await hook()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the edge to somebody else's code
        return error
    return None
