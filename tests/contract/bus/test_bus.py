"""What every bus promises, held to by each: order, patterns, gaps, endings, bounds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from downstage.bus import Bus, MemoryBus
from downstage.bus.bus import MAX_HINT
from downstage.bus.mailbox import QUEUE
from downstage.bus.nats import OUTGOING, NatsBus
from downstage.bus.nats_options import NatsOptions
from downstage.bus.nats_pool import close_connections, connection
from downstage.testing.nats import NatsServer

pytestmark = [pytest.mark.contract, pytest.mark.anyio]


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


class Buses(ABC):
    @abstractmethod
    def make(self, server: NatsServer) -> AbstractAsyncContextManager[Bus]:
        """A bus that runs."""

    @pytest.fixture
    async def bus(self, nats_server: NatsServer) -> AsyncIterator[Bus]:
        with anyio.fail_after(20):
            async with self.make(nats_server) as bus:
                yield bus

    async def test_messages_come_in_order_to_all_who_listen(self, bus: Bus) -> None:
        async with bus.subscribe("a.*") as first, bus.subscribe("a.>") as second:
            for number in range(100):
                bus.publish("a.b", {"n": number})
                bus.publish("b.b", {"n": -1})
            for messages in (first, second):
                got = [await anext(messages) for _ in range(100)]
                assert [m.payload["n"] for m in got] == list(range(100))
                assert {m.subject for m in got} == {"a.b"}
                assert not any(m.gap for m in got)

    @pytest.mark.parametrize(
        ("pattern", "fits"), [("x.*.z", ["x.y.z"]), ("x.>", ["x.y", "x.y.z"]), ("x", ["x"])]
    )
    async def test_patterns_mean_the_same(self, bus: Bus, pattern: str, fits: list[str]) -> None:
        async with bus.subscribe(pattern) as messages:
            for subject in ("x", "x.y", "x.y.z", "y.x"):
                bus.publish(subject, {})
            bus.publish(fits[-1], {"last": True})
            got = [await anext(messages) for _ in range(len(fits) + 1)]
        assert [m.subject for m in got] == [*fits, fits[-1]]

    async def test_a_payload_arrives_as_json_and_a_copy(self, bus: Bus) -> None:
        payload: dict[str, object] = {"ids": ("a", "b"), "text": "ü\n\0", "none": None}
        async with bus.subscribe("a") as messages:
            bus.publish("a", payload)
            payload["text"] = "changed"
            got = (await anext(messages)).payload
        assert got == {"ids": ["a", "b"], "text": "ü\n\0", "none": None}

    @pytest.mark.parametrize("subject", ["", "a..b", ".a", "a.", "a b", "a.*", ">", "a\r\nPUB b"])
    async def test_ill_formed_subjects_are_refused(self, bus: Bus, subject: str) -> None:
        with pytest.raises(ValueError, match="no subject"):
            bus.publish(subject, {})

    async def test_payloads_are_bounded_json(self, bus: Bus) -> None:
        with pytest.raises(ValueError, match="larger than"):
            bus.publish("a", {"x": "x" * MAX_HINT})
        with pytest.raises(ValueError, match="not JSON"):
            bus.publish("a", {"x": object()})
        async with bus.subscribe("a") as messages:
            bus.publish("a", {"x": "x" * (MAX_HINT - 100)})
            assert len(str((await anext(messages)).payload["x"])) == MAX_HINT - 100

    async def test_a_slow_listener_loses_the_oldest_and_learns_of_it(self, bus: Bus) -> None:
        async with bus.subscribe("done") as done, bus.subscribe("a") as messages:
            for number in range(QUEUE + 3):
                bus.publish("a", {"n": number})
            bus.publish("done", {})
            await anext(done)
            first, second = await anext(messages), await anext(messages)
        assert (first.payload["n"], first.gap) == (3, True)
        assert (second.payload["n"], second.gap) == (4, False)

    async def test_a_cancelled_listener_loses_nothing(self, bus: Bus) -> None:
        async with bus.subscribe("a") as messages:
            with anyio.move_on_after(0.01):
                await anext(messages)
            bus.publish("a", {"n": 1})
            assert (await anext(messages)).payload["n"] == 1

    async def test_who_left_gets_nothing_and_disturbs_nobody(self, bus: Bus) -> None:
        async with bus.subscribe("a"):
            pass
        bus.publish("a", {})
        async with bus.subscribe("a") as messages:
            bus.publish("a", {"n": 2})
            while (await anext(messages)).payload.get("n") != 2:
                pass  # what was published just before may still come


class TestMemory(Buses):
    @asynccontextmanager
    async def make(self, server: NatsServer) -> AsyncIterator[Bus]:
        del server
        yield MemoryBus()


def options(server: NatsServer) -> NatsOptions:
    return NatsOptions((f"127.0.0.1:{server.port}",))


@asynccontextmanager
async def running(server: NatsServer) -> AsyncIterator[NatsBus]:
    bus = NatsBus(options(server))
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(bus.run)
            yield bus
            tasks.cancel_scope.cancel()
    finally:
        await close_connections()


class TestNats(Buses):
    def make(self, server: NatsServer) -> AbstractAsyncContextManager[Bus]:
        return running(server)

    async def test_nobody_waits_for_a_server_that_is_away(self) -> None:
        """Published meanwhile, delivered later; and everybody is told that more may be missing."""
        with NatsServer() as server:
            async with running(server) as bus, bus.subscribe("a") as messages:
                bus.publish("a", {"n": 1})
                assert (await anext(messages)).gap is False
                server.kill()
                bus.publish("a", {"n": 2})
                await anyio.sleep(0.2)
                bus.publish("a", {"n": 3})
                server.start()
                got = list[object]()
                gaps = 0
                with anyio.fail_after(20):
                    while 3 not in got:
                        message = await anext(messages)
                        got += message.payload.values()
                        gaps += message.gap
                assert gaps >= 1

    async def test_a_listener_learns_of_a_gap_without_any_message(self) -> None:
        with NatsServer() as server:
            async with running(server) as bus, bus.subscribe("a") as messages:
                server.kill()
                server.start()
                with anyio.fail_after(20):
                    message = await anext(messages)
                assert (message.subject, message.payload, message.gap) == ("", {}, True)

    async def test_others_learn_that_a_publisher_may_have_lost_something(
        self, nats_server: NatsServer
    ) -> None:
        """Its connection broke, theirs did not."""
        async with running(nats_server) as bus, bus.subscribe("a") as messages:
            other = replace(options(nats_server), user="other", password="x")
            publisher = NatsBus(other)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(publisher.run)
                publisher.publish("a", {"n": 1})
                assert (await anext(messages)).gap is False
                shared = await connection(other)
                assert shared._client is not None
                shared._client._transport.close()
                with anyio.fail_after(20):
                    assert (await anext(messages)).gap
                tasks.cancel_scope.cancel()

    async def test_what_is_published_without_a_server_is_bounded(self) -> None:
        with NatsServer() as server:
            async with running(server) as bus, bus.subscribe("a") as messages:
                server.kill()
                await anyio.sleep(0.1)
                for number in range(OUTGOING + 10):
                    bus.publish("b", {"n": number})
                assert len(bus._outgoing) == OUTGOING
                server.start()
                with anyio.fail_after(20):
                    assert (await anext(messages)).gap
                    bus.publish("a", {"n": "new"})
                    while (await anext(messages)).payload.get("n") != "new":
                        pass

    async def test_a_listener_may_come_before_the_server(self) -> None:
        with NatsServer() as server:
            server.kill()
            async with running(server) as bus, bus.subscribe("a") as messages:
                server.start()
                with anyio.fail_after(20):
                    while True:
                        bus.publish("a", {"n": 1})
                        with anyio.move_on_after(0.5):
                            if (await anext(messages)).payload:
                                break

    async def test_garbage_is_a_gap_and_no_end(self, nats_server: NatsServer) -> None:
        import nats

        client = await nats.connect(nats_server.url)
        try:
            async with running(nats_server) as bus, bus.subscribe("a") as messages:
                for garbage in (b"", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a":'):
                    await client.publish("downstage.bus.a", garbage)
                await client.flush()
                assert (await anext(messages)).gap
                bus.publish("a", {"n": 1})
                while not (message := await anext(messages)).payload:
                    pass
                assert message.payload == {"n": 1}
        finally:
            await client.close()

    async def test_two_processes_hear_each_other(self, nats_server: NatsServer) -> None:
        import json

        import nats

        client = await nats.connect(nats_server.url)
        try:
            heard = await client.subscribe("downstage.bus.>")
            # Once we are in, the server knows of both.
            async with running(nats_server) as bus, bus.subscribe("a.b"):
                bus.publish("a.b", {"n": 1})
                message = await heard.next_msg(5)
            assert (message.subject, json.loads(message.data)) == ("downstage.bus.a.b", {"n": 1})
        finally:
            await client.close()
