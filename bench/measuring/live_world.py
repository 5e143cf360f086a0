"""A simulated world of live editors: one server, wires that break, everything in random order."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from downstage.client.live.binding import LayerBinding
from downstage.client.live.editor import LiveEditor
from downstage.client.live.pxr import Sdf
from downstage.client.live.session import LiveSession, Submit
from downstage.live.document import Document
from downstage.live.messages import (
    Durable,
    Held,
    Join,
    Merged,
    Message,
    Resumed,
    pack,
    unpack,
)
from downstage.live.replica import Replica
from downstage.live.sequencer import Sequencer, State, shown
from downstage.live.wire import decode, encode
from measuring.live_edits import Hand

__all__ = ["BROKEN", "Outcome", "broken", "play"]

BROKEN = ("child-order", "arrival-order")


@dataclass(slots=True)
class Outcome:
    """How one play ended."""

    texts: list[str]
    count: Counter[str]
    ops: int
    refused: int

    @property
    def has_converged(self) -> bool:
        """Everybody's layer is the same text."""
        return len(set(self.texts)) == 1


@dataclass(slots=True)
class Wire:
    """One connection of one client: what is on its way, both ways."""

    up: deque[Submit | Join] = field(default_factory=deque[Submit | Join])
    down: deque[bytes] = field(default_factory=deque[bytes])


class World:
    """The server, its disk, and the desks."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.count = Counter[str]()
        self.disk = State()
        self.starts = 0
        self.ops = 0
        self.library = Sdf.Layer.CreateAnonymous("library.usda")
        self.library.ImportFromString(_LIBRARY)
        self.desks: list[Desk] = []
        self.sequencer = self._start()
        self.merger: Desk | None = None

    def _start(self) -> Sequencer:
        self.starts += 1
        return Sequencer(self.disk, f"start-{self.starts}")

    def crash(self) -> None:
        """Kill the server: what is not on disk is forgotten, every connection breaks."""
        self.count["server-killed"] += 1
        self.merger = None
        self.sequencer = self._start()
        for desk in self.desks:
            desk.wire = None

    def store(self) -> None:
        """Put everything ordered so far on disk, now and then as a snapshot."""
        sequencer = self.sequencer
        stored = self.disk.batches[-1].seq if self.disk.batches else self.disk.seq
        self.disk.batches += [batch for batch in sequencer.tail if batch.seq > stored]
        for client, n in sequencer.stored(sequencer.seq).items():
            for desk in self.desks:
                if desk.session.client == client:
                    desk.tell(Durable(n))
        if self.draw.random() < 0.2:
            self._compact()

    def _compact(self) -> None:
        ops = decode(self.disk.snapshot)
        for batch in self.disk.batches:
            ops += decode(batch.ops)
        seq = self.sequencer.seq
        snapshot = encode(Document.of(ops).snapshot())
        known = dict(self.sequencer.known)
        self.disk = State(
            self.sequencer.epoch, self.sequencer.base, seq, self.sequencer.time, snapshot, [], known
        )
        self.sequencer.compacted(seq, snapshot)
        self.count["compacted"] += 1

    def take(self, desk: Desk, message: Submit | Join) -> None:
        """One message of a desk."""
        sequencer = self.sequencer
        if isinstance(message, Join):
            desk.tell(sequencer.welcome(message, []))
            if sequencer.held_by:
                desk.tell(Held(sequencer.held_by, sequencer.seq))
            desk.is_in = True
            return
        batch = sequencer.submit(desk.session.client, message.epoch, message.n, message.ops, 0)
        if batch is None:
            return
        self.ops += len(decode(batch.ops))
        for other in self.desks:
            if other.is_in:
                other.tell(shown(batch, other.session.client))

    def hold(self, desk: Desk) -> None:
        """A desk begins to merge."""
        self.merger = desk
        self.sequencer.hold(desk.session.client)
        self._tell_all(Held(desk.session.client, self.sequencer.seq))

    def end_merge(self) -> None:
        """It writes the file and the layer begins again; or it gives up."""
        self.merger = None
        if self.draw.random() < 0.4:
            self.sequencer.resume()
            self._tell_all(Resumed())
            return
        self.count["merged"] += 1
        merged: Merged = self.sequencer.merged(f"etag-{self.sequencer.epoch}", 1, "somebody", 0)
        known = dict(self.sequencer.known)
        self.disk = State(merged.epoch, merged.base, self.sequencer.seq, merged.time, known=known)
        self._tell_all(merged)

    def _tell_all(self, message: Message) -> None:
        for desk in self.desks:
            if desk.is_in:
                desk.tell(message)


class Desk:
    """One editor at one client."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.layer = Sdf.Layer.CreateAnonymous("live.usda")
        self.editor = LiveEditor(self.layer)
        self.session = LiveSession(self.editor)
        self.hand = Hand(self.layer, world.library, world.draw, world.count)
        self.wire: Wire | None = None
        self.is_in = False
        world.desks.append(self)

    def tell(self, message: Message) -> None:
        """Something of the server's, on its way; lost where the wire is broken."""
        if self.wire is not None:
            self.wire.down.append(pack(message))

    def connect(self) -> None:
        """A new connection."""
        self.wire, self.is_in = Wire(), False
        self.wire.up.append(self.session.join())

    def lose(self) -> None:
        """The connection breaks with all that is on it."""
        self.world.count["connection-lost"] += 1
        self.wire, self.is_in = None, False

    def send(self) -> None:
        """Put on the wire what is to be sent."""
        self.session.flush()
        if self.wire is not None:
            self.wire.up.extend(self.session.outbox)
        self.session.outbox.clear()

    def hear(self) -> None:
        """Take some messages off the wire."""
        for _ in range(self.world.draw.randrange(1, 4)):
            if self.wire is not None and self.wire.down:
                self.session.hear(unpack(self.wire.down.popleft()))
        self.session.settle()

    def close(self) -> None:
        """Leave."""
        self.editor.close()


def play(seed: int, *, turns: int = 60) -> Outcome:
    """Three editors, a fourth that joins half way, at the end a fresh one: their layers."""
    world = World(seed)
    desks = [Desk(world) for _ in range(3)]
    for turn in range(turns):
        if turn == turns // 2:
            desks.append(Desk(world))
        _turn(world, desks)
    _settle(world, desks)
    fresh = Desk(world)
    desks.append(fresh)
    _settle(world, desks)
    texts = [desk.layer.ExportToString() for desk in desks]
    refused = sum(desk.editor.binding.refused for desk in desks)
    for desk in desks:
        desk.close()
    return Outcome(texts, world.count, world.ops, refused)


def _turn(world: World, desks: list[Desk]) -> None:
    draw, desk = world.draw, world.draw.choice(desks)
    for _ in range(draw.randrange(1, 4)):
        desk.hand.edit()
    if draw.random() < 0.08 and desk.session.undo():
        world.count["undo"] += 1
    if draw.random() < 0.7:
        desk.send()
    if draw.random() < 0.05:
        draw.choice(desks).lose()
    if draw.random() < 0.02:
        world.crash()
    if draw.random() < 0.2:
        world.store()
    if world.merger is None and draw.random() < 0.02 and desk.session.is_joined:
        world.hold(desk)
    elif world.merger is not None and draw.random() < 0.3:
        world.end_merge()
    while draw.random() < 0.8:
        _move(world, draw.choice(desks))


def _move(world: World, desk: Desk) -> None:
    """One message moves, or a broken wire is mended."""
    if desk.wire is None:
        desk.connect()
    elif desk.wire.up and world.draw.random() < 0.6:
        world.take(desk, desk.wire.up.popleft())
    else:
        desk.hear()


def _settle(world: World, desks: list[Desk]) -> None:
    """Let everything arrive."""
    if world.merger is not None:
        world.end_merge()
    for _ in range(20):
        world.store()
        for desk in desks:
            if desk.wire is None:
                desk.connect()
            desk.send()
        for desk in desks:
            while desk.wire is not None and desk.wire.up:
                world.take(desk, desk.wire.up.popleft())
        for desk in desks:
            while desk.wire is not None and desk.wire.down:
                desk.hear()
    if not all(desk.session.is_durable for desk in desks):
        raise AssertionError("something is pending after everything arrived")


@contextmanager
def broken(what: str) -> Iterator[None]:
    """Break the product on purpose, so that the world can show that it would tell.

    ``child-order`` leaves the order of prims as they came; ``arrival-order`` lays remote edits
    over own pending ones, as they arrive.
    """
    owner, name, double = {
        "child-order": (LayerBinding, "arrange", lambda *_: None),
        "arrival-order": (Replica, "_meets", lambda *_: False),
    }[what]
    kept: Any = getattr(owner, name)
    setattr(owner, name, double)
    try:
        yield
    finally:
        setattr(owner, name, kept)


_LIBRARY = """#usda 1.0
def Xform "R" {
    double3 x = (1, 2, 3)
    def Scope "A" {
        double y = 1
    }
}
"""
