"""``downstage live watch``: who is in a live layer, and each edit as one line. Needs no USD."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from rich.text import Text

from downstage.cli.content.desk import about, client_of, err, out, server_of
from downstage.cli.content.shown import of_url, plain, plural, size_of
from downstage.client.client import Client
from downstage.client.places import Place
from downstage.client.providers.server import ServerProvider
from downstage.kernel.errors import BadMessage, Unavailable
from downstage.kernel.ids import new_id
from downstage.kernel.settings import Settings
from downstage.live.messages import (
    Ended,
    Held,
    Merged,
    Message,
    Ordered,
    People,
    Person,
    Resumed,
    Welcome,
    unpack,
)
from downstage.live.ops import Create, Op, Order, Remove, Sample, Set
from downstage.live.wire import decode_trusted

__all__ = ["Line", "Room", "value_of", "watch_live"]

NS = 1_000_000_000
AGAIN_S = 1.0
MAX_VALUE = 80
"""Letters of a value that are shown."""
MAX_MESSAGE = 64 * 1024 * 1024
GONE_FOR_GOOD = frozenset({"not-found", "forbidden", "wrong-type"})


def value_of(packed: bytes | None) -> str:
    """A value of USD as far as it can be read without USD."""
    if packed is None:
        return "nothing"
    try:
        value: Any = msgspec.msgpack.decode(packed)
    except msgspec.DecodeError:
        return size_of(len(packed))
    text = _written(value)
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def _written(value: Any) -> str:
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if not items or not isinstance(items[0], str):
            return f"[{', '.join(_written(item) for item in items[:16])}]"
        tag, *rest = items
        if len(rest) == 1 and isinstance(rest[0], list):
            rest = cast("list[Any]", rest[0])
        return f"{plain(tag)}({', '.join(_written(item) for item in rest[:16])})"
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value)
        return f"{{{', '.join(f'{plain(str(k))}: {_written(v)}' for k, v in pairs.items())}}}"
    if isinstance(value, bytes):
        return size_of(len(value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened in a layer."""

    what: str
    who: str = ""
    path: str = ""
    detail: str = ""
    time: int = 0
    """Nanoseconds since the epoch; 0: now."""

    @property
    def _when(self) -> datetime:
        return datetime.fromtimestamp(self.time / NS, UTC) if self.time else datetime.now(UTC)

    @property
    def facts(self) -> dict[str, str]:
        """For programs."""
        at = self._when.isoformat().replace("+00:00", "Z")
        found = {"what": self.what, "who": self.who, "path": self.path, "detail": self.detail}
        return {"at": at, **{name: value for name, value in found.items() if value}}

    @property
    def text(self) -> Text:
        """For eyes."""
        line = Text(f"{self._when.astimezone():%H:%M:%S}  ", "dim")
        line.append(f"{plain(self.who):<12} ", "cyan")
        style = {"joined": "green", "left": "red"}.get(self.what, "default")
        line.append(self.what, style)
        if self.path:
            line.append(f" {plain(self.path)}", "bold")
        return line.append(f" {plain(self.detail)}" if self.detail else "")


@dataclass(slots=True)
class Room:
    """A live layer as its messages show it: each becomes lines."""

    me: str
    people: dict[str, str] = field(default_factory=dict[str, str])
    epoch: int = 0
    incarnation: str = ""
    seq: int = 0

    def hear(self, message: Message) -> list[Line]:
        """What *message* tells."""
        match message:
            case Welcome():
                return self._welcome(message)
            case People():
                return self._came_and_went(message.people)
            case Ordered():
                return self._edits(message)
            case _:
                return self._turned(message)

    def _turned(self, message: Message) -> list[Line]:
        match message:
            case Held():
                return [Line("holds the layer to merge it", self._name(message.by))]
            case Resumed():
                return [Line("the layer goes on, nothing was merged")]
            case Merged():
                self.epoch, self.seq = message.epoch, 0
                kept = f" as checkpoint {message.checkpoint}" if message.checkpoint else ""
                who = self._name(message.by)
                return [Line(f"merged the layer into its file{kept}", who, time=message.time)]
            case Ended():
                return [Line("the server ended it:", detail=message.detail)]
            case _:
                return []

    def _welcome(self, welcome: Welcome) -> list[Line]:
        is_first = not self.incarnation
        self.epoch, self.incarnation = welcome.epoch, welcome.incarnation
        lines = self._came_and_went(welcome.people)
        if is_first:
            count = len(_ops(welcome.snapshot)) if welcome.snapshot else 0
            for batch in welcome.batches:
                count += len(_ops(batch.ops))
            if count:
                lines.append(Line(f"{plural(count, 'edit')} in the layer already"))
        else:
            for batch in welcome.batches:
                lines += self._edits(batch)
        self.seq = welcome.seq
        return lines

    def _came_and_went(self, people: Iterable[Person]) -> list[Line]:
        now = {person.client: person.name for person in people if person.client != self.me}
        lines = [Line("joined", name) for key, name in now.items() if key not in self.people]
        lines += [Line("left", name) for key, name in self.people.items() if key not in now]
        self.people = now
        return lines

    def _edits(self, batch: Ordered) -> list[Line]:
        self.seq = batch.seq
        who = self._name(batch.client)
        return [_line_of(op, who, batch.time) for op in _ops(batch.ops)]

    def _name(self, client: str) -> str:
        return self.people.get(client, client)


def _ops(data: bytes) -> list[Op]:
    return decode_trusted(data) if data else []


def _line_of(op: Op, who: str, time: int) -> Line:
    match op:
        case Create():
            with_ = ", ".join(f"{name} = {value_of(value)}" for name, value in op.fields.items())
            detail = f"({with_})" if with_ else ""
            return Line(f"made {op.kind}", who, op.path, detail[: 2 * MAX_VALUE], time)
        case Set(value=None):
            return Line("cleared", who, op.path, op.field, time)
        case Set():
            return Line("set", who, op.path, f"{op.field} = {value_of(op.value)}", time)
        case Sample():
            detail = f"at {op.time:g} = {value_of(op.value)}"
            return Line("set", who, op.path, detail, time)
        case Remove():
            return Line("removed", who, op.path, "", time)
        case Order():
            return Line("ordered", who, op.path, ", ".join(op.names)[:MAX_VALUE], time)


def watch_live(settings: Settings, url: str, *, as_json: bool) -> None:
    """Print what happens in a live layer until Ctrl-C."""

    def tell(line: Line) -> None:
        if as_json:
            print(json.dumps(line.facts), flush=True)
        else:
            out().print(line.text)

    with client_of(settings) as client, about(url):
        if not as_json:
            err().print(f"Watching the live layer of {of_url(url)}. Ctrl-C ends it.", style="dim")
        client.run(_watch, url, tell)


async def _watch(client: Client, url: str, tell: Callable[[Line], None]) -> None:
    place = client.place(url)
    server = await server_of(client, place, "live layers")
    room = Room(new_id("live"))
    while True:
        try:
            async for message in _messages(server, place, room):
                for line in room.hear(message):
                    tell(line)
                if isinstance(message, Ended) and message.code in GONE_FOR_GOOD:
                    return
        except Unavailable:
            if not room.incarnation:
                raise
            tell(Line("the connection broke; trying again"))
        await asyncio.sleep(AGAIN_S)


async def _messages(server: ServerProvider, place: Place, room: Room) -> AsyncGenerator[Message]:
    connection = await server.connection()
    known = (room.me, room.epoch, room.incarnation, room.seq)
    async with connection.opened("live.open", server.path(place), *known) as stream:
        parts = bytearray()
        async for kind, raw in stream:
            parts += msgspec.msgpack.decode(raw, type=bytes)
            if len(parts) > MAX_MESSAGE:
                raise BadMessage("The server's message is larger than any should be.")
            if kind == "message":
                message, parts = unpack(bytes(parts)), bytearray()
                yield message
