"""What an engine's error replies mean to us: not ready, full, a bad id, or a fault of ours.

::

    PlatformError
    ├── Unavailable
    │   └── NotReady       loading, no quorum, demoted, no answer: a pause, never a client's fault
    │       ├── Lost       the connection broke: whether it was done is not known
    │       └── Moved      another node has that slot now
    ├── StoreFull          the engine's memory limit
    ├── OutOfSpace         its disk
    ├── BadId              an id that is none, or not newer than the last
    └── Refused            anything else; `word` is the engine's own
"""

from __future__ import annotations

from typing import ClassVar

from downstage.kernel.errors import BadId, OutOfSpace, PlatformError, StoreFull, Unavailable

__all__ = ["Lost", "Moved", "NotReady", "Refused", "to_error"]

NOT_READY = frozenset(
    {"LOADING", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "MASTERDOWN", "BUSY", "NOREPLICAS"}
)
LOOK_AGAIN = frozenset({"READONLY", "MASTERDOWN", "CLUSTERDOWN"})
"""Words after which the shape of the engine is looked at again: another node may lead now."""
LONGEST = 200


def _no_memory() -> PlatformError:
    return StoreFull("The engine of streams has reached its memory limit; reading goes on.")


def _no_disk() -> PlatformError:
    return OutOfSpace("The engine of streams cannot write to its disk; reading goes on.")


FULL = {"OOM": _no_memory, "MISCONF": _no_disk}


class NotReady(Unavailable):
    """The engine cannot answer now and will later; `word` is its own, or empty."""

    def __init__(self, detail: str, word: str = "") -> None:
        super().__init__(detail, retry_after_s=1)
        self.word = word


class Lost(NotReady):
    """The connection broke before the answer came.

    `sent` is False where the command surely never left: then it may be sent again.
    """

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent


class Moved(NotReady):
    """Another node has the slot; with `ask` for this one command only."""

    def __init__(self, slot: int, host: str, port: int, *, ask: bool) -> None:
        super().__init__(f"Slot {slot} has moved to another node.", "ASK" if ask else "MOVED")
        self.slot = slot
        self.host = host
        self.port = port
        self.ask = ask


class Refused(PlatformError):
    """The engine refused a command for a reason of no other class."""

    code: ClassVar[str] = "engine-refused"

    def __init__(self, word: str, text: str) -> None:
        super().__init__(f"The engine refused: {text[:LONGEST]}")
        self.word = word
        self.text = text


def to_error(text: str) -> PlatformError:
    """The error that the engine's *text*, such as ``OOM command not allowed …``, stands for."""
    word, _, rest = text.partition(" ")
    if word in NOT_READY:
        return NotReady(f"The engine of streams is not ready: {word.lower()}.", word)
    if word in ("MOVED", "ASK"):
        return _moved(word, rest)
    if word in FULL:
        return FULL[word]()
    if "ID specified" in rest or "stream ID" in rest:
        return BadId("id", "An entry id is ms-seq, and newer than the last one of its stream.")
    return Refused(word, text)


def _moved(word: str, rest: str) -> PlatformError:
    slot, _, place = rest.partition(" ")
    host, _, port = place.rpartition(":")
    if not (slot.isdigit() and port.isdigit()):
        return Refused(word, rest)
    return Moved(int(slot), host, int(port), ask=word == "ASK")
