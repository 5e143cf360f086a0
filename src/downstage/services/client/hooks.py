"""One mechanism for whatever wants to see or change calls: tracing, metrics, authorisation."""

from __future__ import annotations

from typing import Protocol

from downstage.services.client.outgoing import Outgoing
from downstage.services.errors import BaseServiceError

__all__ = ["Answered", "Hook"]


class Answered(Protocol):
    """What hooks see of an answer: its head."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> dict[str, str]:
        """Header fields, names in lower case."""
        ...


class Hook:
    """Called around each attempt of each call, in the order given; after it in reverse.

    A hook may be shared by clients and is called for many calls at once: what belongs to one call
    goes into its ``request.notes``.
    """

    async def before(self, request: Outgoing) -> None:
        """Before it is sent; headers may be changed. Raising ends the call."""

    async def after(self, request: Outgoing, answer: Answered) -> bool:
        """After the head of an answer has come.

        Returns:
            True to send the request once more, if its body can be sent again; asked for at most
            once a call.
        """
        del request, answer
        return False

    async def error(self, request: Outgoing, error: BaseServiceError) -> None:
        """After an attempt to which no answer came."""
