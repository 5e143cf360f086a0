"""What a call through `AsyncClient` may raise; the same locally and remotely.

::

    BaseServiceError                 any answer >= 400, any failure of the transport
    ├── ServiceNotFoundError         404
    └── ServiceUnavailableError      503, refused connection, broken-off answer
        └── ServiceTimeoutError      no answer in time
    TransportNotFoundError           (ValueError) unknown scheme
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import ceil
from typing import cast

__all__ = [
    "BaseServiceError",
    "ServiceNotFoundError",
    "ServiceTimeoutError",
    "ServiceUnavailableError",
    "TransportNotFoundError",
    "retry_after_s",
]


class BaseServiceError(Exception):
    """A service answered with an error, or could not be reached.

    Attributes:
        status: HTTP status; None where no answer came.
        headers: of the answer, names in lower case.
        body: decoded body (object, text or bytes) or None.
        problem: the RFC 9457 object, where the body was one.
        request_id: correlation id of the call, where known.
        method, url: of the call; the URL holds no secrets.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        method: str = "",
        url: str = "",
    ) -> None:
        super().__init__(text)
        self.status = status
        self.headers = dict(headers or {})
        self.body = body
        self.method = method
        self.url = url
        is_problem = isinstance(body, dict) and ("title" in body or "code" in body)
        self.problem = cast("dict[str, object]", body) if is_problem else None
        self.request_id = self.headers.get("x-request-id")

    @property
    def code(self) -> str | None:
        """The problem's stable code, for example ``capacity``."""
        code = self.problem.get("code") if self.problem else None
        return code if isinstance(code, str) else None

    @property
    def detail(self) -> str:
        """The problem's sentence for a person, else the error's own text."""
        detail = self.problem.get("detail") if self.problem else None
        return detail if isinstance(detail, str) else str(self)

    @property
    def retry_after(self) -> int | None:
        """Whole seconds of a Retry-After header, given as a number or as a date."""
        return retry_after_s(self.headers)


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> int | None:
    """Seconds until a Retry-After header of *headers* lets us ask again; None without one."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return int(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # a year or a zone beyond all measure
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, ceil((moment - (now or datetime.now(UTC))).total_seconds()))


class ServiceNotFoundError(BaseServiceError):
    """404: absent, or not yours."""


class ServiceUnavailableError(BaseServiceError):
    """503, connection refused, an answer that broke off: a later try may work."""


class ServiceTimeoutError(ServiceUnavailableError):
    """No answer came in time: the call's own deadline, or the longest silence allowed."""


class TransportNotFoundError(ValueError):
    """No transport is registered for the URI's scheme."""
