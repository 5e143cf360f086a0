"""One-time tickets that several worker processes of one machine share: a file each.

The page that asked one worker may be answered by another. Whoever renames a ticket's file first has
spent it: that is one step for the file system, whatever the number of workers.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from downstage.auth.principal import Principal
from downstage.auth.tickets import hash_ticket, new_ticket
from downstage.kernel.clock import Clock
from downstage.kernel.errors import TooMany
from downstage.kernel.ids import new_id
from downstage.kernel.limits import SOCKET_TICKET_S
from downstage.streams.tickets import MAX_TICKET, MOST, Purpose, Tickets

__all__ = ["SharedTickets"]

SPENT = ".spent"


class _Waiting(msgspec.Struct):
    """What is kept of a ticket: never the ticket itself."""

    expires_at: datetime
    purpose: Purpose
    principal: Principal


class SharedTickets(Tickets):
    """Mints and redeems; another process's as its own.

    Args:
        clock: of the platform.
        folder: private, of all workers.
    """

    def __init__(self, clock: Clock, folder: Path) -> None:
        super().__init__(clock)
        self._folder = folder
        self._swept_at = clock.now()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def mint(self, principal: Principal, purpose: Purpose) -> tuple[str, datetime]:
        """A ticket that stands for *principal*, once, and when it ends.

        Raises:
            TooMany: so many wait that no other can, or so many are theirs.
        """
        self._count(principal)
        self._sweep()
        ticket = new_ticket()
        expires_at = self._clock.now() + timedelta(seconds=SOCKET_TICKET_S)
        content = msgspec.json.encode(_Waiting(expires_at, purpose, principal))
        path = self._folder / hash_ticket(ticket)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return ticket, expires_at

    def redeem(self, ticket: str, purpose: Purpose) -> Principal | None:
        """Whom *ticket* stands for; None: used, expired, unknown, or for something else."""
        if len(ticket) > MAX_TICKET:
            return None
        mine = self._folder / f"{new_id('r')}{SPENT}"
        try:
            (self._folder / hash_ticket(ticket)).rename(mine)
        except FileNotFoundError:
            return None
        found = msgspec.json.decode(mine.read_bytes(), type=_Waiting)
        mine.unlink()
        is_good = found.purpose == purpose and self._clock.now() < found.expires_at
        return found.principal if is_good else None

    def _sweep(self) -> None:
        """Remove what nobody came for, once a minute, and sooner where there is too much."""
        now = self._clock.now()
        waiting = os.listdir(self._folder)  # noqa: PTH208 - names are enough
        if now - self._swept_at < timedelta(seconds=SOCKET_TICKET_S) and len(waiting) < MOST:
            return
        self._swept_at = now
        for name in waiting:
            path = self._folder / name
            try:
                if now.timestamp() - path.stat().st_mtime > SOCKET_TICKET_S:
                    path.unlink()
            except FileNotFoundError:
                continue  # spent, or swept by another
        if len(os.listdir(self._folder)) >= MOST:  # noqa: PTH208
            raise TooMany("Too many tickets wait.", retry_after_s=5)
