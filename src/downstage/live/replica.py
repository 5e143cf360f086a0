"""A client's view of a live document: what the server has, and its own ops laid over it.

After `settle`, ``shadow`` is ``base`` with ``pending`` applied, and the layer is the shadow. A
remote batch goes to the base; where it meets nothing pending it goes to the shadow as it is, else
the specs and orders that both touch are made anew from the base, once for all batches that came.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from downstage.kernel.errors import BadMessage
from downstage.live.difference import difference, order_of
from downstage.live.document import Document, Spec, arranged
from downstage.live.inverse import Inverse, invert, still_holds
from downstage.live.ops import Create, Op, Order, Remove, Sample, Set
from downstage.live.paths import ancestors, parent_of

__all__ = ["Batch", "Replica"]

UNDO_DEPTH = 64
"""Own batches that can be undone."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Own ops that went out together; `n` counts up from 1 without a hole."""

    n: int
    ops: tuple[Op, ...]


class Replica:
    """Base, pending and shadow of one live layer.

    Args:
        n: number of the last batch that was ever sent under this client's name.
    """

    def __init__(self, n: int = 0) -> None:
        self.base = Document()
        self.shadow = Document()
        self.pending: deque[Batch] = deque()
        """Own batches whose place in the order is not known yet."""
        self.unsure: deque[Batch] = deque()
        """Own batches in their place, which the server may still forget if it is killed."""
        self.rebases = 0
        """How often remote ops met pending ones."""
        self._n = n
        self._undo: deque[list[Inverse]] = deque(maxlen=UNDO_DEPTH)
        self._touch = _Touched()
        self._deep = set[str]()
        """Paths to make anew, with all below."""
        self._lists = set[str]()
        """Paths whose order of prims is to be made anew."""

    @property
    def last(self) -> int:
        """Number of the last own batch."""
        return self._n

    # Own ---------------------------------------------------------------------------------------

    def local(self, ops: Iterable[Op], *, undoable: bool = True) -> Batch | None:
        """Ops that the layer has already; the batch to send, None where they change nothing."""
        done, inverses = list[Op](), list[Inverse]()
        for op in ops:
            for step in self.shadow.resolve(op):
                if undoable:
                    inverses.append(invert(self.shadow, step))
                self.shadow.do(step)
                done.append(step)
        if not done:
            return None
        self._n += 1
        batch = Batch(self._n, tuple(done))
        self.pending.append(batch)
        self._touch.add(batch.ops)
        if undoable:
            self._undo.append(inverses)
        return batch

    def undo(self) -> tuple[Batch | None, list[Op]]:
        """Take back the last own batch, where nobody has changed the same since.

        Returns:
            The batch to send (None: there was nothing to take back), and the steps for the layer.
        """
        while self._undo:
            # Lazily: whether a step can go back shows only once those after it have.
            inverses = reversed(self._undo.pop())
            ops = (
                op
                for inverse in inverses
                if still_holds(self.shadow, inverse)
                for op in inverse.ops
            )
            batch = self.local(ops, undoable=False)
            if batch is not None:
                return batch, list(batch.ops)
        return None, []

    def confirm(self, n: int) -> None:
        """The server put own batch *n* in its place.

        Raises:
            BadMessage: another one was due.
        """
        if not self.pending or self.pending[0].n != n:
            raise BadMessage("The server confirmed a batch that was not due.", n=n)
        batch = self.pending.popleft()
        self._touch.drop(batch.ops)
        for op in batch.ops:
            self.base.apply(op)
        self.unsure.append(batch)

    def durable(self, n: int) -> None:
        """Own batches up to *n* are on the server's disk."""
        while self.unsure and self.unsure[0].n <= n:
            self.unsure.popleft()

    # Others' -----------------------------------------------------------------------------------

    def remote(self, ops: Iterable[Op]) -> list[Op]:
        """Ops of somebody else, in the server's order; steps that the layer has to do.

        It has to do those of `settle` as well, before anything is edited.
        """
        steps = list[Op]()
        for op in ops:
            self.base.apply(op)
            if self._deep and not self._deep.isdisjoint(ancestors(op.path)):
                continue
            if not self.pending or not self._meets(op, self._deep, self._lists):
                steps += self.shadow.apply(op)
        return steps

    def settle(self) -> list[Op]:
        """Make anew what remote and own ops both touched; the steps that the layer has to do."""
        if not (self._deep or self._lists):
            return []
        deep, lists = self._deep, self._lists
        self._deep, self._lists = set[str](), set[str]()
        self.rebases += 1
        return self._rebase(deep, lists)

    def restart(self, ops: Iterable[Op], known: int, *, fresh: bool = False) -> list[Op]:
        """Begin again from a snapshot; own batches after *known* stay pending.

        Args:
            ops: the snapshot.
            known: last own batch that is in the snapshot.
            fresh: a new epoch, whose snapshot is of another base file: unconfirmed ops are kept
                with all that they need to stand alone, and nothing before can be undone.

        Returns:
            The steps that the layer has to do; then every batch of `pending` is to be sent.
        """
        own = (*self.unsure, *self.pending)
        waiting = [batch for batch in own if batch.n > known]
        if fresh:
            waiting = [Batch(batch.n, grounded(batch.ops, self.shadow)) for batch in waiting]
            self._undo.clear()
        self._deep.clear()
        self._lists.clear()
        self.base = Document.of(ops)
        self.unsure = deque(batch for batch in own if batch.n <= known)
        self.pending = deque(waiting)
        self._touch = _Touched()
        target = Document.of(self.base.snapshot())
        for batch in waiting:
            self._touch.add(batch.ops)
            for op in batch.ops:
                target.apply(op)
        steps = list(difference(self.shadow, target))
        self.shadow = target
        return steps

    def _meets(self, op: Op, deep: set[str], lists: set[str]) -> bool:
        """Whether *op* and what is pending touch the same; notes what must be made anew."""
        touch = self._touch
        top = touch.made_above(op.path)
        if top is not None:
            deep.add(top)
            lists.add(parent_of(top))
            return True
        match op:
            case Set() | Sample():
                key = op.field if isinstance(op, Set) else op.time
                if (op.path, key) not in touch.values:
                    return False
                if op.guard is not None:  # the pending one may be of a type that is gone
                    deep.add(op.path)
                return True
            case Order():
                return _note(op.path, lists) if touch.arranged[op.path] else False
            case Create() | Remove():
                holder = parent_of(op.path)
                if touch.below[op.path]:
                    deep.add(op.path)
                    return _note(holder, lists)
                if touch.arranged[holder]:
                    lists.add(holder)
                return False

    def _rebase(self, deep: set[str], lists: set[str]) -> list[Op]:
        roots = [path for path in deep if deep.isdisjoint(ancestors(path)[1:])]
        target, within = Document(), set(roots)
        for root in roots:
            self._lay_base(target, root)
        orders = {path: self._base_prims(path) for path in lists}
        for batch in self.pending:
            for op in batch.ops:
                if not within.isdisjoint(ancestors(op.path)):
                    target.apply(op)
                _arrange(orders, op)
        steps = list[Op]()
        for root in sorted(roots):
            steps += self._do(difference(self.shadow, target, root))
        for path, prims in sorted(orders.items()):
            spec = self.shadow.specs.get(path)
            if spec is not None and list(spec.prims) != list(prims):
                steps += self._do([order_of(path, Spec(spec.kind, prims=prims))])
        return steps

    def _lay_base(self, target: Document, root: str) -> None:
        """Put *root* as the base has it into *target*, under bare holders."""
        for path in reversed(ancestors(root)[1:]):
            spec = self.base.specs.get(path)
            if spec is not None and path not in target.specs:
                target.apply(Create(path, spec.kind))
        for op in self.base.snapshot(root):
            target.apply(op)

    def _base_prims(self, path: str) -> dict[str, None]:
        spec = self.base.specs.get(path)
        return dict(spec.prims) if spec is not None else {}

    def _do(self, ops: Iterable[Op]) -> list[Op]:
        steps = list[Op]()
        for op in list(ops):
            steps += self.shadow.apply(op)
        return steps


def _note(path: str, lists: set[str]) -> bool:
    lists.add(path)
    return True


def _arrange(orders: dict[str, dict[str, None]], op: Op) -> None:
    """What a pending op does to the lists of prims that are made anew."""
    match op:
        case Order() if op.path in orders:
            orders[op.path] = arranged(orders[op.path], op)
        case Create() if op.kind == "prim" and (holder := parent_of(op.path)) in orders:
            orders[holder].setdefault(op.path)
        case Remove() if (holder := parent_of(op.path)) in orders:
            orders[holder].pop(op.path, None)
        case _:
            pass


def grounded(ops: Sequence[Op], document: Document) -> tuple[Op, ...]:
    """*ops* with whatever holds their specs, as *document* has it, made before them."""
    made, result = set[str](), list[Op]()
    for op in ops:
        for path in reversed(ancestors(op.path)[:-1]):
            spec = document.specs.get(path)
            if path in made or spec is None:
                continue
            made.add(path)
            if not (isinstance(op, Create) and path == op.path):
                kept = {"typeName", "variability", "custom"} if spec.kind != "prim" else set[str]()
                fields = {name: value for name, value in spec.fields.items() if name in kept}
                result.append(Create(path, spec.kind, fields))
        result.append(op)
    return tuple(result)


class _Touched:
    """What pending ops touch, counted so that batches can go as they came."""

    def __init__(self) -> None:
        self.values: Counter[tuple[str, str | float]] = Counter()
        self.made: Counter[str] = Counter()
        """Paths created or removed."""
        self.arranged: Counter[str] = Counter()
        """Paths whose list of children changes."""
        self.below: Counter[str] = Counter()
        """Paths at or under which anything changes."""

    def add(self, ops: Iterable[Op]) -> None:
        """Count *ops*."""
        self._count(ops, 1)

    def drop(self, ops: Iterable[Op]) -> None:
        """Count them no more."""
        self._count(ops, -1)

    def made_above(self, path: str) -> str | None:
        """The topmost of *path* and its holders that is created or removed."""
        if not self.made:
            return None
        return next((p for p in reversed(ancestors(path)) if self.made[p]), None)

    def _count(self, ops: Iterable[Op], by: int) -> None:
        for op in ops:
            match op:
                case Set():
                    _add(self.values, (op.path, op.field), by)
                case Sample():
                    _add(self.values, (op.path, op.time), by)
                case Order():
                    _add(self.arranged, op.path, by)
                case Create() | Remove():
                    _add(self.made, op.path, by)
                    _add(self.arranged, parent_of(op.path), by)
            for path in ancestors(op.path):
                _add(self.below, path, by)


_Key = TypeVar("_Key", bound=Hashable)


def _add(counter: Counter[_Key], key: _Key, by: int) -> None:
    count = counter[key] + by
    if count:
        counter[key] = count
    else:
        del counter[key]
