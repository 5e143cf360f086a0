"""Archives as they come in a request: piece by piece, never standing still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from starlette.requests import ClientDisconnect, Request

from downstage.kernel.errors import DeadlineExceeded, InvalidInput

__all__ = ["body_of"]

IDLE_S = 30.0


async def body_of(request: Request) -> AsyncIterator[bytes]:
    """The pieces of the body.

    Raises:
        DeadlineExceeded: it stands still.
        InvalidInput: the client went away.
    """
    pieces = aiter(request.stream())
    while True:
        try:
            with anyio.fail_after(IDLE_S):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise DeadlineExceeded("The archive stands still.") from error
        except ClientDisconnect as error:
            raise InvalidInput("The archive ended early.") from error
        yield piece
