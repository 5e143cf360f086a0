"""What the client's functions take and give: results, entries, contents, requests.

Names and shapes are those of the published 1.x interface; later additions are marked in the
reference. Enumerations are callable from an int and print as ``Result.OK``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, IntFlag
from typing import Self

import msgspec
import msgspec.structs

__all__ = [
    "AccessFlags",
    "AclEntry",
    "ChannelEvent",
    "ConnectionStatus",
    "Content",
    "CopyBehavior",
    "FileStatus",
    "ItemFlags",
    "ListEntry",
    "ListEvent",
    "ListIncludeOption",
    "LogLevel",
    "Registration",
    "Result",
    "ServerInfo",
    "Subscription",
    "UsdLiveMode",
    "WriteFileExInfo",
]

NS = 1_000_000_000


class _Named(IntEnum):
    """An enumeration that prints as its qualified name."""

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    __repr__ = __str__


class _Flags(IntFlag):
    """The same for what may be combined."""

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name or int(self)}"

    __repr__ = __str__


class Result(_Named):
    """How an operation ended. `is_ok` tells good from bad."""

    OK = 0
    OK_LATEST = 1
    """What the caller has is the latest already."""
    OK_NOT_YET_FOUND = 2
    """Nothing there yet; a subscription waits for it."""
    ERROR = 3
    ERROR_CONNECTION = 4
    ERROR_NOT_SUPPORTED = 5
    ERROR_ACCESS_DENIED = 6
    ERROR_NOT_FOUND = 7
    ERROR_BAD_VERSION = 8
    ERROR_ALREADY_EXISTS = 9
    ERROR_ACCESS_LOST = 10
    ERROR_SOURCE_IS_DEST = 11
    ERROR_LOCKED = 12
    ERROR_BAD_REQUEST = 13
    ERROR_FOLDER_NOT_EMPTY = 14
    ERROR_WRONG_TYPE = 15
    ERROR_UNSUPPORTED_VERSION = 16

    @property
    def is_ok(self) -> bool:
        """Whether it ended well."""
        return self < Result.ERROR

    def raise_for_result(self, url: str = "") -> Self:
        """Itself where it ended well.

        Raises:
            PlatformError: the error of the platform's tree that this result stands for.
        """
        if not self.is_ok:
            from downstage.client.outcome import error_of

            raise error_of(self, url)
        return self


class AccessFlags(_Flags):
    """What you may do with a thing."""

    READ = 1
    WRITE = 2
    ADMIN = 4


class ItemFlags(_Flags):
    """What a thing is, and can do."""

    READABLE_FILE = 1
    WRITEABLE_FILE = 2
    CAN_HAVE_CHILDREN = 4
    DOES_NOT_HAVE_CHILDREN = 8
    IS_MOUNT = 16
    IS_INSIDE_MOUNT = 32
    CAN_LIVE_UPDATE = 64
    IS_OMNI_OBJECT = 128
    IS_CHANNEL = 256
    IS_CHECKPOINTED = 512
    IS_DELETED = 1024


NO_ACCESS = AccessFlags(0)
NO_FLAGS = ItemFlags(0)


class ListEvent(_Named):
    """What happened to a thing that is watched."""

    UNKNOWN = 0
    CREATED = 1
    UPDATED = 2
    DELETED = 3
    METADATA = 4
    LOCKED = 5
    UNLOCKED = 6
    OBLITERATED = 7


class ChannelEvent(_Named):
    """What happened in a channel."""

    ERROR = 0
    MESSAGE = 1
    HELLO = 2
    """Somebody who was there already said hello to you."""
    JOIN = 3
    LEFT = 4
    DELETED = 5


class ConnectionStatus(_Named):
    """How a connection to a server stands."""

    CONNECTING = 0
    CONNECTED = 1
    CONNECT_ERROR = 2
    DISCONNECTED = 3
    SIGNED_OUT = 4
    NO_USERNAME = 5
    AUTH_ABORT = 6
    AUTH_CANCELLED = 7
    AUTH_ERROR = 8
    AUTH_FAILED = 9
    SERVER_INCOMPATIBLE = 10
    INVALID_HOST = 11


class FileStatus(_Named):
    """What is being done to a file."""

    READING = 0
    WRITING = 1
    COPYING = 2
    DELETING = 3
    SENDING_UPDATE = 4
    RECEIVED_UPDATE = 5
    MOVING = 6
    OBLITERATING = 7
    LISTING = 8
    STATING = 9


class LogLevel(_Named):
    """How much a message matters."""

    DEBUG = 0
    VERBOSE = 1
    INFO = 2
    WARNING = 3
    ERROR = 4


class UsdLiveMode(_Named):
    """Whether a layer is edited together."""

    DEFAULT = 0
    """As the global mode says."""
    DISABLED = 1
    ENABLED = 2


class CopyBehavior(_Named):
    """What to do where the target exists."""

    ERROR_IF_EXISTS = 0
    OVERWRITE = 1


class ListIncludeOption(_Named):
    """Whether deleted things are listed too."""

    NO_DELETED_FILES = 0
    INCLUDE_DELETED_FILES = 1
    ONLY_DELETED_FILES = 2


def _time(ns: int) -> datetime | None:
    if not ns:
        return None
    seconds, rest = divmod(ns, NS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


class ListEntry(msgspec.Struct, frozen=True, gc=False):
    """One thing, as a listing or `stat` shows it; times are nanoseconds since the epoch."""

    relative_path: str = ""
    """Its path below what was listed; of a checkpoint the query, for example ``&2``."""
    access: AccessFlags = NO_ACCESS
    """What you may do."""
    flags: ItemFlags = NO_FLAGS
    size: int = 0
    """Bytes, of a file."""
    modified_time: int = 0
    created_time: int = 0
    modified_by: str | None = None
    created_by: str | None = None
    version: str | None = None
    """Changes with the content; by the provider a number, a hash or an ETag."""
    comment: str | None = None
    hash: str | None = None
    """BLAKE3 of the bytes, hexadecimal, where the provider knows it."""
    deleted_time: int = 0
    deleted_by: str | None = None
    locked_by: str | None = None
    url: str = ""
    """The whole address, encoded: safe to hand on, whatever the name holds."""

    @property
    def is_folder(self) -> bool:
        """Whether other things can lie in it."""
        return bool(self.flags & ItemFlags.CAN_HAVE_CHILDREN)

    @property
    def modified_datetime(self) -> datetime | None:
        """`modified_time` in UTC; None where unknown."""
        return _time(self.modified_time)

    @property
    def created_datetime(self) -> datetime | None:
        """`created_time` in UTC; None where unknown."""
        return _time(self.created_time)

    @property
    def deleted_datetime(self) -> datetime | None:
        """`deleted_time` in UTC; None where it is not deleted."""
        return _time(self.deleted_time)

    def at(self, url: str, relative_path: str | None = None) -> ListEntry:
        """The same thing under another address."""
        path = self.relative_path if relative_path is None else relative_path
        return msgspec.structs.replace(self, url=url, relative_path=path)


class Content(bytearray):
    """Bytes of a file or message: ``memoryview(content)`` reads them without a copy."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Content of {len(self)} bytes>"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class WriteFileExInfo:
    """What a write made: version and hash of the new content."""

    version: str = ""
    hash: str = ""


@dataclass(frozen=True, slots=True)
class AclEntry:
    """What one user or group may do; `name` is ``user:…``, ``group:…`` or ``everyone``."""

    name: str
    access: AccessFlags
    deny: AccessFlags = NO_ACCESS
    """Rights taken away here, whatever is given above."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server says of itself and of you."""

    version: str = ""
    username: str = ""
    auth_token: str = field(default="", repr=False)
    cache_enabled: bool = False
    checkpoints_enabled: bool = False
    omniojects_enabled: bool = False
    """Live layers; spelt so in the published interface."""
    groups: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    @property
    def omniobjects_enabled(self) -> bool:
        """The same by its right name."""
        return self.omniojects_enabled


class Registration:
    """Something registered; ends with `unregister`, with its block, or with the last reference."""

    __slots__ = ("__weakref__", "_end", "handle")

    def __init__(self, handle: int, end: Callable[[], None]) -> None:
        self.handle = handle
        """Its number; 0 once it has ended."""
        self._end: Callable[[], None] | None = end

    def unregister(self) -> None:
        """End it; nothing is called from here on. Safe to repeat."""
        end, self._end, self.handle = self._end, None, 0
        if end is not None:
            end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unregister()

    def __del__(self) -> None:
        self.unregister()


Subscription = Registration
"""The older name."""
