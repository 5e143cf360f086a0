"""Which codecs are encoded, and at what rate: pure, from what the viewers need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from downstage.media.frame import Codec

__all__ = ["Need", "rates", "wanted"]


@dataclass(frozen=True, slots=True)
class Need:
    """What one viewer needs."""

    codec: Codec
    watches: bool
    """Its path is open and its page is shown."""
    kbps: int


def wanted(needs: Iterable[Need], *, always: Codec | None = None) -> frozenset[Codec]:
    """Codecs that somebody watches; *always* is encoded even where nobody does."""
    codecs: set[Codec] = {need.codec for need in needs if need.watches}
    if always is not None:
        codecs.add(always)
    return frozenset(codecs)


def rates(needs: Iterable[Need]) -> dict[Codec, int]:
    """One encoder serves all who watch a codec, so the slowest of them decides its rate."""
    slowest: dict[Codec, int] = {}
    for need in needs:
        if need.watches:
            slowest[need.codec] = min(need.kbps, slowest.get(need.codec, need.kbps))
    return slowest
