"""Replicas under random orders of everything: they end as the server's document."""

from __future__ import annotations

import random
from typing import cast

import pytest

from downstage.live.document import Document
from downstage.live.ops import Create, Kind, Op, Order, Remove, Sample, Set
from downstage.live.paths import parent_of, shape_of
from downstage.live.replica import Batch, Replica
from downstage.live.wire import decode, encode

pytestmark = pytest.mark.unit

NAMES = ("A", "B", "C")
PRIMS = ["/" + a for a in NAMES] + [f"/{a}/{b}" for a in NAMES for b in NAMES]
VARIANTS = [p + tail for p in PRIMS[:3] for tail in ("{v=}", "{v=a}", "{v=b}", "{v=a}X")]
PROPERTIES = [p + tail for p in [*PRIMS, "/A{v=a}", "/A{v=a}X"] for tail in (".x", ".y:z")]


def some_op(draw: random.Random) -> Op:  # noqa: PLR0911 one for each kind
    path = draw.choice(PRIMS + VARIANTS + PROPERTIES)
    kind = shape_of(path)
    match draw.randrange(8):
        case 0 | 1 | 2 if kind == "property":
            if draw.random() < 0.2:
                return Create(path, "relationship")
            return Create(path, "attribute", {"typeName": draw.choice([b"f", b"d"])})
        case 0 | 1 | 2 if kind in ("prim", "variants", "variant"):
            return Create(
                path, cast("Kind", kind), {} if draw.random() < 0.5 else {"specifier": b"def"}
            )
        case 3:
            return Remove(path)
        case 4:
            return Order(parent_of(draw.choice(PRIMS)), draw.sample(NAMES, 3))
        case 5 if kind == "property":
            return Sample(path, float(draw.randrange(2)), _value(draw), draw.choice([b"f", b"d"]))
        case _:
            return Set(path, draw.choice("pq"), _value(draw))


def _value(draw: random.Random) -> bytes | None:
    return None if draw.random() < 0.2 else bytes([draw.randrange(9)])


class Desk:
    """One editor: a replica, its layer (which does the steps), its two wires."""

    def __init__(self) -> None:
        self.replica = Replica()
        self.layer = Document()
        self.up: list[Batch] = []
        self.down: list[tuple[bool, Batch]] = []

    def edit(self, draw: random.Random) -> None:
        ops = [some_op(draw) for _ in range(draw.randrange(1, 5))]
        for op in ops:
            self.layer.apply(op)
        self._send(self.replica.local(ops))

    def undo(self) -> None:
        batch, steps = self.replica.undo()
        for step in steps:
            assert self.layer.apply(step) == (step,)
        self._send(batch)

    def hear(self) -> None:
        is_own, batch = self.down.pop(0)
        if is_own:
            self.replica.confirm(batch.n)
            return
        for step in self.replica.remote(batch.ops):
            self.layer.apply(step)

    def settle(self) -> None:
        for step in self.replica.settle():
            self.layer.apply(step)
        assert self.layer == self.replica.shadow

    def _send(self, batch: Batch | None) -> None:
        if batch is not None:
            self.up.append(batch)


def serve(desks: list[Desk], log: list[Op], sender: Desk) -> None:
    batch = sender.up.pop(0)
    ops = tuple(decode(encode(batch.ops)))
    log.extend(ops)
    for desk in desks:
        desk.down.append((desk is sender, Batch(batch.n, ops)))


def play(seed: int, turns: int = 120) -> list[Document]:
    draw = random.Random(seed)
    desks, log = [Desk(), Desk(), Desk()], list[Op]()
    for _ in range(turns):
        desk = draw.choice(desks)
        if draw.random() < 0.1:
            desk.undo()
        elif draw.random() < 0.5:
            desk.edit(draw)
        sender = draw.choice(desks)
        if sender.up and draw.random() < 0.7:
            serve(desks, log, sender)
        hearer = draw.choice(desks)
        for _ in range(draw.randrange(1, 5)):
            if hearer.down:
                hearer.hear()
        hearer.settle()
    for desk in desks:
        while desk.up:
            serve(desks, log, desk)
    for desk in desks:
        while desk.down:
            desk.hear()
        desk.settle()
        assert desk.replica.base == desk.replica.shadow
    return [Document.of(log), *(desk.layer for desk in desks)]


@pytest.mark.parametrize("seed", range(40))
def test_all_end_as_the_server(seed: int) -> None:
    server, *layers = play(seed)
    assert all(layer == server for layer in layers)
