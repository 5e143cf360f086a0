"""One reader's place in its streams."""

from __future__ import annotations

from collections.abc import Mapping

from downstage.streams.model import EntryId

__all__ = ["Subscription"]


class Subscription:
    """What a sink is delivered from, until it is closed."""

    delivered = 0
    """Entries that were given."""
    skipped = 0
    """Entries that were left out, as the wish allows (``latest``)."""

    @property
    def cursors(self) -> Mapping[str, EntryId]:
        """The last id that was given, of each stream: begin again after these."""
        raise NotImplementedError

    @property
    def lag(self) -> int:
        """Entries that are stored and were not given yet, about."""
        raise NotImplementedError

    def wake(self) -> None:
        """The sink is ready again."""
        raise NotImplementedError

    async def close(self) -> None:
        """End; nothing is delivered once this has been called."""
        raise NotImplementedError
