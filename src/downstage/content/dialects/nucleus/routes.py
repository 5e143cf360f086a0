"""The wire on our one port: sockets and requests below ``/omni``, wired together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import anyio
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from downstage.auth.principal import Principal
from downstage.content.dialects.exchange import Exchange
from downstage.content.dialects.nucleus import auth, discovery
from downstage.content.dialects.nucleus.accounts import Accounts
from downstage.content.dialects.nucleus.desk import Desk
from downstage.content.dialects.nucleus.files import DOWNLOAD
from downstage.content.dialects.nucleus.guests import Guests
from downstage.content.dialects.nucleus.origin import Origin, check_site, origin_of
from downstage.content.dialects.nucleus.session import LFT, MAX_MESSAGE, Session
from downstage.content.dialects.nucleus.sows import MAX_MESSAGE as MAX_SOWS
from downstage.content.dialects.nucleus.sows import Handler, SowsSocket
from downstage.content.dialects.nucleus.spool import Spool
from downstage.content.dialects.nucleus.transfer import Transfer
from downstage.content.directory import Callers
from downstage.content.model import Caller
from downstage.content.service import Content
from downstage.kernel.clock import Clock
from downstage.kernel.errors import NotFound, NotSupported, PlatformError
from downstage.services.facilities.principal import Authenticator

__all__ = ["Doorkeeper", "Nucleus"]

STRANGERS = (256, 32)
"""Sockets of discovery and sign-in at once; and those of one network address."""
UNPROVEN = (6, 3)
"""The same of sockets for commands whose address held no token that counts: messages there are
large, whoever sends them."""
MAX_QUERY = 32 * 1024
STOP_S = 2.0
GOING_AWAY = 1012


class Doorkeeper:
    """Who may come in here, by the platform's tokens and content's directory."""

    def __init__(self, authenticator: Authenticator, callers: Callers) -> None:
        self._authenticator = authenticator
        self._callers = callers

    async def principal(self, token: str) -> Principal:
        """Who *token* proves, or `InvalidToken`."""
        return await self._authenticator.principal(token)

    def counts(self, principal: Principal) -> bool:
        """Whether *principal*, proven some time ago, would still be let in."""
        return self._authenticator.counts(principal)

    async def caller(self, principal: Principal, client_id: str) -> Caller:
        """*principal* as content's rules see them."""
        return await self._callers.of(principal, client_id)


class Nucleus:
    """The dialect, as plain ASGI applications.

    Args:
        content: the domain.
        gate: tells who a token proves, and as whom content knows them.
        accounts: identity.
        folder: its own, for uploads under way; what is in it goes at the first upload.
        clock: of the platform.
        grace_s: how long locks outlive the connection that took them.
    """

    def __init__(
        self,
        content: Content,
        gate: Doorkeeper,
        accounts: Accounts,
        folder: Path,
        clock: Clock,
        *,
        grace_s: float,
    ) -> None:
        self._spool = Spool(folder, clock, content.blobs.layout.check_room)
        self._desk = Desk(content, gate, accounts, self._spool, clock, grace_s)
        self._transfer = Transfer(self._desk)
        self._strangers = Guests(*STRANGERS)
        self._unproven = Guests(*UNPROVEN)
        self._open = set[anyio.CancelScope]()

    def fronts(self) -> list[tuple[str, ASGIApp, int]]:
        """Path, application, and most bytes of a message there."""
        return [
            (discovery.DISCOVERY, self._discovery, MAX_SOWS),
            (discovery.AUTH, self._auth, MAX_SOWS),
            (discovery.API, self._api, MAX_MESSAGE),
            (f"{LFT}/content", self._lft, 0),
            (f"{DOWNLOAD}/", self._download, 0),
        ]

    async def run(self) -> None:
        """Drop uploads that nobody goes on with, until cancelled."""
        await self._spool.run()

    async def stop(self) -> None:
        """End every socket; their clients dial again elsewhere, or later."""
        for scope in self._open:
            scope.cancel()
        with anyio.move_on_after(STOP_S):
            while self._open:
                await anyio.sleep(0.01)

    async def _until_stopped(
        self, websocket: WebSocket, serve: Callable[[], Awaitable[None]]
    ) -> None:
        with anyio.CancelScope() as scope:
            self._open.add(scope)
            try:
                await serve()
            finally:
                self._open.discard(scope)
        if scope.cancelled_caught:
            with suppress(WebSocketDisconnect, RuntimeError):
                await websocket.close(GOING_AWAY, "going-away")

    async def _discovery(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = _socket(scope, receive, send)
        origin = origin_of(websocket)

        async def handle(method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
            if method == "DiscoverySearch.find":
                return discovery.find(parameters, origin)
            if method == "DiscoverySearch.find_all":
                return {"version": discovery.VERSION, "results": discovery.find_all(origin)}
            raise NotSupported("There is no such method.")

        await self._serve_sows(websocket, handle)

    async def _auth(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = _socket(scope, receive, send)
        address = _address(websocket)

        async def handle(method: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
            if method.partition(".")[0] not in auth.INTERFACES:
                raise NotSupported("There is no such method.")
            return await auth.answer(self._desk, method, parameters, address)

        await self._serve_sows(websocket, handle)

    async def _serve_sows(self, websocket: WebSocket, handle: Handler) -> None:
        with self._strangers.seat(_address(websocket)):
            await self._enter(websocket)
            await self._until_stopped(websocket, SowsSocket(websocket, handle).serve)

    async def _api(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = _take_token(scope)
        websocket = _socket(scope, receive, send)
        is_known = await self._is_known(token)
        with nullcontext() if is_known else self._unproven.seat(_address(websocket)):
            origin = await self._enter(websocket)
            session = Session(websocket, self._desk, origin.base, token)
            await self._until_stopped(websocket, session.serve)

    async def _is_known(self, token: str) -> bool:
        try:
            await self._desk.principal(token)
        except PlatformError:
            return False  # the command that authorises will say what is wrong with it
        return True

    @staticmethod
    async def _enter(websocket: WebSocket) -> Origin:
        """Accept the socket, or refuse it by raising."""
        check_site(websocket)
        origin = origin_of(websocket)
        await websocket.accept()
        return origin

    async def _lft(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _request(scope, receive)
        if request.method == "POST":
            response = await self._transfer.mint(request)
        elif request.method == "PUT":
            response = await self._transfer.put(request)
        else:
            raise NotFound("Uploads are begun by POST, and parts are PUT.")
        await response(scope, receive, send)

    async def _download(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _request(scope, receive)
        if request.method != "GET":
            raise NotFound("Downloads are fetched by GET.")
        path = str(scope["path"]).removeprefix(DOWNLOAD)
        await self._transfer.download(request, path, Exchange(scope, receive, send))


def _socket(scope: Scope, receive: Receive, send: Send) -> WebSocket:
    if scope["type"] != "websocket":
        raise NotFound("A WebSocket is served here.")
    return WebSocket(scope, receive, send)


def _request(scope: Scope, receive: Receive) -> Request:
    if scope["type"] != "http":
        raise NotFound("No WebSocket is served here.")
    return Request(scope, receive)


def _address(websocket: WebSocket) -> str:
    return websocket.client.host if websocket.client else "unknown"


def _take_token(scope: Scope) -> str:
    """The token of the socket's address; it is taken out of there before anybody logs it."""
    query: bytes = scope.get("query_string", b"")
    scope["query_string"] = b""
    if len(query) > MAX_QUERY:
        return ""
    try:
        found = parse_qs(query.decode("latin-1"), max_num_fields=16)
    except ValueError:
        return ""
    return found.get("access_token", [""])[0]
