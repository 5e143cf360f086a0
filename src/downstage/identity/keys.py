"""The signing keys: one signs, its elders verify until the last token they signed has expired."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, cast

import anyio
from joserfc.jwk import ECKey
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.auth.principal import Principal
from downstage.auth.seal import Sealer
from downstage.auth.tokens import SKEW_S, Signed, Signer, new_key
from downstage.identity.tables import keys
from downstage.kernel.clock import Clock
from downstage.kernel.logging import get_logger
from downstage.services.facilities.database import Database

__all__ = ["KeyRing"]

SLACK_S = 86_400.0
"""`needed_until` is written ahead by a day, so that few tokens cause a write."""
LONGEST_SLEEP_S = 3600.0
log = get_logger(__name__)


class KeyRing:
    """Signs with the newest key and publishes all that are needed.

    Args:
        database: identity's.
        sealer: seals private keys at rest.
        clock: of the platform.
        rotation: age at which a new key takes over.
    """

    def __init__(
        self, database: Database, sealer: Sealer, clock: Clock, rotation: timedelta
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._rotation_s = rotation.total_seconds()
        self._signer: Signer | None = None
        self._rotate_at = 0.0
        self._needed_until = 0.0
        self._lock = anyio.Lock()

    async def sign(
        self, principal: Principal, lifetime: timedelta, *, token_id: str = ""
    ) -> Signed:
        """A token for *principal*; its key stays published as long as the token lives."""
        async with self._lock:
            signer = await self._current()
            expires = self._clock.now().timestamp() + lifetime.total_seconds()
            if expires > self._needed_until:
                await self._need(signer.kid, expires + SLACK_S)
        return signer.sign(principal, lifetime, token_id=token_id)

    async def jwks(self) -> dict[str, Any]:
        """The public keys, newest first, as a JWK set."""
        async with self._lock:
            await self._current()
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(keys.c.public).order_by(keys.c.created_at.desc())
            )
            return {"keys": [row.public for row in rows]}

    async def run(self) -> None:
        """Rotate when it is time, until cancelled."""
        while True:
            async with self._lock:
                await self._current()
            left = self._rotate_at - self._clock.now().timestamp()
            await anyio.sleep(min(max(left, 1.0), LONGEST_SLEEP_S))

    async def _current(self) -> Signer:
        """The signer in use; a new one where there is none or its time has come."""
        if self._signer is not None and self._clock.now().timestamp() < self._rotate_at:
            return self._signer
        async with self._database.write() as connection:
            key, created_at = await self._newest(connection)
            now = self._clock.now().timestamp()
            if key is None or created_at + self._rotation_s <= now:
                key, created_at = await self._rotate(connection, now), now
        self._rotate_at = created_at + self._rotation_s
        self._signer = Signer(key, self._clock)
        return self._signer

    async def _newest(self, connection: AsyncConnection) -> tuple[ECKey | None, float]:
        found = await connection.execute(
            select(keys).where(keys.c.retired_at.is_(None)).order_by(keys.c.created_at.desc())
        )
        row = found.first()
        if row is None:
            return None, 0.0
        private = self._sealer.open(row.sealed, f"key:{row.kid}")
        self._needed_until = row.needed_until
        return ECKey.import_key(json.loads(private)), row.created_at

    async def _rotate(self, connection: AsyncConnection, now: float) -> ECKey:
        """Make a key, retire its elders, forget those that nobody needs."""
        key = new_key()
        kid = cast("str", key.kid)
        await connection.execute(
            update(keys).where(keys.c.retired_at.is_(None)).values(retired_at=now, sealed=None)
        )
        unneeded = keys.c.retired_at.is_not(None) & (keys.c.needed_until + SKEW_S < now)
        gone = await connection.execute(delete(keys).where(unneeded))
        await connection.execute(
            insert(keys).values(
                kid=kid,
                tenant="main",
                owner="service:identity",
                public=key.as_dict(private=False),
                sealed=self._sealer.seal(json.dumps(key.as_dict(private=True)), f"key:{kid}"),
                created_at=now,
                needed_until=now,
            )
        )
        self._needed_until = now
        log.info("key.rotated", kid=kid, forgotten=gone.rowcount)
        return key

    async def _need(self, kid: str, until: float) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                update(keys)
                .where((keys.c.kid == kid) & (keys.c.needed_until < until))
                .values(needed_until=until)
            )
        self._needed_until = until
