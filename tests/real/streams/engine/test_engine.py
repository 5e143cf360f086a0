"""Engines that are refused, restart, read their log, fail over, move, or are shared."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme

from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import DurabilityUnavailable, SetupError
from downstage.kernel.settings import Settings
from downstage.streams.engine import (
    Engine,
    Lane,
    Lost,
    NotReady,
    Shard,
    encode,
    open_engine,
    slot_of,
    wait_replicas,
)
from downstage.streams.model import Durability
from downstage.testing.valkey import (
    EngineServer,
    redis_process,
    valkey_cluster,
    valkey_pair,
    valkey_process,
)

pytestmark = [pytest.mark.real, pytest.mark.anyio]


@asynccontextmanager
async def opened(data: Path, *, attach: bool = False, **streams: Any) -> AsyncGenerator[Engine]:
    settings = Settings.model_validate({"streams": streams})
    async with open_engine(settings, data, SystemClock(), attach=attach) as engine:
        yield engine


async def until(shard: Shard, word: str) -> None:
    with anyio.fail_after(30):
        while shard.state.word != word:
            await shard.wait_changed()


def refused_text(caught: pytest.ExceptionInfo[SetupError]) -> str:
    assert "only-for-tests" not in caught.value.detail
    return caught.value.detail


# --- refused -------------------------------------------------------------------------------------


async def test_an_old_engine_is_refused_with_the_reason(data: Path) -> None:
    with redis_process() as server, pytest.raises(SetupError) as caught:
        async with opened(data, url=server.url):
            pass
    text = refused_text(caught)
    assert "Redis 7." in text
    assert "CVE-2026-23479" in text
    assert "8.6.3" in text


async def test_an_engine_that_throws_entries_away_is_refused(data: Path) -> None:
    configuration = "maxmemory 64mb\nmaxmemory-policy allkeys-lru\n"
    with valkey_process(configuration) as server, pytest.raises(SetupError) as caught:
        async with opened(data, url=server.url):
            pass
    assert "maxmemory-policy noeviction" in refused_text(caught)


async def test_a_wrong_password_is_refused_without_repeating_it(data: Path) -> None:
    with valkey_process() as server:
        url = server.url.replace("only-for-tests", "hunter2-is-wrong")
        with pytest.raises(SetupError) as caught:
            async with opened(data, url=url):
                pass
    assert "does not let us in" in caught.value.detail
    assert "hunter2" not in caught.value.detail


async def test_a_durable_url_that_is_not_is_refused(data: Path) -> None:
    with valkey_process() as server, pytest.raises(SetupError) as caught:
        async with opened(data, url=server.url, durable_url=server.url):
            pass
    assert "appendfsync always" in refused_text(caught)


async def test_another_machine_without_a_password_is_refused(data: Path) -> None:
    with pytest.raises(SetupError, match="without a password"):
        async with opened(data, url="redis://192.0.2.1:6379"):
            pass


# --- what is promised ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fsync", "promise"),
    [("none", Durability.MEMORY), ("no", Durability.MEMORY), ("always", Durability.ALWAYS)],
)
async def test_the_promise_is_what_the_engine_is_set_to(
    data: Path, fsync: str, promise: Durability
) -> None:
    with valkey_process(fsync=fsync) as server:
        async with opened(data, url=server.url) as engine:
            assert engine.shards[0].durability is promise
            if promise is Durability.ALWAYS:  # then it serves durable streams as well
                await engine.prepare_durable()
                assert engine.shard_of(b"k", durable=True) is engine.shard_of(b"k")


async def test_an_engine_that_may_not_be_asked_promises_the_least(data: Path) -> None:
    with valkey_process("user guest on >guest ~* +@all -config\n", fsync="always") as server:
        url = server.url.replace(":only-for-tests@", "guest:guest@")
        async with opened(data, url=url) as engine:
            assert engine.shards[0].durability is Durability.MEMORY
            with pytest.raises(DurabilityUnavailable):
                await engine.prepare_durable()


async def test_a_second_engine_serves_durable_streams(data: Path) -> None:
    with valkey_process() as main, valkey_process(fsync="always") as durable:
        async with opened(data, url=main.url, durable_url=durable.url) as engine:
            shard = engine.shard_of(b"k", durable=True)
            assert (shard.durability, shard.is_durable) == (Durability.ALWAYS, True)
            assert engine.shard_of(b"k").durability is Durability.EVERYSEC


async def test_the_durable_engine_is_there_again_after_a_restart(data: Path) -> None:
    async with opened(data) as engine:
        await engine.prepare_durable()
        await engine.shard_of(b"k", durable=True).train.call("XADD", "k", "1-1", "d", "x")
    async with opened(data) as engine:
        shard = engine.shard_of(b"k", durable=True)
        with anyio.fail_after(10):
            await shard.wait_up()
        assert await shard.command.call("XLEN", "k") == 1


async def test_tls_is_spoken_and_its_authority_checked(data: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("downstage.streams.engine.nodes.FIRST_PATIENCE_S", 1.0)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    files = (data / "cert.pem", data / "key.pem", data / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(str(files[0]))
    certificate.private_key_pem.write_to_path(str(files[1]))
    authority.cert_pem.write_to_path(str(files[2]))
    with redis_process(tls=files) as server:
        async with opened(data, url=server.url, allow_old_engines=True) as engine:
            await engine.shards[0].train.call("XADD", "k", "*", "d", bytes(1 << 20))
            (entry,) = await engine.shards[0].command.call("XRANGE", "k", "-", "+")
            assert len(entry[1][1]) == 1 << 20
        trustme.CA().cert_pem.write_to_path(str(files[2]))
        async with opened(data / "2", url=server.url, allow_old_engines=True) as engine:
            assert engine.state.word == "down"
            assert "certificate" in engine.state.detail.lower()


# --- restarts ------------------------------------------------------------------------------------


async def test_an_engine_that_comes_late_is_a_pause(data: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("downstage.streams.engine.nodes.FIRST_PATIENCE_S", 0.2)
    server = valkey_process()
    with server:
        server.stop()
        async with opened(data, url=server.url) as engine:
            assert engine.state.word == "down"
            with pytest.raises(NotReady):
                engine.shard_of(b"k")
            changed = anyio.Event()
            engine.on_shards.add(changed.set)
            await anyio.to_thread.run_sync(server.start)
            with anyio.fail_after(10):
                await changed.wait()
                await engine.shard_of(b"k").wait_up()
            assert engine.state.word == "ready"


class Writer:
    """Adds entries in trains, in step with the answers, and keeps account of them."""

    def __init__(self, size: int = 512) -> None:
        self.sent = 0
        self.stored: list[bytes] = []
        self.unknown = 0
        self._size = size

    async def write(self, lane: Lane, trains: int) -> None:
        for _ in range(trains):
            done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
            ids = [b"%d-0" % (self.sent + n + 1) for n in range(32)]
            train = [encode("XADD", "k", one, "d", bytes(self._size)) for one in ids]
            lane.send(train, 32, done.set_result)
            self.sent += 32
            for reply in await done:
                if isinstance(reply, bytes):
                    self.stored.append(reply)
                else:
                    self.unknown += 1
            if not lane.is_open:
                return


async def test_a_kill_under_load_loses_nothing_that_was_answered(data: Path) -> None:
    async with opened(data) as engine:
        shard = engine.shard_of(b"k")
        writer, run = Writer(), shard.run_id
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(writer.write, shard.train, 100_000)
            while len(writer.stored) < 2000:
                await anyio.sleep(0)
            pid = engine.processes[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        assert writer.unknown > 0  # what was under way is told as not known
        with anyio.fail_after(20):
            await shard.wait_up()
        assert (shard.epoch, shard.run_id == run) == (2, False)
        entries = await shard.command.call("XRANGE", "k", "-", "+")
        present = [entry[0] for entry in entries]
        assert len(set(present)) == len(present)
        assert set(writer.stored) <= set(present)


def loads_slowly() -> EngineServer:
    """An engine whose log takes a while to read: it makes a pause after each of its keys."""
    return valkey_process("key-load-delay 20000\nloading-process-events-interval-bytes 1024\n")


async def test_loading_is_a_pause_and_never_an_error_of_the_client(data: Path) -> None:
    with loads_slowly() as server:
        async with opened(data, url=server.url) as engine:
            shard = engine.shard_of(b"k0")
            for number in range(60):
                await shard.train.call("SET", f"k{number}", bytes(4096))
            await shard.command.call("BGREWRITEAOF")
            with anyio.fail_after(20):
                while "aof_rewrite_in_progress:0" not in str(await shard.command.call("INFO")):
                    await anyio.sleep(0.01)
            await anyio.to_thread.run_sync(server.kill9)
            await anyio.to_thread.run_sync(lambda: server.start(loaded=False))
            await until(shard, "loading")
            assert engine.state.word == "loading"
            with pytest.raises(NotReady) as caught:
                _ = shard.train
            assert (caught.value.word, caught.value.status) == ("LOADING", 503)
            await until(shard, "ready")
            assert await shard.command.call("STRLEN", "k59") == 4096


async def test_a_platform_starts_while_its_engine_still_loads(data: Path) -> None:
    with loads_slowly() as server:
        for number in range(60):
            server.call("SET", f"k{number}", bytes(4096))
        server.call("CONFIG", "SET", "aof-use-rdb-preamble", "yes")
        server.call("BGREWRITEAOF")
        while server.info("aof_rewrite_in_progress") != "0":
            await anyio.sleep(0.01)
        server.kill9()
        await anyio.to_thread.run_sync(lambda: server.start(loaded=False))
        async with opened(data, url=server.url) as engine:
            words = [engine.state.word]
            with anyio.fail_after(30):
                while engine.state.word != "ready":
                    await anyio.sleep(0.01)
                    words.append(engine.state.word)
            assert set(words) <= {"loading", "starting", "down", "ready"}
            assert "refused" not in words


async def test_a_stalled_engine_is_given_up(data: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("downstage.streams.engine.shard.STALLED_S", 0.3)
    monkeypatch.setattr("downstage.streams.engine.shard.LOOK_S", 0.1)
    monkeypatch.setattr("downstage.streams.engine.facts.DEADLINE_S", 0.2)
    with valkey_process() as server:
        async with opened(data, url=server.url) as engine:
            shard = engine.shard_of(b"k")
            server.pause()
            try:
                with pytest.raises(Lost), anyio.fail_after(10):
                    await shard.train.call("XADD", "k", "*", "d", "x", deadline_s=30)
            finally:
                server.resume()
            with anyio.fail_after(20):
                await shard.wait_up()
            await shard.train.call("XADD", "k", "*", "d", "x")


# --- shared --------------------------------------------------------------------------------------


async def test_another_worker_uses_the_engine_that_is_there(data: Path) -> None:
    async with opened(data) as first, opened(data, attach=True) as second:
        await first.shard_of(b"k").train.call("XADD", "k", "1-1", "d", "x")
        assert await second.shard_of(b"k").command.call("XLEN", "k") == 1
        assert second.processes == []
        pid = first.processes[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(second.shards[0], "down")
        with anyio.fail_after(20):
            await second.shards[0].wait_up()
        assert await second.shard_of(b"k").command.call("XLEN", "k") == 1


async def test_workers_share_the_durable_engine_too(data: Path) -> None:
    async with opened(data, workers=2) as first, opened(data, attach=True) as second:
        await first.prepare_durable()
        await second.prepare_durable()
        await second.shard_of(b"k", durable=True).train.call("XADD", "k", "*", "d", "x")
        assert await first.shard_of(b"k", durable=True).command.call("XLEN", "k") == 1
        assert len(first.processes) == 2


async def test_a_worker_cannot_start_the_durable_engine_alone(data: Path) -> None:
    async with opened(data) as first, opened(data, attach=True) as second:
        with pytest.raises(DurabilityUnavailable, match="workers"):
            await second.prepare_durable()
        await first.prepare_durable()
        await second.prepare_durable()
        assert second.shard_of(b"k", durable=True).durability is Durability.ALWAYS


async def test_nothing_says_where_an_engine_was(data: Path) -> None:
    async with opened(data):
        assert (data / "engine" / "access.json").exists()
    assert not (data / "engine" / "access.json").exists()


async def test_to_attach_where_nothing_runs_is_a_clear_error(data: Path) -> None:
    with pytest.raises(SetupError, match="No engine of streams was started"):
        async with opened(data, attach=True):
            pass


# --- failover ------------------------------------------------------------------------------------


async def test_a_replica_that_takes_over_is_found_and_has_what_was_replicated(data: Path) -> None:
    with valkey_pair() as pair:
        async with opened(data, url=pair.url) as engine:
            shard = engine.shard_of(b"k")
            assert shard.replicas == 1
            lane = await shard.new_lane()
            stored = await lane.call("XADD", "k", "*", "d", "x")
            assert await wait_replicas(lane) == 1
            run = shard.run_id
            await anyio.to_thread.run_sync(pair.primary.kill9)
            with anyio.fail_after(20):  # the replica is found, and not taken for what it is not
                while "follows another node" not in shard.state.detail:
                    await shard.wait_changed()
            await anyio.to_thread.run_sync(pair.promote)
            with anyio.fail_after(20):
                await shard.wait_up()
            assert (shard.epoch, shard.run_id == run) == (2, False)
            entries = await shard.command.call("XRANGE", "k", "-", "+")
            assert [entry[0] for entry in entries] == [stored]
            await shard.train.call("XADD", "k", "*", "d", "x")
            assert not lane.is_open


async def test_a_primary_that_was_demoted_is_left(data: Path) -> None:
    with valkey_pair() as pair:
        async with opened(data, url=pair.url) as engine:
            shard = engine.shard_of(b"k")
            await anyio.to_thread.run_sync(pair.promote)
            try:
                await shard.train.call("XADD", "k", "*", "d", "x")
            except NotReady:
                pass  # READONLY: what makes it look again
            else:
                pytest.fail("the demoted one took it")
            with anyio.fail_after(20):
                while shard.epoch < 2 or not shard.is_up:
                    await anyio.sleep(0.01)
            await shard.train.call("XADD", "k", "*", "d", "x")
            assert pair.primary.call("XLEN", "k") == 1


async def test_a_part_of_a_cluster_fails_over_and_the_others_go_on(data: Path) -> None:
    with valkey_cluster(3, replicas=True) as cluster:
        async with opened(data, url=cluster.url) as engine:
            keys = {engine.shard_of(b"k%d" % n): b"k%d" % n for n in range(50)}
            hit = engine.shard_of(b"{a}")
            for shard, name in keys.items():
                await shard.train.call("XADD", name, "*", "d", "x")
            port = hit.facts and hit._address and hit._address.port
            victim = next(node for node in cluster.nodes if node.port == port)
            await anyio.to_thread.run_sync(victim.kill9)
            await until(hit, "down")
            for shard, name in keys.items():
                if shard is not hit:
                    await shard.train.call("XADD", name, "*", "d", "x")
                    assert shard.epoch == 1
            with anyio.fail_after(30):
                await hit.wait_up()
            assert engine.shard_of(b"{a}") is hit
            await hit.train.call("XADD", keys[hit], "*", "d", "x")
            assert len(engine.shards) == 3


async def test_a_slot_that_moves_is_followed(data: Path) -> None:
    with valkey_cluster(3) as cluster:
        async with opened(data, url=cluster.url) as engine:
            key, slot = b"{a}k", slot_of(b"{a}k")
            old = engine.shard_of(key)
            await old.train.call("XADD", key, "1-1", "d", "x")
            assert old._address
            source = next(n for n in cluster.nodes if n.port == old._address.port)
            target = next(n for n in cluster.nodes if n is not source)
            changed = anyio.Event()
            engine.on_shards.add(changed.set)
            await anyio.to_thread.run_sync(move, source, target, slot, key, cluster.nodes)
            with pytest.raises(NotReady) as caught:
                await old.train.call("XADD", key, "2-1", "d", "x")
            assert caught.value.word == "MOVED"
            with anyio.fail_after(20):
                await changed.wait()
            new = engine.shard_of(key)
            assert new is not old
            assert await new.train.call("XADD", key, "2-1", "d", "x") == b"2-1"
            assert await new.command.call("XLEN", key) == 2


def move(
    source: EngineServer, target: EngineServer, slot: int, key: bytes, nodes: tuple[Any, ...]
) -> None:
    mine, theirs = bytes(source.call("CLUSTER", "MYID")), bytes(target.call("CLUSTER", "MYID"))
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", mine)
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", theirs)
    answer = source.call(
        "MIGRATE", "127.0.0.1", target.port, key, 0, 5000, "AUTH", "only-for-tests"
    )
    assert answer == b"OK", answer
    for node in (target, source, *nodes):
        node.call("CLUSTER", "SETSLOT", slot, "NODE", theirs)
