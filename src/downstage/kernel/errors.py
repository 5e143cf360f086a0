"""The one tree of errors that may leave the process.

::

    PlatformError                    internal              500
    ├── InvalidInput                 invalid-input         400
    │   ├── BadUrl                   bad-url               400   a path or address out of form
    │   ├── InvalidField             invalid-field         422   names the field
    │   │   └── BadId                bad-id                422   no entry id, or not a newer one
    │   └── BadMessage               bad-message           400   a socket message out of form
    │       └── BadFrame             bad-frame             400   a batch out of form
    ├── Unauthenticated              unauthenticated       401
    │   └── InvalidToken             invalid-token         401   one message for every cause
    ├── Forbidden                    forbidden             403
    │   └── SessionQuota             session-quota         403   as many sessions as one may have
    ├── NotFound                     not-found             404   absent, or not yours
    ├── Conflict                     conflict              409
    │   ├── AlreadyExists            already-exists        409
    │   ├── FolderNotEmpty           folder-not-empty      409
    │   ├── WrongType                wrong-type            409   a folder where a file is needed
    │   ├── SourceIsTarget           source-is-target      409   onto itself, or into itself
    │   └── DurabilityUnavailable    durability-unavailable 409  the engine cannot promise that
    ├── Misdirected                  misdirected           421   another gateway is at home
    ├── Gone                         gone                  410   was there; read again from start
    │   └── Lagged                   lagged                410   the reader was too slow
    ├── VersionMismatch              version-mismatch      412   changed meanwhile, nothing written
    ├── TooLarge                     too-large             413
    ├── UnsupportedMedia             unsupported-media     415   a content coding not known here
    ├── RangeNotSatisfiable          range                 416
    ├── Locked                       locked                423   by somebody else
    ├── TooMany                      too-many              429   with Retry-After
    ├── Unavailable                  unavailable           503   with Retry-After
    │   └── NoCapacity               capacity              503
    ├── Upstream                     upstream              502   another service failed
    ├── NotSupported                 not-supported         501   not by this kind of thing
    ├── DeadlineExceeded             deadline              504
    ├── Damaged                      damaged               500   stored bytes changed on the disk
    ├── OutOfSpace                   out-of-space          507   the disk is full
    │   ├── QuotaReached             quota                 507
    │   └── StoreFull                memory-limit          507   the engine of streams is full
    └── SetupError                   setup                 500   the installation is at fault

`code` is stable and documented; `status` is its HTTP status. `problem` renders RFC 9457.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AlreadyExists",
    "BadFrame",
    "BadId",
    "BadMessage",
    "BadUrl",
    "Conflict",
    "Damaged",
    "DeadlineExceeded",
    "DurabilityUnavailable",
    "FolderNotEmpty",
    "Forbidden",
    "Gone",
    "InvalidField",
    "InvalidInput",
    "InvalidToken",
    "Lagged",
    "Locked",
    "Misdirected",
    "NoCapacity",
    "NotFound",
    "NotSupported",
    "OutOfSpace",
    "PlatformError",
    "QuotaReached",
    "RangeNotSatisfiable",
    "SessionQuota",
    "SetupError",
    "SourceIsTarget",
    "StoreFull",
    "TooLarge",
    "TooMany",
    "Unauthenticated",
    "Unavailable",
    "UnsupportedMedia",
    "Upstream",
    "VersionMismatch",
    "WrongType",
    "problem",
]


class PlatformError(Exception):
    """Base of every error that may leave the process.

    Args:
        detail: one sentence for a person: what is wrong and, where known, what to do.
        context: facts that help to find the cause; never a secret.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong here"

    def __init__(self, detail: str, **context: str | int | float | bool | None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.context = context


class InvalidInput(PlatformError):
    """The request is malformed; repeating it cannot help."""

    code = "invalid-input"
    status = 400
    title = "The request is malformed"


class BadUrl(InvalidInput):
    """A path or an address that names nothing here, whatever is stored."""

    code = "bad-url"
    title = "That is no address here"


class InvalidField(InvalidInput):
    """One field is wrong; `field` is its path, for example ``spec.user_ports``."""

    code = "invalid-field"
    status = 422
    title = "A field is not acceptable"

    def __init__(self, field: str, detail: str, **context: str | int | float | bool | None) -> None:
        super().__init__(detail, field=field, **context)
        self.field = field


class BadMessage(InvalidInput):
    """A message on a socket is out of form."""

    code = "bad-message"


class BadFrame(BadMessage):
    """A batch whose header and body do not fit each other."""

    code = "bad-frame"


class BadId(InvalidField):
    """An entry id that is none, or that is not newer than what is there."""

    code = "bad-id"


class Unauthenticated(PlatformError):
    """No valid proof of who is asking."""

    code = "unauthenticated"
    status = 401
    title = "Sign in first"


class InvalidToken(Unauthenticated):
    """The token or ticket does not count; why is not told."""

    code = "invalid-token"

    def __init__(self, detail: str = "The token is not valid.", **context: str | int) -> None:
        super().__init__(detail, **context)


class Forbidden(PlatformError):
    """Known, but not allowed."""

    code = "forbidden"
    status = 403
    title = "Not allowed"


class SessionQuota(Forbidden):
    """As many sessions as this person may have at once; `limit`, and which one is the oldest."""

    code = "session-quota"
    title = "You have as many sessions as you may"


class NotFound(PlatformError):
    """Absent, or not yours: the two look the same."""

    code = "not-found"
    status = 404
    title = "There is no such thing"


class Conflict(PlatformError):
    """The state of the thing does not allow it."""

    code = "conflict"
    status = 409
    title = "That does not fit the present state"


class AlreadyExists(Conflict):
    """Something is there already."""

    code = "already-exists"


class FolderNotEmpty(Conflict):
    """A folder that was to be empty holds something."""

    code = "folder-not-empty"


class WrongType(Conflict):
    """A folder where a file is needed, or the reverse."""

    code = "wrong-type"


class SourceIsTarget(Conflict):
    """A copy or move onto itself, or into its own subtree."""

    code = "source-is-target"


class DurabilityUnavailable(Conflict):
    """The engine cannot promise what was asked for."""

    code = "durability-unavailable"


class Misdirected(PlatformError):
    """Another gateway is at home here; ``home`` in the problem says which."""

    code = "misdirected"
    status = 421
    title = "Ask another gateway"

    def __init__(self, home: str, detail: str = "") -> None:
        super().__init__(detail or f"This session is driven by {home}.", home=home)
        self.home = home


class Gone(PlatformError):
    """It was there once; what is asked for must be read again from the start."""

    code = "gone"
    status = 410
    title = "No longer there"


class Lagged(Gone):
    """What comes next was removed already: the reader was too slow."""

    code = "lagged"


class VersionMismatch(PlatformError):
    """It changed meanwhile; nothing was written."""

    code = "version-mismatch"
    status = 412
    title = "It changed meanwhile"


class TooLarge(PlatformError):
    """More bytes than are taken."""

    code = "too-large"
    status = 413
    title = "Too large"


class UnsupportedMedia(PlatformError):
    """A body in a form that is not taken here."""

    code = "unsupported-media"
    status = 415
    title = "That form is not taken here"


class RangeNotSatisfiable(PlatformError):
    """The range asked for lies outside of the file; `size` goes to Content-Range."""

    code = "range"
    status = 416
    title = "No such range"


class Locked(PlatformError):
    """Somebody else holds the lock."""

    code = "locked"
    status = 423
    title = "Locked by somebody else"


class NotSupported(PlatformError):
    """This kind of thing cannot do that."""

    code = "not-supported"
    status = 501
    title = "Not supported here"


class Damaged(PlatformError):
    """What is stored is no longer what was stored; it is not served."""

    code = "damaged"
    title = "The stored bytes are damaged"


class OutOfSpace(PlatformError):
    """The disk is full; nothing was written, reading goes on."""

    code = "out-of-space"
    status = 507
    title = "No space left"


class QuotaReached(OutOfSpace):
    """More than this folder may hold."""

    code = "quota"
    title = "The quota is reached"


class StoreFull(OutOfSpace):
    """The engine of streams has reached its memory limit."""

    code = "memory-limit"


class _Later(PlatformError):
    """Base of errors that a later try may cure; `retry_after_s` goes to Retry-After."""

    def __init__(
        self, detail: str, *, retry_after_s: int = 5, **context: str | int | float | bool | None
    ) -> None:
        super().__init__(detail, **context)
        self.retry_after_s = retry_after_s


class TooMany(_Later):
    """Asked too often."""

    code = "too-many"
    status = 429
    title = "Too many requests"


class Unavailable(_Later):
    """A part that is needed does not answer."""

    code = "unavailable"
    status = 503
    title = "Not available just now"


class NoCapacity(Unavailable):
    """Every slot is taken."""

    code = "capacity"
    title = "Every place is taken"


class Upstream(PlatformError):
    """Another service, asked for this request, answered with an error that is not the caller's."""

    code = "upstream"
    status = 502
    title = "Another service failed"


class DeadlineExceeded(PlatformError):
    """It took longer than it may."""

    code = "deadline"
    status = 504
    title = "It took too long"


class SetupError(PlatformError):
    """The installation or its settings are at fault; nothing was started."""

    code = "setup"
    title = "The set-up needs a change"


def problem(error: PlatformError, *, request_id: str | None = None) -> dict[str, object]:
    """RFC 9457 problem object for *error*; ``message`` repeats the detail for older clients."""
    body: dict[str, object] = {
        "type": f"urn:downstage:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        "message": error.detail,
    }
    body.update({key: value for key, value in error.context.items() if key not in body})
    if request_id is not None:
        body["request_id"] = request_id
    return body
