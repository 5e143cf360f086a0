"""Shares are revoked: at every gateway, and for whoever is connected by one.

The row goes first, so that nothing opens any more; then a hint lets each gateway put out who is
there. Where hints were lost, each looks up itself which shares of its viewers still count.
"""

from __future__ import annotations

from downstage.bus import Bus
from downstage.gateway.lines import SHARED
from downstage.gateway.rooms import Rooms
from downstage.gateway.sessions import Sessions
from downstage.gateway.shares import Share, Shares
from downstage.kernel.errors import NotFound, PlatformError
from downstage.kernel.logging import get_logger

__all__ = ["SHARE_REVOKED", "Revoker"]

SHARE_REVOKED = "gateway.share.revoked"
"""Bus subject; payload ``{"session_id": str, "share_id": str}``."""
log = get_logger(__name__)


class Revoker:
    """Revokes.

    Args:
        shares: where they are kept.
        sessions, rooms: of this gateway.
        bus: of the platform.
    """

    def __init__(self, shares: Shares, sessions: Sessions, rooms: Rooms, bus: Bus) -> None:
        self._shares = shares
        self._sessions = sessions
        self._rooms = rooms
        self._bus = bus

    async def __call__(self, share: Share) -> None:
        """Let *share* open nothing any more, and cut off who is connected by it."""
        await self._shares.remove(share.id)
        await self._sessions.store.drop_seats(share.session_id, f"{share.id}-")
        self._put_out(share.session_id, share.id)
        log.info("share.revoked", session_id=share.session_id)
        facts = {"session_id": share.session_id, "share_id": share.id}
        self._bus.publish(SHARE_REVOKED, facts)

    async def run(self) -> None:
        """Follow what other gateways revoke, until cancelled."""
        async with self._bus.subscribe(SHARE_REVOKED) as hints:
            async for hint in hints:
                if hint.gap:
                    await self._look()
                    continue
                session_id, share_id = hint.payload.get("session_id"), hint.payload.get("share_id")
                if isinstance(session_id, str) and isinstance(share_id, str):
                    self._put_out(session_id, share_id)

    def _put_out(self, session_id: str, share_id: str) -> None:
        if not share_id.startswith(SHARED):
            return
        seats = f"{share_id}-"
        self._sessions.store.forget_seats(session_id, seats)
        room = self._rooms.find(session_id)
        if room is not None:
            room.expel(seats, "revoked")

    async def _look(self) -> None:
        now = self._sessions.now().wall
        for session_id, share_id in self._rooms.seats(SHARED):
            try:
                await self._shares.get(share_id.rpartition("-")[0], now)
            except NotFound:
                self._put_out(session_id, share_id.rpartition("-")[0])
            except PlatformError as error:
                log.warning("share.not_checked", session_id=session_id, why=error.detail)
