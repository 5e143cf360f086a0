"""Streams that come and go while they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from downstage.kernel.errors import PlatformError
from downstage.streams import names
from downstage.streams.fanout import Fanout
from downstage.streams.index import Change, Index
from downstage.streams.model import EntryId, Right
from downstage.streams.part import Part
from downstage.streams.parts import Parts
from downstage.streams.reading import MOST_STREAMS
from downstage.streams.subscription import Followed, Subscription
from downstage.streams.tail import last_id
from downstage.streams.watching import Watch, id_key

if TYPE_CHECKING:
    from downstage.streams.catchup import CatchUp

__all__ = ["Arrivals"]

ZERO = b"0-0"


class Arrivals:
    """Lets streams join where a pattern finds them, and begin anew after they were deleted."""

    def __init__(self, parts: Parts, index: Index, fanout: Fanout, catch_up: CatchUp) -> None:
        self._parts = parts
        self._index = index
        self._fanout = fanout
        self._catch_up = catch_up
        index.on_change.add(self._changed)

    def _changed(self, change: Change) -> None:
        if change.what == "made":
            for subscription in tuple(self._catch_up.all):
                if subscription.caller.tenant == change.tenant:
                    self._made(subscription, change.stream)
        elif change.what == "gone":
            self._catch_up.spawn(self._gone(change))

    def _made(self, subscription: Subscription, name: str) -> None:
        """A stream was made: it joins where a pattern finds it, from its first entry."""
        known = subscription.streams.get(name)
        catalog = self._index.cached(subscription.caller.tenant)
        if catalog is None:
            return
        part = self._parts.of(catalog.tenant, name, catalog.spec(name))
        if known is not None and known.part is part:
            return
        if known is None and not self._is_wished(subscription, name):
            return
        subscription.leave()
        if known is not None:
            self._catch_up.unfollow(subscription, known)
        key = part.keys.stream(catalog.tenant, name)
        subscription.streams[name] = Followed(name, part, key, ZERO, subscription.wish.max_fps)
        self._catch_up.start(subscription)

    @staticmethod
    def _is_wished(subscription: Subscription, name: str) -> bool:
        return (
            len(subscription.streams) < 2 * MOST_STREAMS
            and any(names.matcher(pattern).match(name) for pattern in subscription.wish.patterns)
            and Right.READ in subscription.caller.rights(name)
        )

    async def _gone(self, change: Change) -> None:
        """A stream was deleted: should it come again its ids may begin anywhere."""
        for part in self._parts.all:
            watch = self._fanout.find(part, part.keys.stream(change.tenant, change.stream))
            if watch is None:
                continue
            try:
                last, position = await self._ends(part, watch)
            except PlatformError:
                return  # the reader looks for itself once the engine is there again
            is_followed = self._fanout.find(part, watch.key) is watch
            if is_followed and id_key(bytes(last)) < id_key(position):
                self._fanout.restart(watch)
                for user in watch.users:
                    user.reset(watch)

    @staticmethod
    async def _ends(part: Part, watch: Watch) -> tuple[EntryId, bytes]:
        """The last id of a stream, and how far its reader is: it did not go on meanwhile.

        Where it did, what it gave came after the deletion, or else was on its way before that; to
        begin anew then could give it twice.
        """
        while True:
            position = watch.position
            last = await last_id(part.command, watch.key)
            if watch.position == position:
                return last, position
