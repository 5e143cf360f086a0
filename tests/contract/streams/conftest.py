"""One store for each kind of engine; every test has a tenant of its own in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage.bus import MemoryBus
from downstage.kernel.clock import SystemClock
from downstage.kernel.settings import Settings
from downstage.streams.engine import open_engine
from downstage.streams.model import Caller
from downstage.streams.service import open_streams
from downstage.testing.valkey import redis_process, valkey_cluster, valkey_process

from .store import Store, caller_of

KINDS = ("own", "valkey", "cluster", "redis-7.0")


@pytest.fixture(scope="session")
def engines() -> Iterator[dict[str, dict[str, Any]]]:
    """The section of the settings for each kind; somebody's own engines run for all tests."""
    with valkey_process() as valkey, valkey_cluster(3) as cluster, redis_process() as redis:
        yield {
            "own": {},
            "valkey": {"url": valkey.url},
            "cluster": {"url": cluster.url},
            "redis-7.0": {"url": redis.url, "allow_old_engines": True},
        }


@pytest.fixture(params=KINDS)
async def store(
    request: pytest.FixtureRequest, engines: dict[str, dict[str, Any]], anyio_backend: str
) -> AsyncIterator[Store]:
    """Streams on one kind of engine."""
    del anyio_backend
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    settings = Settings.model_validate({"streams": engines[request.param]})
    try:
        async with (
            open_engine(settings, folder, SystemClock()) as engine,
            open_streams(engine, MemoryBus(), settings.streams) as streams,
        ):
            yield Store(request.param, engine, streams)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def caller() -> Caller:
    """Somebody who may do everything with the streams of a new tenant."""
    return caller_of()
