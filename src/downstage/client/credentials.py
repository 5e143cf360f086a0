"""Who one is at a server: callbacks first, then a token's file, the two variables, the platform's.

A server gets no secret that was not meant for it: tokens of files and variables go to the host that
``DOWNSTAGE_CONTENT_HOST`` names, else to the usual port of this machine, never over a way that
hides nothing. A stage that refers to ``omniverse://elsewhere`` must not be able to ask for them.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from downstage.client.callbacks import Callbacks
from downstage.client.daemons import in_daemon
from downstage.client.logs import log
from downstage.client.origins import LOCAL_PORT, Origin, content_host
from downstage.client.types import ConnectionStatus, LogLevel
from downstage.kernel.errors import Forbidden, Unauthenticated

__all__ = ["Credentials", "SignIn"]

SignIn = Callable[[str, str], Awaitable[str]]
"""Trades user name and password for a token at the server."""
CALLBACK_S = 300.0
"""Seconds that a callback may take: it may ask a person."""
TOKEN_USER = "$omni-api-token"  # noqa: S105 - a name, no secret
"""As `OMNI_USER`: the password is a token."""


class Credentials:
    """Of one server; asks once, until told that what it gave did not count.

    Args:
        origin: the server.
        prefix: ``scheme://host:port`` as callers write it, for callbacks.
        callbacks: of the client.
        sign_in: how a name and a password become a token there.
        is_eager: show a token from the first request on, not once the server wants one.
    """

    def __init__(
        self,
        origin: Origin,
        prefix: str,
        callbacks: Callbacks,
        sign_in: SignIn,
        *,
        is_eager: bool = True,
    ) -> None:
        self._origin = origin
        self._prefix = prefix
        self._callbacks = callbacks
        self._sign_in = sign_in
        self._token: str | None = None
        self._is_wanted = is_eager
        self._asking: asyncio.Future[str | None] | None = None

    def forget(self) -> None:
        """Ask anew at the next request: the server wants a token, or another one."""
        self._token, self._is_wanted = None, True

    async def token(self) -> str | None:
        """The token to show; None: nobody knows one.

        Raises:
            Forbidden: a callback said to give up.
            Unauthenticated: name or password do not count.
        """
        if self._token is not None or not self._is_wanted:
            return self._token
        if self._asking is None:
            self._asking = asyncio.ensure_future(self._ask())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def _asked(self, asking: asyncio.Future[str | None]) -> None:
        self._asking = None
        if not asking.cancelled() and asking.exception() is None:
            self._token = asking.result()

    async def _ask(self) -> str | None:
        for handle in self._callbacks.authorize.handles():
            callback = self._callbacks.authorize.get(handle)
            if callback is None:
                continue
            try:
                async with asyncio.timeout(CALLBACK_S):
                    # Not on the callback thread: a callback that waits for this very request
                    # would wait for ever.
                    answer = await in_daemon(
                        lambda ask=callback: ask(self._prefix), "downstage-authorize"
                    )
            except TimeoutError:
                continue
            if answer is True:
                self._tell(ConnectionStatus.AUTH_ABORT)
                raise Forbidden("Signing in was given up.")
            if isinstance(answer, str):
                return answer
            if isinstance(answer, tuple):
                return await self._trade(*answer)
        return await self._usual()

    async def _usual(self) -> str | None:
        if not self._origin.may_have_secrets:
            self._withheld("the way there is not encrypted")
            return None
        named = content_host() or f"localhost:{LOCAL_PORT}"
        if self._origin.is_named(named):
            found = await asyncio.to_thread(_from_file)
            if found is not None:
                return found
            user, password = os.environ.get("OMNI_USER"), os.environ.get("OMNI_PASS")
            if user and password:
                return password if user == TOKEN_USER else await self._trade(user, password)
        else:
            self._withheld("DOWNSTAGE_CONTENT_HOST does not name this server")
        if self._origin.is_loopback:
            return await asyncio.to_thread(_from_platform, self._origin)
        return None

    async def _trade(self, user: str, password: str) -> str:
        if not self._origin.may_have_secrets:
            self._tell(ConnectionStatus.AUTH_ERROR)
            raise Unauthenticated("A password is not sent over a way that hides nothing.")
        if user == TOKEN_USER:
            return password
        try:
            return await self._sign_in(user, password)
        except (Unauthenticated, Forbidden):
            self._tell(ConnectionStatus.AUTH_FAILED)
            raise

    def _withheld(self, why: str) -> None:
        if any(os.environ.get(name) for name in ("DOWNSTAGE_TOKEN_FILE", "OMNI_USER")):
            log(LogLevel.WARNING, "client.credentials_withheld", host=self._origin.host, why=why)

    def _tell(self, status: ConnectionStatus) -> None:
        self._callbacks.tell_connection(self._prefix, status)


def _from_file() -> str | None:
    path = os.environ.get("DOWNSTAGE_TOKEN_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        log(LogLevel.ERROR, "client.token_unreadable", path=path, error=type(error).__name__)
        return None


def _from_platform(origin: Origin) -> str | None:
    """The token of a platform of this user on this machine, as ``downstage`` commands use it."""
    folder = Path(os.environ.get("DOWNSTAGE_PLATFORM__DATA") or "downstage-data") / "run"
    try:
        facts = json.loads((folder / "platform.json").read_text(encoding="utf-8"))
        token = (folder / "operator.token").read_text(encoding="ascii").strip()
        authority = str(facts["url"]).partition("://")[2].partition("/")[0]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return token if origin.is_named(authority) else None
