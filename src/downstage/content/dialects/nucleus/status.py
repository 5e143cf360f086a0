"""Our errors in the wire's words."""

from __future__ import annotations

from typing import Any

from downstage.kernel.errors import (
    AlreadyExists,
    Conflict,
    DeadlineExceeded,
    FolderNotEmpty,
    Forbidden,
    Gone,
    InvalidInput,
    Locked,
    NotFound,
    NotSupported,
    OutOfSpace,
    PlatformError,
    QuotaReached,
    RangeNotSatisfiable,
    SourceIsTarget,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
    VersionMismatch,
    WrongType,
)

__all__ = ["InvalidContentId", "LengthMismatch", "TokenExpired", "failure", "status_of"]


class LengthMismatch(Conflict):
    """An upload has a gap, or another length than was said."""

    code = "length-mismatch"


class InvalidContentId(NotFound):
    """No such upload: expired, of somebody else, or for another path."""


class TokenExpired(Unauthenticated):
    """The token counted once; its holder may get another."""

    code = "token-expired"


_STATUSES: tuple[tuple[type[PlatformError], str], ...] = (
    (InvalidContentId, "INVALID_CONTENT_ID"),
    (NotFound, "INVALID_URI"),
    (Gone, "INVALID_URI"),
    (TokenExpired, "TOKEN_EXPIRED"),
    (Unauthenticated, "UNAUTHENTICATED"),
    (Forbidden, "DENIED"),
    (AlreadyExists, "ALREADY_EXISTS"),
    (FolderNotEmpty, "FOLDER_NOT_EMPTY"),
    (WrongType, "NOT_ASSET"),
    (SourceIsTarget, "INVALID_PARAMETERS"),
    (LengthMismatch, "CONTENT_LENGTH_MISMATCH"),
    (Conflict, "OPERATION_FAILED"),
    (VersionMismatch, "INVALID_ETAG"),
    (Locked, "RESOURCE_BUSY"),
    (InvalidInput, "INVALID_PARAMETERS"),
    (RangeNotSatisfiable, "INVALID_PARAMETERS"),
    (TooLarge, "INVALID_PARAMETERS"),
    (UnsupportedMedia, "INVALID_PARAMETERS"),
    # Clients try again after QUOTA_REACHED; a quota of a folder does not go away by itself.
    (QuotaReached, "DENIED"),
    (OutOfSpace, "QUOTA_REACHED"),
    (NotSupported, "NOT_IMPLEMENTED"),
    (DeadlineExceeded, "TIMEOUT"),
    (TooMany, "SLOW_DOWN"),
    (Unavailable, "SLOW_DOWN"),
)
"""The first class that fits decides: the special ones stand before their bases."""


def status_of(error: PlatformError) -> str:
    """The wire's status for *error*."""
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return "INTERNAL_ERROR"


def failure(error: PlatformError, *, slows_down: bool = True) -> dict[str, Any]:
    """An answer's fields that tell *error*: status, and a `notice` for people.

    Args:
        error: what went wrong.
        slows_down: whether the client said that it knows SLOW_DOWN.
    """
    status = status_of(error)
    fields: dict[str, Any] = {"status": status, "ts": {}, "notice": error.detail}
    if isinstance(error, TooMany | Unavailable):
        fields["backoff_time_ms"] = error.retry_after_s * 1000
        if not slows_down:
            fields["status"] = "QUOTA_REACHED"
    return fields
