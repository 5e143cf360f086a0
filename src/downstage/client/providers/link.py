"""The way to one of our servers: its socket made and made again, who one is, locks kept alive."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

import aiohttp
from yarl import URL

from downstage.client.callbacks import Callbacks
from downstage.client.credentials import Credentials
from downstage.client.http import Http
from downstage.client.logs import log
from downstage.client.options import Options
from downstage.client.origins import Origin
from downstage.client.providers.connection import Connection
from downstage.client.types import ConnectionStatus, LogLevel
from downstage.client.ways import proxy_of
from downstage.contracts.content import MAX_FRAME, SOCKET_PROTOCOL, Welcome
from downstage.kernel import errors

__all__ = ["Link"]

SOCKET_PATH = "/v1/files-socket"
VERSION = 1
HEARTBEAT_S = 20.0
AGAIN_S = 0.5
EVERY_STATUS = frozenset(range(400, 600))
_STATUSES: dict[int, type[errors.PlatformError]] = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotSupported,
    429: errors.Unavailable,
}


class Link:
    """One server, however often the connection to it breaks.

    Attributes:
        http: for what the socket does not carry.
        welcome: what the server said first.
        locks: tokens of the locks that this client holds, by path.
    """

    def __init__(self, origin: Origin, prefix: str, options: Options, callbacks: Callbacks) -> None:
        self.http = Http(origin, options)
        self.http.credentials = Credentials(origin, prefix, callbacks, self._sign_in)
        self.locks: dict[str, str] = {}
        self.welcome = Welcome(0, "", "", 0, "", "", 0)
        self._prefix = prefix
        self._callbacks = callbacks
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._resume = ""
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def ask(self, op: str, *args: Any, again: bool = True, returns: Any = Any) -> Any:
        """Call *op*; with *again*, once more where the connection broke on the way.

        Raises:
            PlatformError: as the server said, or `Unavailable`.
        """
        connection = await self.connection()
        try:
            return await connection.request(op, *args, returns=returns)
        except errors.Unavailable:
            if not again or connection.is_open or self._connection is None:
                raise
        return await (await self.connection()).request(op, *args, returns=returns)

    async def connection(self) -> Connection:
        """The socket, connected where it is not."""
        if self._connection is not None and self._connection.is_open:
            return self._connection
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> Connection:
        self.http.breaker.check()
        self._tell(ConnectionStatus.CONNECTING)
        try:
            connection = await self._opened()
        except errors.PlatformError as error:
            is_auth = isinstance(error, errors.Unauthenticated | errors.Forbidden)
            log(LogLevel.WARNING, "client.connection_failed", server=self._prefix, why=error.detail)
            status = ConnectionStatus.AUTH_FAILED if is_auth else ConnectionStatus.CONNECT_ERROR
            self._tell(status)
            raise
        self._connection = connection
        self._tell(ConnectionStatus.CONNECTED)
        if self.locks:
            self.keep_locks()
        return connection

    async def _opened(self) -> Connection:
        try:
            return await self._once()
        except errors.Unauthenticated:
            credentials = cast("Credentials", self.http.credentials)
            if await credentials.token() is None:
                raise
            credentials.forget()  # it may have expired
        return await self._once()

    async def _once(self) -> Connection:
        headers = await self.http.headers()  # asks a person perhaps: no deadline of ours
        url = URL(self.http.origin.url + SOCKET_PATH)
        try:
            async with asyncio.timeout(self.http.options.connect_s):
                socket = await self.http.session().ws_connect(
                    url,
                    proxy=proxy_of(self.http.origin, url),
                    protocols=(SOCKET_PROTOCOL,),
                    headers=headers,
                    max_msg_size=MAX_FRAME,
                    heartbeat=HEARTBEAT_S,
                    compress=0,
                )
                connection = Connection(socket, self._broke)
                await self._greet(connection)
                return connection
        except aiohttp.WSServerHandshakeError as error:
            kind = _STATUSES.get(error.status, errors.Unavailable)
            raise kind(f"The server refused the connection ({error.status}).") from error
        except (aiohttp.InvalidURL, UnicodeError) as error:
            raise errors.BadUrl("The address names no server.") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.http.breaker.failed(type(error).__name__)
            host = self.http.origin.host
            raise errors.Unavailable(f"{host} cannot be reached.") from error

    async def _greet(self, connection: Connection) -> None:
        try:
            try:
                welcome = await connection.request(
                    "hello", [VERSION], self._resume, returns=Welcome
                )
            except errors.InvalidToken:  # the grace is over: another client from here on
                self._resume = ""
                welcome = await connection.request("hello", [VERSION], "", returns=Welcome)
        except errors.BadMessage as error:
            await connection.close()
            self._tell(ConnectionStatus.SERVER_INCOMPATIBLE)
            raise errors.UnsupportedMedia("The server speaks another version.") from error
        except BaseException:
            await asyncio.shield(connection.close())
            raise
        self.welcome, self._resume = welcome, welcome.resume

    def _broke(self) -> None:
        self._lost.set()
        if self._connection is not None:
            self._tell(ConnectionStatus.DISCONNECTED)

    def keep_locks(self) -> None:
        """Renew what is held, and be back after a broken connection before its grace is over."""
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while self.locks:
            lease_s = self.welcome.lock_lease_s or 60.0
            with suppress(TimeoutError):
                async with asyncio.timeout(lease_s / 3):
                    await self._lost.wait()
            self._lost.clear()
            if self._connection is None or not self._connection.is_open:
                await self._try_again()
            for path, token in list(self.locks.items()):
                await self._renew(path, token)

    async def _try_again(self) -> None:
        while self.locks:
            try:
                await self.connection()
            except errors.PlatformError:
                await asyncio.sleep(AGAIN_S)  # said already
            else:
                return

    async def _renew(self, path: str, token: str) -> None:
        try:
            await self.ask("renew_lock", path, token)
        except errors.Unavailable:
            return
        except errors.PlatformError as error:
            self.locks.pop(path, None)
            log(LogLevel.WARNING, "client.lock_lost", path=path, why=error.detail)

    async def _sign_in(self, user: str, password: str) -> str:
        await self._greet_by_http()
        url = f"{self.http.origin.url}/v1/auth/login"
        body = aiohttp.JsonPayload({"username": user, "password": password})
        async with self.http.request("POST", url, data=body, is_anonymous=True) as response:
            return str((await response.json())["token"])

    async def _greet_by_http(self) -> None:
        """A password takes a server a while; whether it is there at all does not."""
        http = self.http
        try:
            async with asyncio.timeout(http.options.connect_s):
                async with http.request(
                    "HEAD", http.origin.url + "/", allowed=EVERY_STATUS, is_anonymous=True
                ):
                    return
        except TimeoutError as error:
            http.breaker.failed(type(error).__name__)
            raise errors.Unavailable(f"{http.origin.host} cannot be reached.") from error

    def forget_token(self) -> None:
        """Ask for another at the next request."""
        cast("Credentials", self.http.credentials).forget()

    async def sign_out(self) -> None:
        """Disconnect now; what waits ends with `Unavailable`; be somebody new next time."""
        self.forget_token()
        self._resume = ""
        self.locks.clear()
        await self.close()
        self._tell(ConnectionStatus.SIGNED_OUT)

    async def close(self) -> None:
        """Close every connection."""
        for task in (self._keeper, self._connecting):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task])
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
            self._tell(ConnectionStatus.DISCONNECTED)
        await self.http.close()

    def _tell(self, status: ConnectionStatus) -> None:
        self._callbacks.tell_connection(self._prefix, status)
