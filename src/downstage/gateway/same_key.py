"""All gateways on one database close what waits with one key: a start with another is refused.

The database holds a mark of the key, which tells it from others and nothing of it. The first start
leaves it; a database that an earlier release wrote gets it at the next start.
"""

from __future__ import annotations

import hmac
from pathlib import Path

from sqlalchemy import insert, select, update

from downstage.auth.seal import Sealer
from downstage.gateway.tables import keys
from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.services.facilities.database import Database

__all__ = ["check_key"]

NAME = "gateway"
log = get_logger(__name__)


async def check_key(database: Database, sealer: Sealer, path: Path, *, is_new: bool) -> None:
    """Find that *sealer* has the key of this database, or give it that one.

    Args:
        database: of the gateways.
        sealer: of the key file *path*.
        path: for messages.
        is_new: the key is to take the place of the one before.

    Raises:
        SetupError: another gateway closed what is there, with another key.
    """
    mine = sealer.mark()
    async with database.write() as connection:
        query = select(keys.c.mark).where(keys.c.name == NAME)
        known = (await connection.execute(query)).scalar_one_or_none()
        if known is None:
            await connection.execute(insert(keys).values(name=NAME, mark=mine))
            return
        if hmac.compare_digest(known, mine):
            return
        if not is_new:
            raise SetupError(
                f"The key file {path} is not the one that this database was sealed with. "
                "Gateways on one database share one key: put a copy of the first gateway's "
                "gateway.key in its place (mode 0600). Where that one is lost, stop all gateways "
                "and start one with gateway.new_key = true: sessions that wait in the queue fail, "
                "and links that were shared are not shown again."
            )
        await connection.execute(update(keys).where(keys.c.name == NAME).values(mark=mine))
    log.warning("gateway.key_replaced", file=str(path))
