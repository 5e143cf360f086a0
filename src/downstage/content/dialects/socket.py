"""``/v1/files-socket``: who may open it, which client it is, when it must end.

A page's socket needs an Origin of ours and a one-time ticket; a program's a bearer token or such a
ticket, and no Origin. A cookie opens nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from starlette.types import Receive, Scope, Send

from downstage.auth.principal import Principal
from downstage.content.dialects.arguments import Args
from downstage.content.dialects.calls import Asked, Ops
from downstage.content.dialects.connection import Closing, Connection
from downstage.content.dialects.http import bearer_of
from downstage.content.dialects.signing import Signer
from downstage.content.dialects.standing import CHECK_S, Proving, Standing
from downstage.content.dialects.tickets import Tickets
from downstage.content.directory import Callers
from downstage.content.model import Caller
from downstage.content.service import Content
from downstage.contracts.content import SOCKET_PROTOCOL, TICKET_PREFIX, Welcome
from downstage.kernel.errors import (
    BadMessage,
    Forbidden,
    InvalidToken,
    PlatformError,
    TooMany,
    Unauthenticated,
)
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.services.fronts import TEMPLATE

__all__ = ["PATH", "FilesSocket"]

PATH = "/v1/files-socket"
VERSION = 1
POLICY, RESTART = 1008, 1012
MOST = 2000
"""Sockets at once."""
MOST_OF_ONE = 200
"""Sockets of one person at once."""
log = get_logger(__name__)


@dataclass(slots=True)
class _Guest:
    """Whose a socket is."""

    principal: Principal
    caller: Caller
    """As what is open on it was begun."""


class HelloArgs(Args, frozen=True):
    """Versions that the client speaks, and which client it was before."""

    versions: tuple[int, ...] = (VERSION,)
    resume: str = ""


class FilesSocket:
    """The application of the socket.

    Args:
        content: the service.
        callers: makes callers of principals.
        proving: of the platform.
        tickets: of this service.
        signer: signs what a client resumes by.
        origins: of pages that may open sockets.
        lease_s, grace_s: of locks.

    Attributes:
        ops: what can be called; register before the first connection.
        refused: handshakes refused, by cause.
    """

    def __init__(
        self,
        content: Content,
        callers: Callers,
        proving: Proving,
        tickets: Tickets,
        signer: Signer,
        *,
        origins: frozenset[str],
        lease_s: float,
        grace_s: float,
    ) -> None:
        self.ops = Ops()
        self.refused = Counter[str]()
        self._content = content
        self._callers = callers
        self._proving = proving
        self._standing = Standing(proving, callers)
        self._tickets = tickets
        self._signer = signer
        self._origins = origins
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._lines: dict[Connection, _Guest] = {}
        self._clients: dict[str, Connection] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._releases = set[asyncio.Task[None]]()
        self.ops.register("hello", HelloArgs, self._hello)

    @property
    def count(self) -> int:
        """Open sockets."""
        return len(self._lines)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket."""
        scope[TEMPLATE] = PATH
        if scope["type"] != "websocket":
            raise BadMessage("This address opens a WebSocket.")
        await receive()  # websocket.connect
        principal = await self._admit(scope)
        caller = await self._callers.of(principal)
        self._refuse_more(caller)
        offered = cast("Sequence[str]", scope.get("subprotocols", ()))
        protocol = SOCKET_PROTOCOL if SOCKET_PROTOCOL in offered else None
        await send({"type": "websocket.accept", "subprotocol": protocol, "headers": []})
        with suppress(PlatformError):  # from here on its tenant is known to point reads
            await self._content.stat(caller, "/")
        kept = caller

        def caller_of(client_id: str) -> Caller:
            nonlocal kept
            kept = self._callers.known(principal, client_id) or kept
            return kept

        client_id = new_id("c")
        line = Connection(self.ops, caller_of, client_id, receive=receive, send=send)
        self._lines[line] = _Guest(principal, caller)
        self._clients[client_id] = line
        try:
            await line.serve()
        except Closing as closing:
            with suppress(OSError):
                await send(
                    {"type": "websocket.close", "code": closing.code, "reason": closing.reason}
                )
        finally:
            self._leave(line)

    async def run(self) -> None:
        """`check` now and then, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            self.check()

    def check(self) -> None:
        """End sockets whose tokens no longer count, or on which more is open than may be now."""
        for line, guest in list(self._lines.items()):
            caller = self._standing.now(guest.principal, guest.caller)
            if caller is None:
                line.close(POLICY, "invalid-token")
            elif caller != guest.caller:
                guest.caller = caller
                if line.open_calls:
                    line.close(RESTART, "rights-changed")

    async def stop(self) -> None:
        """End all sockets; locks are left to their grace."""
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()
        for line in list(self._lines):
            line.close(1012, "going-away")
        for task in list(self._releases):
            task.cancel()
        await asyncio.gather(*self._releases, return_exceptions=True)

    # Who may come in.

    async def _admit(self, scope: Scope) -> Principal:
        headers = cast("list[tuple[bytes, bytes]]", scope["headers"])
        origins = [value.decode("latin-1").lower() for name, value in headers if name == b"origin"]
        names = {name for name, _ in headers}
        if origins and (len(origins) > 1 or origins[0] not in self._origins):
            self._refuse("origin")
            raise Forbidden("This page may not open sockets here.")
        ticket = _ticket(cast("Sequence[str]", scope.get("subprotocols", ())))
        if ticket is not None:
            return self._by_ticket(ticket)
        if not origins and b"authorization" in names:
            return await self._proving.principal(bearer_of(headers))
        if b"cookie" in names and not origins:
            self._refuse("cookie")
            raise Forbidden("A cookie alone opens no socket.")
        self._refuse("no-credential")
        raise Unauthenticated("This socket needs a ticket, or a bearer token.")

    def _by_ticket(self, ticket: str) -> Principal:
        principal = self._tickets.redeem(ticket)
        if principal is None or not self._proving.counts(principal):
            self._refuse("ticket")
            raise InvalidToken("The ticket is not valid.")
        return principal

    def _refuse(self, cause: str) -> None:
        self.refused[cause] += 1
        log.warning("files.socket_refused", cause=cause)

    def _refuse_more(self, caller: Caller) -> None:
        who = (caller.tenant, caller.subject)
        guests = (guest.caller for guest in self._lines.values())
        of_one = sum((guest.tenant, guest.subject) == who for guest in guests)
        if len(self._lines) >= MOST or of_one >= MOST_OF_ONE:
            raise TooMany("Too many sockets are open.", retry_after_s=5)

    # Which client it is.

    async def _hello(self, asked: Asked) -> object:
        args: HelloArgs = asked.args
        if VERSION not in args.versions:
            raise BadMessage(f"The version spoken here is {VERSION}.")
        line = cast("Connection", asked.line)
        caller = asked.caller
        if args.resume:
            await self._resume(line, caller, args.resume)
        return Welcome(
            version=VERSION,
            client_id=line.client_id,
            resume=f"{line.client_id}.{self._sign(line.client_id, caller)}",
            seq=await self._content.seq(),
            subject=caller.subject,
            name=caller.name,
            access=int(caller.may),
            server="downstage",
            ops=self.ops.names,
            lock_lease_s=self._lease_s,
        )

    def _sign(self, client_id: str, caller: Caller) -> str:
        return self._signer.sign("client", client_id, caller.tenant, caller.subject)

    async def _resume(self, line: Connection, caller: Caller, resume: str) -> None:
        """Become the client that *resume* was given to, whose locks are kept.

        Raises:
            InvalidToken: it was given to somebody else, or by nobody.
        """
        client_id, _, signature = resume.partition(".")
        whose = ("client", client_id, caller.tenant, caller.subject)
        if not self._signer.is_signed(signature, *whose):
            raise InvalidToken("This is not what a client resumes by.")
        before = self._clients.get(client_id)
        if before is line:
            return
        if before is not None:
            before.close(POLICY, "taken-over")
        timer = self._leaving.pop(client_id, None)
        if timer is not None:
            timer.cancel()
        self._clients.pop(line.client_id, None)
        line.client_id = client_id
        self._clients[client_id] = line

    def _leave(self, line: Connection) -> None:
        self._lines.pop(line, None)
        if self._clients.get(line.client_id) is not line:
            return  # taken over by a later socket
        del self._clients[line.client_id]
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._grace_s, self._release, line.client_id)
        self._leaving[line.client_id] = timer

    def _release(self, client_id: str) -> None:
        self._leaving.pop(client_id, None)
        task = asyncio.get_running_loop().create_task(self._free(client_id))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _free(self, client_id: str) -> None:
        try:
            await self._content.release_client(client_id, grace_s=0)
        except PlatformError as error:
            log.warning("files.locks_not_released", why=error.detail)


def _ticket(offered: Sequence[str]) -> str | None:
    found = [item for item in offered if item.startswith(TICKET_PREFIX)]
    return found[0].removeprefix(TICKET_PREFIX) if len(found) == 1 else None
