"""Which gateways live. A session has its home at one of them, and only that one drives it.

Every gateway writes a row with its address again and again, by the database's clock: no two
machines need to agree about the time. Who is silent for `lease` is dead. So is one where nobody
listens any more: a connection that is refused says so at once. One that gets no answer says
nothing by itself, for the way may be barred; but together with a row that is late it tells of a
machine that is cut off. That a gateway was held to be dead by mistake does no harm: a home changes
by compare-and-set, and who finds its row taken lets the session go.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import anyio
from sqlalchemy import Float, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from downstage.gateway.tables import gateways
from downstage.kernel.errors import PlatformError
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.services.facilities.database import Database

__all__ = ["Homes"]

Found = Literal["open", "refused", "silent"]
"""What a probe finds at an address: somebody, nobody, or no answer at all."""
LOOKS = 3
"""Looks at what others do within a lease."""
BEAT_S = 0.5
"""Between two signs of life, unless the lease is very short."""
LATE = 2.5
"""A gateway is late when its last sign of life is so many beats old."""
PROBE_S = 0.4
BELIEVED_S: dict[Found, float] = {"open": 0.1, "refused": 0.5, "silent": 1.2}
"""How long the answer of a probe is believed: that somebody is there changes at once."""
REACHED_S = 60.0
"""One that was reached within so long, and is not now, is cut off; others may lie elsewhere."""
LONG_GONE = 1000
"""Rows of gateways silent for so many leases are removed."""
DEFAULT_PORTS = {"http": 80, "https": 443}
log = get_logger(__name__)


class _Seconds(FunctionElement[float]):
    """Now, in seconds, by the database's own clock."""

    type = Float()
    inherit_cache = True


@compiles(_Seconds, "sqlite")
def _sqlite_seconds(_element: _Seconds, _compiler: Any, **_: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_Seconds, "postgresql")
def _postgresql_seconds(_element: _Seconds, _compiler: Any, **_: Any) -> str:  # pyright: ignore[reportUnusedFunction]
    return "CAST(extract(epoch from clock_timestamp()) AS double precision)"


class Homes:
    """Gives signs of life of one gateway, and tells of the others.

    Args:
        database: of the gateways.
        url: address of this one; its name among them.
        lease: how long one that is silent still counts as alive.
        alone: the database is this gateway's own: whoever else is named in it is long gone.
        monotonic: seconds that never go back.
    """

    def __init__(
        self,
        database: Database,
        url: str,
        lease: timedelta,
        *,
        alone: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self.alone = alone
        self._database = database
        self._lease = lease.total_seconds()
        self._boot = new_id("g")
        self._monotonic = monotonic
        self._probed: dict[str, tuple[float, Found]] = {}
        self._probes: dict[str, anyio.Event] = {}
        self._reached: dict[str, float] = {}
        self._has_beaten = self._has_warned = False

    @property
    def pause(self) -> float:
        """Seconds between two looks at what others do."""
        return self._lease / LOOKS

    @property
    def beat_s(self) -> float:
        """Seconds between two signs of life."""
        return min(BEAT_S, self._lease / LOOKS)

    async def beat(self) -> None:
        """Give a sign of life."""
        if self.alone:
            return
        mine = gateways.c.url == self.url
        values = {"boot": self._boot, "seen_at": _Seconds(), "name": socket.gethostname()[:128]}
        async with self._database.write() as connection:
            age = _Seconds() - gateways.c.seen_at
            row = (await connection.execute(select(gateways.c.boot, age).where(mine))).first()
            if row is None:
                await connection.execute(insert(gateways).values(url=self.url, **values))
            else:
                await connection.execute(update(gateways).where(mine).values(**values))
            await connection.execute(delete(gateways).where(age > self._lease * LONG_GONE))
        self._check_twin(row)

    async def leave(self) -> None:
        """Count as dead from now on: an orderly end."""
        if self.alone:
            return
        async with self._database.write() as connection:
            await connection.execute(
                delete(gateways).where(gateways.c.url == self.url, gateways.c.boot == self._boot)
            )

    async def is_alive(self, url: str) -> bool:
        """Whether the gateway at *url* still drives what has its home there.

        It does not where its signs of life are older than the lease, where its port refuses
        connections, or where it is late *and* does not answer: a machine that is only busy
        answers, for its system does that.
        """
        if url == self.url:
            return True
        if self.alone:
            return False
        age = _Seconds() - gateways.c.seen_at
        async with self._database.read() as connection:
            found = (await connection.execute(select(age).where(gateways.c.url == url))).scalar()
        if found is None or found > self._lease:
            return False
        answer = await self._probe(url)
        return answer == "open" or (answer == "silent" and not self._is_cut_off(url, found))

    async def living(self) -> list[str]:
        """Addresses of all that give signs of life, ours among them."""
        if self.alone:
            return [self.url]
        async with self._database.read() as connection:
            rows = await connection.execute(select(gateways.c.url).where(self.fresh()))
            return sorted({self.url, *(row.url for row in rows)})

    def fresh(self) -> Any:
        """The condition, in SQL, on a row of ``gateways``: it was seen within the lease."""
        return _Seconds() - gateways.c.seen_at <= self._lease

    async def run(self) -> None:
        """Give signs of life until cancelled; while the database is away, try again."""
        async with anyio.create_task_group() as tasks:
            if not self.alone:
                tasks.start_soon(self._watch)
            while True:
                await anyio.sleep(self.beat_s)
                try:
                    await self.beat()
                except (PlatformError, SQLAlchemyError, OSError) as error:
                    log.warning("gateway.sign_not_given", error=type(error).__name__)

    def _check_twin(self, row: Any) -> None:
        """Two gateways under one address would both drive the same sessions: tell it once."""
        is_other = row is not None and row.boot != self._boot
        if is_other and self._has_beaten and not self._has_warned:
            self._has_warned = True
            log.error("gateway.address_shared", url=self.url)
        self._has_beaten = True

    async def _watch(self) -> None:
        """Probe the others again and again: whoever asks after a home gets the answer at once."""
        while True:
            try:
                for url in await self.living():
                    if url != self.url:
                        await self._probe(url)
            except (PlatformError, SQLAlchemyError, OSError) as error:
                log.debug("gateway.not_probed", error=type(error).__name__)
            await anyio.sleep(self.beat_s)

    def _is_cut_off(self, url: str, age: float) -> bool:
        reached = self._reached.get(url)
        is_near = reached is not None and self._monotonic() - reached < REACHED_S
        return is_near and age > self.beat_s * LATE

    async def _probe(self, url: str) -> Found:
        """What is at *url*; who asks while somebody looks waits for the same answer."""
        while True:
            at, answer = self._probed.get(url, (0.0, None))
            if answer is not None and self._monotonic() - at < BELIEVED_S[answer]:
                return answer
            if url not in self._probes:
                break
            await self._probes[url].wait()
        looked = self._probes[url] = anyio.Event()
        try:
            answer = await _look_at(url)
            now = self._monotonic()
            self._probed[url] = (now, answer)
            if answer == "open":
                self._reached[url] = now
            return answer
        finally:
            del self._probes[url]
            looked.set()


async def _look_at(url: str) -> Found:
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, 443)
    try:
        with anyio.fail_after(PROBE_S):
            stream = await anyio.connect_tcp(parts.hostname or "", port)
    except TimeoutError:
        return "silent"
    except OSError as error:
        return "refused" if _is_refused(error) else "silent"
    await stream.aclose()
    return "open"


def _is_refused(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        several = cast("BaseExceptionGroup[BaseException]", error)
        return all(_is_refused(item) for item in several.exceptions)
    if isinstance(error, ConnectionRefusedError):
        return True
    return error.__cause__ is not None and _is_refused(error.__cause__)
