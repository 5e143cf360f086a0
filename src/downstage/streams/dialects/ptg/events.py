"""Events of the dialect's own things: entries of streams that are read like any other.

Who may read or change recipes and sessions is said by the same patterns: by the right to the stream
that tells of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from downstage.kernel.errors import Forbidden
from downstage.streams.model import AUTO, Caller, Right
from downstage.streams.service import Streams

__all__ = ["RECIPES", "RECIPE_ID", "RECIPE_STEP", "SESSIONS", "SESSION_ID", "Events"]

RECIPES: Final = "event:recipes"
SESSIONS: Final = "event:sessions"
RECIPE_ID: Final = "event:recipe:id"
RECIPE_STEP: Final = "event:recipe:step"
SESSION_ID: Final = "event:session:id"


class Events:
    """Tells what happened.

    Args:
        streams: where.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    def may(self, caller: Caller, stream: str, right: Right) -> None:
        """Return if *caller* holds *right* on *stream*, and so on what it tells of.

        Raises:
            Forbidden: not.
        """
        if right not in caller.rights(stream):
            word = (right.name or "").lower()
            raise Forbidden(f"This token may not {word} {stream}.", stream=stream)

    async def tell(self, caller: Caller, *said: tuple[str, str]) -> list[str]:
        """Add texts to streams, all or none; their ids, in order.

        Raises:
            Forbidden: not into one of them.
            StoreFull, Unavailable: the store takes nothing just now.
        """
        items = [(stream, AUTO, text.encode("utf-8", "surrogatepass")) for stream, text in said]
        receipt = await self._streams.append(caller, items)
        return [id_.decode("ascii") for id_ in receipt.ids]

    async def tell_change(
        self, caller: Caller, stream: str, what: str, id_: str, data: Any = None
    ) -> Sequence[str]:
        """Say that a document is new, was updated or deleted."""
        said: dict[str, Any] = {"event": what, "id": id_}
        if data is not None:
            said["data"] = data
        return await self.tell(caller, (stream, json.dumps(said, separators=(",", ":"))))
