"""What identity is asked for at this door: sign-ins, and people's own API tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from downstage.kernel.errors import (
    Forbidden,
    InvalidInput,
    InvalidToken,
    NotFound,
    PlatformError,
    TooMany,
    Unavailable,
)
from downstage.services.client import AsyncClient
from downstage.services.errors import BaseServiceError

__all__ = ["Accounts", "IdentityAccounts"]

MAX_NAME = 128
MAX_PASSWORD = 1024
CALL_S = 10
PAGE = 500
MAX_PEOPLE = 100_000
REFUSALS: Mapping[int, type[PlatformError]] = {
    400: InvalidInput,
    403: Forbidden,
    404: NotFound,
    422: InvalidInput,
}


class Accounts(Protocol):
    """People, as far as this door needs them."""

    async def sign_in(self, name: str, password: str, address: str) -> str:
        """An access token for whoever proves to be *name*, dialling from *address*."""
        ...

    async def tokens(self, token: str) -> list[dict[str, Any]]:
        """API tokens of the holder of *token*, without their secrets."""
        ...

    async def make_token(self, token: str, name: str, expires_in_s: int | None) -> str:
        """A new API token of the holder of *token*."""
        ...

    async def revoke_token(self, token: str, name: str) -> None:
        """Revoke the API token called *name*."""
        ...

    async def people(self, token: str) -> dict[str, list[str]]:
        """All users' names and their groups, if the holder of *token* may see them."""
        ...

    async def set_groups(self, token: str, name: str, groups: list[str]) -> None:
        """Let the user *name* be in these groups, if the holder of *token* may say so."""
        ...


class IdentityAccounts:
    """`Accounts` by our own identity service.

    Args:
        service: a client with this service's own token.
        uri: of identity, for calls with a person's own token.
    """

    def __init__(self, service: AsyncClient, uri: str) -> None:
        self._service = service
        self._uri = uri

    async def sign_in(self, name: str, password: str, address: str) -> str:
        """An access token.

        Raises:
            InvalidToken: name or password is wrong: all the same.
            TooMany: too many attempts of that name or address.
            Unavailable: identity does not answer.
        """
        if not name or len(name) > MAX_NAME or len(password) > MAX_PASSWORD:
            raise InvalidToken("The name or the password is wrong.")
        try:
            answer = await self._service.v1.sign_ins.post(
                username=name, password=password, address=address[:128]
            )
        except BaseServiceError as error:
            raise _error(error) from error
        return str(answer["token"])

    async def tokens(self, token: str) -> list[dict[str, Any]]:
        """API tokens of the holder of *token*, newest first."""
        try:
            return list((await self._as(token).v1.tokens.get())["items"])
        except BaseServiceError as error:
            raise _error(error) from error

    async def make_token(self, token: str, name: str, expires_in_s: int | None) -> str:
        """A new API token, which holds what *token* holds."""
        body: dict[str, Any] = {"name": name}
        if expires_in_s is not None:
            body["expires_in_s"] = expires_in_s
        try:
            return str((await self._as(token).v1.tokens.post(**body))["token"])
        except BaseServiceError as error:
            raise _error(error) from error

    async def revoke_token(self, token: str, name: str) -> None:
        """Revoke the newest API token called *name*.

        Raises:
            NotFound: there is none.
        """
        found = [item for item in await self.tokens(token) if item["name"] == name]
        if not found:
            raise NotFound("There is no such token.")
        try:
            await self._as(token).v1.tokens[found[0]["id"]].delete()
        except BaseServiceError as error:
            raise _error(error) from error

    async def people(self, token: str) -> dict[str, list[str]]:
        """All users' names and their groups.

        Raises:
            Forbidden: the holder of *token* may not see them.
        """
        found = dict[str, list[str]]()
        after: str | None = None
        try:
            while len(found) < MAX_PEOPLE:
                query = {"limit": PAGE} if after is None else {"limit": PAGE, "after": after}
                page = await self._as(token).v1.users.get(**query)
                found |= {item["name"]: item["groups"] for item in page["items"]}
                after = page["next"]
                if after is None:
                    break
        except BaseServiceError as error:
            raise _error(error) from error
        return found

    async def set_groups(self, token: str, name: str, groups: list[str]) -> None:
        """Let the user *name* be in these groups.

        Raises:
            Forbidden: the holder of *token* may not say so.
        """
        try:
            await self._as(token).v1.users[name].patch(groups=groups)
        except BaseServiceError as error:
            raise _error(error) from error

    def _as(self, token: str) -> AsyncClient:
        return AsyncClient(self._uri, token=token, timeout_s=CALL_S, retries=0, description=None)


def _error(error: BaseServiceError) -> PlatformError:
    """*error* as the caller may know it."""
    if error.status == 401:  # noqa: PLR2004 - HTTP
        return InvalidToken("The name or the password is wrong.")
    if error.status == 429:  # noqa: PLR2004 - HTTP
        return TooMany(error.detail, retry_after_s=error.retry_after or 60)
    kind = REFUSALS.get(error.status or 0)
    if kind is None:
        return Unavailable("Identity does not answer just now.", retry_after_s=1)
    return kind(error.detail)
