"""What server and client of a live layer say to each other: msgpack arrays behind a letter."""

from __future__ import annotations

import msgspec

from downstage.kernel.errors import BadMessage

__all__ = [
    "Durable",
    "Ended",
    "Held",
    "Join",
    "Merged",
    "Message",
    "Ordered",
    "People",
    "Person",
    "Resumed",
    "Welcome",
    "pack",
    "unpack",
]


class Join(msgspec.Struct, frozen=True):
    """A client comes (back): what it has seen last, zero and empty for nothing."""

    client: str
    """Its own name for itself, random, the same after a reconnect."""
    epoch: int = 0
    incarnation: str = ""
    seq: int = 0


class Ordered(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """A batch in its place."""

    seq: int
    time: int
    """When the server took it, nanoseconds since the epoch; always later than the one before."""
    client: str
    n: int
    ops: bytes
    """Empty for the client that sent it: it has them."""


class Person(msgspec.Struct, frozen=True, array_like=True):
    """Somebody who is here."""

    client: str
    name: str


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="w"):
    """Where the layer stands: all of it, or what the client has missed."""

    epoch: int
    """Counts merges: each begins a layer of its own over another base."""
    incarnation: str
    """Changes when the server starts; what it had not on disk by then is forgotten."""
    base: str
    """Etag of the file that the layer lies over."""
    seq: int
    time: int
    known: int
    """The last batch of this client that is in."""
    durable: int
    """The last batch of this client that is on disk."""
    snapshot: bytes | None
    """Ops that make the layer as it was; None: the client has it, and only misses `batches`."""
    batches: list[Ordered]
    people: list[Person]
    may_write: bool = True


class Durable(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """The client's own batches up to `n` are on disk."""

    n: int


class People(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """Who is here now."""

    people: list[Person]


class Held(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    """Somebody merges; batches sent from now on are dropped until it ends."""

    by: str
    seq: int


class Resumed(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """No merge came of it: send what is pending again."""


class Merged(msgspec.Struct, frozen=True, array_like=True, tag="m"):
    """The layer was written into its file and begins again, empty; send what is pending again."""

    epoch: int
    base: str
    checkpoint: int
    by: str
    time: int


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """The server ends this membership; come back with `Join` unless the code says not to."""

    code: str
    detail: str


Message = Ordered | Durable | Welcome | People | Held | Resumed | Merged | Ended

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def pack(message: Message) -> bytes:
    """*message* as bytes."""
    return _encoder.encode(message)


def unpack(data: bytes) -> Message:
    """The message that *data* is.

    Raises:
        BadMessage: it is none.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadMessage("This is no message of a live layer.") from error
