"""Who asks through protocols that know no bearer tokens: Basic, and keys that sign (SigV4).

A *files key* is an API token under two short names: its id, and a secret that identity derives
from the id with a key of its own. Identity tells us the secret together with a token that stands
for the key and lives for minutes; like every token it is checked offline at each request, so that
a key that was revoked counts no longer from that moment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from downstage.auth.principal import Principal
from downstage.content.dialects.exchange import Exchange
from downstage.content.directory import Callers
from downstage.content.model import Caller
from downstage.kernel.clock import Clock
from downstage.kernel.errors import (
    InvalidToken,
    NotFound,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from downstage.services.client import AsyncClient
from downstage.services.errors import BaseServiceError
from downstage.services.facilities.principal import Authenticator

__all__ = ["Credentials", "FilesKey", "Identity", "IdentityService"]

KEY_ID = re.compile(r"t-[a-z2-7]{26}")
TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}")
"""As ours begin and end: a password may have dots in it, too."""
KEPT = 4096
KEPT_ABSENT = 1024
ABSENT_S = 10.0
"""A key that identity does not know is not asked for again before."""
MAX_HEADER = 12_288
UNAUTHENTICATED = 401
NOT_FOUND = 404
TOO_MANY = 429
K = TypeVar("K")
V = TypeVar("V")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class FilesKey:
    """What identity says of a key."""

    secret: str
    token: str
    """Stands for the key, for some minutes."""


class Identity(Protocol):
    """What is asked of identity; see `IdentityService`."""

    async def open_key(self, key_id: str) -> FilesKey:
        """Raises `NotFound` where there is no such key."""
        ...

    async def sign_in(self, name: str, password: str, address: str) -> str:
        """A token for whoever proves a password; raises `Unauthenticated` or `TooMany`."""
        ...


class IdentityService(Identity):
    """Asks the service.

    Args:
        client: with the token of the content service.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def open_key(self, key_id: str) -> FilesKey:
        """The secret of a key, and a token that stands for it."""
        answer = await _asked(self._client.v1.files_keys.open.post(access_key_id=key_id))
        return FilesKey(answer["secret_access_key"], answer["token"])

    async def sign_in(self, name: str, password: str, address: str) -> str:
        """A token for *name*; the attempt counts for *address*."""
        body = {"username": name, "password": password, "address": address}
        return (await _asked(self._client.v1.sign_ins.post(**body)))["token"]


async def _asked(answer: Awaitable[Answer]) -> Answer:
    try:
        return await answer
    except BaseServiceError as error:
        if error.status == UNAUTHENTICATED:
            raise Unauthenticated("The name or the password is wrong.") from error
        if error.status == NOT_FOUND:
            raise NotFound("There is no such key.") from error
        if error.status == TOO_MANY:
            wait = error.retry_after or 60
            raise TooMany("Too many attempts. Wait a few minutes.", retry_after_s=wait) from error
        raise Unavailable("Identity does not answer just now.", retry_after_s=1) from error


class _Recent(Generic[K, V]):
    """The values used last, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: K, value: V) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, key: K) -> None:
        self._kept.pop(key, None)


class Credentials:
    """Turns what a request shows into a caller.

    Args:
        authenticator: checks tokens.
        callers: makes callers of principals.
        identity: knows keys and passwords.
        clock: of the platform.
    """

    def __init__(
        self, authenticator: Authenticator, callers: Callers, identity: Identity, clock: Clock
    ) -> None:
        self._authenticator = authenticator
        self._callers = callers
        self._identity = identity
        self._clock = clock
        self._keys = _Recent[str, FilesKey](KEPT)
        self._absent = _Recent[str, float](KEPT_ABSENT)
        self._signed_in = _Recent[bytes, str](KEPT)
        self._pepper = secrets.token_bytes(32)

    async def caller(self, exchange: Exchange) -> Caller:
        """Who shows a bearer token, or a name with a password, key or token.

        Raises:
            Unauthenticated: nothing is shown, or it proves nobody.
            TooMany: too many wrong passwords.
        """
        header = exchange.header("authorization")
        scheme, _, rest = header.partition(" ")
        if not header:
            raise Unauthenticated("Sign in first.")
        if len(header) > MAX_HEADER:
            raise InvalidToken
        if scheme.lower() == "bearer":
            return await self._of_token(rest.strip())
        if scheme.lower() != "basic":
            raise InvalidToken
        name, password = _basic(rest)
        return await self._basic(name, password, exchange.address)

    async def key(self, key_id: str) -> tuple[str, Caller]:
        """The secret of a files key, and who signs with it.

        Raises:
            InvalidToken: there is no such key, or it counts no longer.
        """
        key, principal = await self._open(key_id)
        return key.secret, await self._callers.of(principal)

    async def _basic(self, name: str, password: str, address: str) -> Caller:
        if KEY_ID.fullmatch(name):
            key, principal = await self._open(name)
            if not hmac.compare_digest(key.secret.encode(), password.encode()):
                raise InvalidToken
            return await self._callers.of(principal)
        if TOKEN.fullmatch(password):
            principal = await self._authenticator.principal(password)
            if name.lower() not in ("", principal.name.lower()):
                raise InvalidToken
            return await self._callers.of(principal)
        return await self._by_password(name, password, address)

    async def _by_password(self, name: str, password: str, address: str) -> Caller:
        """Passwords are slow to check, and desktops send them with each request."""
        text = f"{len(name)}:{name}:{password}".encode()
        known = hmac.new(self._pepper, text, hashlib.sha256).digest()
        token = self._signed_in.get(known)
        if token is not None:
            try:
                return await self._of_token(token)
            except InvalidToken:  # expired, or revoked as the password changed
                self._signed_in.drop(known)
        token = await self._identity.sign_in(name, password, address)
        caller = await self._of_token(token)
        self._signed_in.put(known, token)
        return caller

    async def _of_token(self, token: str) -> Caller:
        return await self._callers.of(await self._authenticator.principal(token))

    async def _open(self, key_id: str) -> tuple[FilesKey, Principal]:
        if not KEY_ID.fullmatch(key_id):
            raise InvalidToken
        key = self._keys.get(key_id)
        if key is not None:
            try:
                return key, await self._authenticator.principal(key.token)
            except InvalidToken:  # its minutes are over, or it was revoked: identity knows
                self._keys.drop(key_id)
        now = self._clock.monotonic()
        if (self._absent.get(key_id) or 0.0) > now:
            raise InvalidToken
        try:
            key = await self._identity.open_key(key_id)
        except (NotFound, Unauthenticated) as error:
            self._absent.put(key_id, now + ABSENT_S)
            raise InvalidToken from error
        principal = await self._authenticator.principal(key.token)
        self._keys.put(key_id, key)
        return key, principal


def _basic(text: str) -> tuple[str, str]:
    """Name and password of Basic credentials.

    Raises:
        InvalidToken: they are out of form.
    """
    try:
        plain = base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise InvalidToken from error
    name, colon, password = plain.partition(":")
    if not colon or not password:
        raise InvalidToken
    return name, password
