"""What the socket's operations are made of: a registry, and one call as its handler sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast

import msgspec

from downstage.content.model import Caller
from downstage.kernel.errors import BadMessage, Conflict, NotFound

__all__ = ["Asked", "Line", "NoArgs", "Op", "Ops", "Run"]

T = TypeVar("T")
MAX_REASON = 200


class NoArgs(msgspec.Struct, array_like=True, frozen=True):
    """An operation without arguments."""


class Line(Protocol):
    """The connection that a call came by."""

    client_id: str
    """Owns locks; outlives the connection by the grace."""

    @property
    def caller(self) -> Caller:
        """Who asks, with the groups of this moment."""
        ...

    @property
    def held(self) -> dict[int, object]:
        """What calls that are still open keep for others, by their ids."""
        ...

    def answer(self, call_id: int, status: int | str, body: object) -> None:
        """Queue one message."""
        ...

    async def flow(self) -> None:
        """Wait until there is room for more: who pushes must."""
        ...

    def note_opened(self) -> None:
        """One more call stays open."""
        ...

    async def cancel(self, call_id: int) -> bool:
        """End a call that runs or stays open; whether there was one."""
        ...


@dataclass(slots=True)
class Asked:
    """One call. A handler that returns answers it by that.

    A handler that opens something calls `opened` and goes on: what it pushes (`push`) comes to
    the caller under the call's id, until it returns, or the caller closes it (it is cancelled).
    """

    id: int
    args: Any
    line: Line
    is_open: bool = False

    @property
    def caller(self) -> Caller:
        """Who asks."""
        return self.line.caller

    def opened(self, body: object, keep: object = None) -> None:
        """Answer now, and stay; *keep* is what other calls find by `find`."""
        self.is_open = True
        self.line.note_opened()
        if keep is not None:
            self.line.held[self.id] = keep
        self.line.answer(self.id, 200, body)

    async def push(self, kind: str, body: object) -> None:
        """Send a message under this call's id; waits while the caller reads slowly."""
        self.line.answer(self.id, kind, body)
        await self.line.flow()

    def find(self, call_id: int, kind: type[T]) -> T:
        """What an open call of this connection keeps.

        Raises:
            NotFound: no such call is open, or it keeps something else.
        """
        found = self.line.held.get(call_id)
        if not isinstance(found, kind):
            raise NotFound("No such call is open on this socket.")
        return found


Run = Callable[[Asked], object]


@dataclass(frozen=True, slots=True)
class Op:
    """One operation."""

    name: str
    decoder: msgspec.msgpack.Decoder[Any]
    run: Run

    def decode(self, raw: msgspec.Raw) -> Any:
        """The arguments.

        Raises:
            BadMessage: not what this operation takes.
        """
        try:
            return self.decoder.decode(raw)
        except (msgspec.DecodeError, RecursionError) as error:
            detail = str(error)[:MAX_REASON]
            raise BadMessage(f"{self.name}: {detail}") from error


class Ops:
    """Operations by name; dialects and live layers add theirs before the first connection."""

    def __init__(self) -> None:
        self._ops: dict[str, Op] = {}

    def register(self, name: str, args: type, run: Run) -> None:
        """Serve *name*.

        Args:
            name: ``family.verb`` for what is no file operation.
            args: an array-like `msgspec.Struct` whose rest has defaults.
            run: the handler: a coroutine function; or a plain function that takes microseconds,
                whose answer leaves at once. Such a one may give a coroutine back where it turns
                out that it must wait after all.

        Raises:
            Conflict: somebody serves it.
        """
        if name in self._ops:
            raise Conflict(f"The operation {name} is served already.")
        decoder = msgspec.msgpack.Decoder(cast("type[Any]", args))
        self._ops[name] = Op(name, decoder, run)

    def find(self, name: str) -> Op | None:
        """The operation *name*."""
        return self._ops.get(name)

    @property
    def names(self) -> list[str]:
        """All names."""
        return sorted(self._ops)
