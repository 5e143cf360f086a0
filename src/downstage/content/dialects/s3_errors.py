"""Errors as S3 tells them: a code, a status, a document of XML."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

from downstage.kernel import errors
from downstage.kernel.errors import PlatformError

__all__ = ["S3Error", "error_body", "translated"]


class S3Error(Exception):
    """A refusal in S3's own words."""

    def __init__(self, code: str, status: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.status = status
        self.message = message


CODES: tuple[tuple[type[PlatformError], str, int], ...] = (
    (errors.BadUrl, "InvalidURI", 400),
    (errors.InvalidInput, "InvalidRequest", 400),
    (errors.Unauthenticated, "InvalidAccessKeyId", 403),
    (errors.Forbidden, "AccessDenied", 403),
    (errors.NotFound, "NoSuchKey", 404),
    (errors.FolderNotEmpty, "BucketNotEmpty", 409),
    (errors.AlreadyExists, "OperationAborted", 409),
    (errors.Conflict, "OperationAborted", 409),
    (errors.VersionMismatch, "PreconditionFailed", 412),
    (errors.TooLarge, "EntityTooLarge", 413),
    (errors.RangeNotSatisfiable, "InvalidRange", 416),
    (errors.Locked, "ObjectLocked", 423),
    (errors.TooMany, "SlowDown", 503),
    (errors.Unavailable, "ServiceUnavailable", 503),
    (errors.NotSupported, "NotImplemented", 501),
    (errors.DeadlineExceeded, "RequestTimeout", 400),
    (errors.QuotaReached, "QuotaExceeded", 507),
    (errors.OutOfSpace, "InsufficientStorage", 507),
)
"""The first class that fits counts."""


def translated(error: PlatformError) -> S3Error:
    """*error* in S3's words."""
    for kind, code, status in CODES:
        if isinstance(error, kind):
            return S3Error(code, status, error.detail)
    return S3Error("InternalError", 500, error.title)


def error_body(error: S3Error, resource: str, request_id: str) -> bytes:
    """The document that tells of *error*."""
    root = Element("Error")
    for name, text in (
        ("Code", error.code),
        ("Message", error.message),
        ("Resource", resource),
        ("RequestId", request_id),
    ):
        SubElement(root, name).text = text
    return tostring(root, encoding="utf-8", xml_declaration=True)
