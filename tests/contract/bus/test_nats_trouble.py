"""A NATS connection that ends at a bad moment, or speaks to what is no NATS server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import nkeys
import pytest
from nats.aio.client import Client

from downstage.bus.nats import NatsBus
from downstage.bus.nats_connection import NatsDown
from downstage.bus.nats_options import NatsOptions
from downstage.bus.nats_pool import close_connections, connection
from downstage.testing.nats import NatsServer

pytestmark = [pytest.mark.contract, pytest.mark.anyio]


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    await close_connections()


async def test_hints_in_the_moment_of_the_end_do_not_hold_the_loop() -> None:
    """The client knows already that it is closed, and we do not yet."""
    with NatsServer() as server:
        options = NatsOptions((f"127.0.0.1:{server.port}",))
        bus = NatsBus(options)
        async with anyio.create_task_group() as tasks, bus.subscribe("a") as messages:
            tasks.start_soon(bus.run)
            shared = await connection(options)
            client = shared._client
            assert client is not None
            client._status = Client.CLOSED
            attempts = 0
            publish = client.publish

            async def counted(*given: object) -> None:
                nonlocal attempts
                attempts += 1
                if attempts > 100:
                    raise RuntimeError("the loop is held")
                await publish(*given)  # type: ignore[arg-type]

            client.publish = counted  # type: ignore[method-assign]
            bus.publish("a", {"n": 1})
            await anyio.sleep(0.1)
            client._status = Client.CONNECTED
            client._transport.close()
            with anyio.fail_after(20):
                while not (await anext(messages)).payload:
                    pass
            tasks.cancel_scope.cancel()
    assert attempts <= 2


@pytest.mark.parametrize(
    "greeting",
    [
        b"INFO []\r\n",
        b"INFO 5\r\n",
        b'INFO {"max_payload":"x","tls_required":1}\r\n',
        b'INFO {"connect_urls":[5]}\r\n',
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"-ERR 'no'\r\n",
        b"x" * 100_000,
        b"",
    ],
)
async def test_what_is_no_nats_server_is_tried_again(greeting: bytes) -> None:
    tries = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.write(greeting)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        shared = await connection(
            NatsOptions((f"127.0.0.1:{listener.sockets[0].getsockname()[1]}",))
        )
        for _ in range(2):
            with pytest.raises(NatsDown), anyio.fail_after(20):
                await shared.ready()
        assert tries >= 2
        assert not shared.is_closed
        await close_connections()


@pytest.mark.parametrize("kind", ["nkey_file", "credentials_file"])
async def test_an_identity_that_cannot_be_read_is_read_again(tmp_path: Path, kind: str) -> None:
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    path = tmp_path / "identity"
    begun = b"-----BEGIN USER NKEY SEED-----\n" + seed + b"\n------END USER NKEY SEED------\n"
    with NatsServer(f"authorization {{ users = [ {{ nkey: {public} }} ] }}") as server:
        servers = (f"127.0.0.1:{server.port}",)
        options = replace(NatsOptions(servers), **{kind: path})
        shared = await connection(options)
        for content in (None, b"", b"nothing\n", begun):
            if content is not None:
                path.write_bytes(content)
            if kind == "nkey_file" and content == begun:
                path.write_bytes(seed)
                await shared.ready()
                continue
            with pytest.raises(NatsDown, match="cannot be reached"), anyio.fail_after(20):
                await shared.ready()
        assert not shared.is_closed


async def test_a_pattern_that_nats_refuses_harms_nobody() -> None:
    with NatsServer() as server:
        options = NatsOptions((f"127.0.0.1:{server.port}",))
        shared = await connection(options)
        await shared.ready()
        with pytest.raises(Exception, match=r"(?i)subject"):
            await shared.subscribe("a b", lambda _: None)
        assert shared._wanted == []
