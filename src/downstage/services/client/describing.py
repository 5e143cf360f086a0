"""`describe`: what a service says of itself, through either client."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import overload

from downstage.services.client.blocking import Client, Performer
from downstage.services.client.client import AsyncClient, describe_async
from downstage.services.description import Description

__all__ = ["describe"]


@overload
def describe(client: AsyncClient) -> Awaitable[Description | None]: ...
@overload
def describe(client: Client) -> Description | None: ...
def describe(
    client: AsyncClient | Client,
) -> Awaitable[Description | None] | Description | None:
    """The description of *client*'s service, fetched if it is not there yet; None: none usable.

    After it, `dir`, signatures and docstrings of the client's nodes speak of the service.
    """
    if isinstance(client, AsyncClient):
        return describe_async(client)
    performer: Performer = vars(client)["_performer"]
    return performer.run(performer.engine.describe)
