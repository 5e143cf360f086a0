"""What every engine must do: ours, one of somebody's own, a cluster, and an old Redis let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import BadId, DurabilityUnavailable
from downstage.kernel.settings import Settings
from downstage.streams.engine import (
    Engine,
    Lost,
    NotReady,
    Refused,
    encode,
    open_engine,
    wait_replicas,
)
from downstage.streams.model import Durability
from downstage.testing.valkey import redis_process, valkey_cluster, valkey_process

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

KINDS = ("own", "valkey", "cluster", "redis-7.0")


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, dict[str, Any]]]:
    """The section of the settings for each kind; somebody's own engines run for all tests."""
    with valkey_process() as valkey, valkey_cluster(3) as cluster, redis_process() as redis:
        yield {
            "own": {},
            "valkey": {"url": valkey.url},
            "cluster": {"url": cluster.url},
            "redis-7.0": {"url": redis.url, "allow_old_engines": True},
        }


@pytest.fixture(params=KINDS)
def streams(request: pytest.FixtureRequest, servers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The section of the settings for one kind of engine."""
    return servers[request.param]


@pytest.fixture
async def engine(streams: dict[str, Any], data: Path) -> AsyncIterator[Engine]:
    settings = Settings.model_validate({"streams": streams})
    async with open_engine(settings, data, SystemClock()) as engine:
        assert engine.state.word == "ready", engine.state
        yield engine


def key(request: pytest.FixtureRequest, number: int = 0) -> bytes:
    """One that no other test has."""
    return f"{request.node.name}:{number}".encode()


async def test_it_says_what_it_promises(engine: Engine) -> None:
    for shard in engine.shards:
        assert shard.is_up
        assert shard.epoch == 1
        assert shard.durability is Durability.EVERYSEC
        assert shard.facts
        assert shard.facts.policy == "noeviction"
        assert shard.run_id


async def test_every_key_has_a_shard_that_takes_it(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    used = set[str]()
    for number in range(40):
        shard = engine.shard_of(key(request, number))
        used.add(shard.name)
        await shard.train.call("XADD", key(request, number), "*", "d", number)
        assert await shard.command.call("XLEN", key(request, number)) == 1
    assert len(used) == len(engine.shards) == (3 if engine.is_cluster else 1)


async def test_a_train_is_answered_in_order(engine: Engine, request: pytest.FixtureRequest) -> None:
    name, count = key(request), 500
    shard = engine.shard_of(name)
    done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    train = [encode("XADD", name, f"{n + 1}-0", "d", bytes(n)) for n in range(count)]
    shard.train.send(train, count, done.set_result)
    with anyio.fail_after(10):
        assert await done == [b"%d-0" % (n + 1) for n in range(count)]
    entries = await shard.command.call("XRANGE", name, "-", "+")
    assert [len(entry[1][1]) for entry in entries] == list(range(count))


async def test_an_old_id_is_refused_and_what_follows_is_stored(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    name = key(request)
    shard = engine.shard_of(name)
    done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    train = [encode("XADD", name, one, "d", "x") for one in ("5-0", "4-0", "nonsense", "6-0")]
    shard.train.send(train, 4, done.set_result)
    with anyio.fail_after(10):
        first, old, nonsense, last = await done
    assert (first, last) == (b"5-0", b"6-0")
    assert isinstance(old, BadId)
    assert isinstance(nonsense, BadId)


async def test_a_blocking_reader_holds_up_nobody(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    name = key(request)
    shard = engine.shard_of(name)
    reader = await shard.new_lane()
    waiting = asyncio.ensure_future(
        reader.call("XREAD", "BLOCK", 10_000, "STREAMS", name, "$", deadline_s=20)
    )
    while b"cmd=xread" not in await shard.command.call("CLIENT", "LIST"):
        await anyio.sleep(0.01)
    stored = await shard.train.call("XADD", name, "*", "d", "x")
    with anyio.fail_after(10):
        assert (await waiting)[0][1][0][0] == stored
    await reader.close()


async def test_a_waiting_reader_can_be_woken(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    name = key(request)
    shard = engine.shard_of(name)
    reader = await shard.new_lane()
    number = await reader.call("CLIENT", "ID")
    waiting = asyncio.ensure_future(
        reader.call("XREAD", "BLOCK", 10_000, "STREAMS", name, "$", deadline_s=20)
    )
    with anyio.fail_after(10):
        while not await shard.command.call("CLIENT", "UNBLOCK", number):
            await anyio.sleep(0.01)
        assert await waiting is None
    await reader.close()


async def test_what_is_wrong_is_refused_and_the_connection_lives(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    shard = engine.shard_of(key(request))
    await shard.command.call("SET", key(request), "text")
    with pytest.raises(Refused) as caught:
        await shard.command.call("XADD", key(request), "*", "d", "x")
    assert caught.value.word == "WRONGTYPE"
    assert await shard.command.call("PING") == b"PONG"
    assert shard.epoch == 1


async def test_a_broken_connection_is_a_pause(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    name = key(request)
    shard = engine.shard_of(name)
    told: list[str] = []
    shard.on_down.add(lambda s: told.append(f"down {s.epoch}"))
    shard.on_up.add(lambda s: told.append(f"up {s.epoch}"))
    lane = shard.train
    stored = await lane.call("XADD", name, "*", "d", "x")
    reader = await shard.new_lane()
    waiting = asyncio.ensure_future(
        reader.call("XREAD", "BLOCK", 10_000, "STREAMS", name, "$", deadline_s=20)
    )
    await anyio.lowlevel.checkpoint()
    lane.abort()
    with pytest.raises(Lost):
        await waiting
    with pytest.raises(NotReady):
        _ = shard.train
    with anyio.fail_after(10):
        await shard.wait_up()
    assert told == ["down 1", "up 2"]
    entries = await shard.command.call("XRANGE", name, "-", "+")
    assert [entry[0] for entry in entries] == [stored]


async def test_pressure_outlives_a_connection(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    name = key(request)
    shard = engine.shard_of(name)
    told: list[bool] = []
    shard.pressure.add(told.append)
    shard.train.abort()
    with anyio.fail_after(10):
        while shard.is_up:
            await anyio.sleep(0)
        await shard.wait_up()
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        train = [encode("XADD", name, "*", "d", bytes(1 << 20)) for _ in range(40)]
        shard.train.send(train, 40, done.set_result)
        assert told == [True]
        await done
    assert told == [True, False]
    await shard.command.call("DEL", name)


async def test_nobody_has_it_too_where_there_is_no_replica(
    engine: Engine, request: pytest.FixtureRequest
) -> None:
    shard = engine.shard_of(key(request))
    lane = await shard.new_lane()
    assert shard.replicas == 0
    assert await wait_replicas(lane, deadline_s=0.01) == 0
    await lane.close()


async def test_durable_streams_have_an_engine_or_a_clear_refusal(
    engine: Engine, streams: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    name = key(request)
    with pytest.raises(DurabilityUnavailable):
        engine.shard_of(name, durable=True)
    if "url" in streams:
        with pytest.raises(DurabilityUnavailable, match="durable_url"):
            await engine.prepare_durable()
        return
    told: list[int] = []
    engine.on_shards.add(lambda: told.append(len(engine.shards)))
    await engine.prepare_durable()
    await engine.prepare_durable()
    shard = engine.shard_of(name, durable=True)
    assert shard.durability is Durability.ALWAYS
    assert shard.is_durable
    assert shard is not engine.shard_of(name)
    assert told == [2]
    await shard.train.call("XADD", name, "*", "d", "x")
    with suppress(NotReady):
        assert await engine.shard_of(name).command.call("XLEN", name) == 0
