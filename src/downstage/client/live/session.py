"""The client's half of a live layer's talk, without any wire: messages in, messages out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from downstage.client.live.editor import LiveEditor
from downstage.kernel.ids import new_id
from downstage.live.messages import (
    Durable,
    Ended,
    Held,
    Join,
    Merged,
    Message,
    Ordered,
    People,
    Person,
    Resumed,
    Welcome,
)
from downstage.live.replica import Batch
from downstage.live.wire import decode_trusted, encode

__all__ = ["LiveSession", "Submit"]


@dataclass(frozen=True, slots=True)
class Submit:
    """A batch on its way to the server."""

    epoch: int
    n: int
    ops: bytes


class LiveSession:
    """One membership in a live layer, over any number of connections.

    Args:
        editor: of the layer; used on the thread that calls here.
        on_base: told the etag of another base file, after a merge.
    """

    def __init__(self, editor: LiveEditor, on_base: Callable[[str], None] | None = None) -> None:
        self.editor = editor
        self.client = new_id("live")
        self.epoch = 0
        self.incarnation = ""
        self.seq = 0
        self.time = 0
        """Of the last message that was applied, nanoseconds; 0: none yet."""
        self.base = ""
        self.people: list[Person] = []
        self.may_write = True
        self.is_held = False
        self.is_joined = False
        self.ended: Ended | None = None
        self.outbox: list[Submit] = []
        """To be sent now, oldest first; whoever sends takes them out."""
        self._on_base = on_base

    @property
    def has_pending(self) -> bool:
        """Own edits whose place the server has not told yet."""
        return bool(self.editor.replica.pending) or self.editor.capture.has_changes

    @property
    def is_durable(self) -> bool:
        """Every own edit is on the server's disk."""
        return not self.has_pending and not self.editor.replica.unsure

    def join(self) -> Join:
        """What to say first on a new connection."""
        self.is_joined = False
        self.outbox.clear()
        return Join(self.client, self.epoch, self.incarnation, self.seq)

    def flush(self) -> None:
        """Put own edits since the last call into the outbox."""
        for batch in self.editor.flush():
            self._post(batch)

    def undo(self) -> bool:
        """Take back the last own batch that can be; False: there is none."""
        self.flush()
        batch = self.editor.undo()
        if batch is not None:
            self._post(batch)
        return batch is not None

    def hear(self, message: Message) -> None:
        """One message of the server, in the order they came; `settle` after the last.

        Raises:
            BadMessage: it does not follow from those before; join again.
        """
        if not self.editor.is_behind:
            self.flush()
        match message:
            case Ordered():
                self._take(message)
            case Durable():
                self.editor.replica.durable(message.n)
            case Welcome():
                self._welcome(message)
            case People():
                self.people = message.people
            case Held():
                self.is_held = True
            case Resumed():
                self.is_held = False
                self._post_pending()
            case Merged():
                self._merged(message)
            case Ended():
                self.ended = message
                self.is_joined = False

    def settle(self) -> None:
        """Put what was heard into the layer, before anybody edits it."""
        self.editor.settle()

    def _post(self, batch: Batch) -> None:
        if self.is_joined and not self.is_held:
            self.outbox.append(Submit(self.epoch, batch.n, encode(batch.ops)))

    def _post_pending(self) -> None:
        self.outbox.clear()
        for batch in self.editor.replica.pending:
            self._post(batch)

    def _take(self, batch: Ordered) -> None:
        if batch.client == self.client:
            self.editor.replica.confirm(batch.n)
        else:
            self.editor.remote(decode_trusted(batch.ops))
        self.seq, self.time = batch.seq, batch.time

    def _welcome(self, welcome: Welcome) -> None:
        if welcome.snapshot is None:
            for batch in welcome.batches:
                self._take(batch)
        else:
            self.settle()
            ops = decode_trusted(welcome.snapshot)
            for batch in welcome.batches:
                ops += decode_trusted(batch.ops)
            is_fresh = self.epoch not in (0, welcome.epoch)
            self.editor.restart(ops, welcome.known, fresh=is_fresh)
        self.editor.replica.durable(welcome.durable)
        self.epoch, self.incarnation = welcome.epoch, welcome.incarnation
        self.seq, self.time = welcome.seq, welcome.time
        self.people, self.may_write = welcome.people, welcome.may_write
        self.is_joined, self.is_held, self.ended = True, False, None
        self._rebase(welcome.base)
        self._post_pending()

    def _merged(self, merged: Merged) -> None:
        self.settle()
        replica = self.editor.replica
        known = replica.pending[0].n - 1 if replica.pending else replica.last
        self.editor.restart((), known, fresh=True)
        replica.durable(known)
        self.epoch, self.time, self.is_held = merged.epoch, merged.time, False
        self._rebase(merged.base)
        self._post_pending()

    def _rebase(self, base: str) -> None:
        changed, self.base = self.base not in ("", base), base
        if changed and self._on_base is not None:
            self._on_base(base)
