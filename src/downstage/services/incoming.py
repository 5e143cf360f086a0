"""A request's body as it comes: piece by piece, and never standing still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from starlette.requests import ClientDisconnect, Request

from downstage.kernel.errors import DeadlineExceeded, InvalidInput

__all__ = ["pieces_of"]

IDLE_S = 30.0


async def pieces_of(request: Request, what: str, *, idle_s: float = IDLE_S) -> AsyncIterator[bytes]:
    """The pieces of the body.

    Args:
        request: of whoever sends.
        what: it is, for messages: ``archive``.
        idle_s: how long no piece may come.

    Raises:
        DeadlineExceeded: it stands still.
        InvalidInput: the client went away.
    """
    pieces = aiter(request.stream())
    while True:
        try:
            with anyio.fail_after(idle_s):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise DeadlineExceeded(f"The {what} stands still.") from error
        except ClientDisconnect as error:
            raise InvalidInput(f"The {what} ended early.") from error
        yield piece
