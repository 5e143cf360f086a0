"""Errors of the platform become results at this edge, and results become errors again."""

from __future__ import annotations

from collections.abc import Mapping

from downstage.client.types import Result
from downstage.kernel import errors

__all__ = ["error_of", "error_of_code", "result_of"]

_RESULTS: tuple[tuple[type[errors.PlatformError], Result], ...] = (
    (errors.AlreadyExists, Result.ERROR_ALREADY_EXISTS),
    (errors.FolderNotEmpty, Result.ERROR_FOLDER_NOT_EMPTY),
    (errors.WrongType, Result.ERROR_WRONG_TYPE),
    (errors.SourceIsTarget, Result.ERROR_SOURCE_IS_DEST),
    (errors.NotFound, Result.ERROR_NOT_FOUND),
    (errors.VersionMismatch, Result.ERROR_BAD_VERSION),
    (errors.Locked, Result.ERROR_LOCKED),
    (errors.Unauthenticated, Result.ERROR_ACCESS_DENIED),
    (errors.Forbidden, Result.ERROR_ACCESS_DENIED),
    (errors.NotSupported, Result.ERROR_NOT_SUPPORTED),
    (errors.UnsupportedMedia, Result.ERROR_UNSUPPORTED_VERSION),
    (errors.InvalidInput, Result.ERROR_BAD_REQUEST),
    (errors.RangeNotSatisfiable, Result.ERROR_BAD_REQUEST),
    (errors.Unavailable, Result.ERROR_CONNECTION),
    (errors.Upstream, Result.ERROR_CONNECTION),
    (errors.TooMany, Result.ERROR_CONNECTION),
    (errors.DeadlineExceeded, Result.ERROR_CONNECTION),
)
"""The first that fits counts; what is not here is ERROR."""

_ERRORS: Mapping[Result, tuple[type[errors.PlatformError], str]] = {
    Result.ERROR_CONNECTION: (errors.Unavailable, "The server cannot be reached."),
    Result.ERROR_NOT_SUPPORTED: (errors.NotSupported, "This kind of place cannot do that."),
    Result.ERROR_ACCESS_DENIED: (errors.Forbidden, "You may not do that there."),
    Result.ERROR_NOT_FOUND: (errors.NotFound, "There is nothing there."),
    Result.ERROR_BAD_VERSION: (errors.VersionMismatch, "It changed meanwhile."),
    Result.ERROR_ALREADY_EXISTS: (errors.AlreadyExists, "Something is there already."),
    Result.ERROR_ACCESS_LOST: (errors.Forbidden, "It may no longer be seen."),
    Result.ERROR_SOURCE_IS_DEST: (errors.SourceIsTarget, "Source and target are one."),
    Result.ERROR_LOCKED: (errors.Locked, "Somebody else has it locked."),
    Result.ERROR_BAD_REQUEST: (errors.InvalidInput, "The request is out of form."),
    Result.ERROR_FOLDER_NOT_EMPTY: (errors.FolderNotEmpty, "The folder holds something."),
    Result.ERROR_WRONG_TYPE: (errors.WrongType, "A folder where a file is needed, or reverse."),
    Result.ERROR_UNSUPPORTED_VERSION: (errors.UnsupportedMedia, "The server is too old or new."),
}


def result_of(error: BaseException) -> Result:
    """What a caller is told of *error*."""
    for kind, result in _RESULTS:
        if isinstance(error, kind):
            return result
    return Result.ERROR


def error_of(result: Result, url: str = "") -> errors.PlatformError:
    """An error that says what *result* says."""
    kind, detail = _ERRORS.get(result, (errors.PlatformError, "The operation failed."))
    return kind(f"{detail} ({url})" if url else detail)


def error_of_code(code: str, detail: str) -> errors.PlatformError:
    """The error that a server named by its stable *code*; an unknown one is the plain base."""
    kind = _BY_CODE.get(code, errors.PlatformError)
    if kind is errors.BadId:
        return errors.BadId("id", detail)
    if kind is errors.InvalidField:
        return errors.InvalidInput(detail)
    return kind(detail)


def _tree(kind: type[errors.PlatformError]) -> list[type[errors.PlatformError]]:
    below = [kind]
    for child in kind.__subclasses__():
        below += _tree(child)
    return below


_BY_CODE = {
    kind.__dict__["code"]: kind for kind in _tree(errors.PlatformError) if "code" in kind.__dict__
}
