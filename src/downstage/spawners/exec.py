"""One more program inside a running instance: the seam that every spawner fills.

It runs behind the instance's own walls, as the application's user, and ends with the instance.
Its bytes go both ways; with a terminal there is one stream out, without there are two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from downstage.kernel.errors import Conflict

__all__ = ["NO_ANSWER", "CannotExec", "Exec", "ExecStream", "Inside"]

NO_ANSWER = -1
"""Exit code of a program whose end nobody saw: its instance or its engine went first."""


class CannotExec(Conflict):
    """The instance runs no application in which something could be started."""

    code = "cannot-exec"


@dataclass(frozen=True, slots=True)
class Exec:
    """What to start."""

    command: Sequence[str]
    """Argument vector, never a shell's line."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """Beside the application's own variables."""
    tty: bool = False
    size: tuple[int, int] = (80, 24)
    """Columns and rows of the terminal."""


class ExecStream(Protocol):
    """A program that was started by `Inside.exec`; close it whatever happens."""

    def output(self) -> AsyncIterator[tuple[Literal[1, 2], bytes]]:
        """What it writes: 1 is standard output, and all of a terminal; 2 standard error.

        Ends when the program has closed both. One reader.
        """
        ...

    async def send(self, data: bytes) -> None:
        """Hand it *data*; waits while it takes nothing. What has ended takes nothing more."""
        ...

    async def end_input(self) -> None:
        """Close its standard input; of a terminal, type the end of file."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal's new size; without a terminal nothing happens."""
        ...

    async def wait(self) -> int:
        """Exit code once it has ended: 128 + n by signal n, `NO_ANSWER` where nobody saw it."""
        ...

    async def close(self) -> None:
        """Let go of it; what still runs is killed, as far as the engine can."""
        ...


class Inside(Protocol):
    """What `downstage.spawners.spawner.Handle` offers of a running application."""

    async def exec(self, asked: Exec) -> ExecStream:
        """Start one more program beside the application.

        Raises:
            CannotExec: no application runs, or the program cannot be started.
        """
        ...

    def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[bytes]:
        """What the application has written, secrets masked, whole lines in order.

        Args:
            follow: go on with what comes, until the instance has ended.
            tail: begin with the last so many lines; None: with all that is kept.
        """
        ...
