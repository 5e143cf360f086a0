"""How we prove ourselves to a NATS server, and to which: settings, addresses, TLS, permissions."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import nkeys
import pytest
import trustme
from pydantic import SecretStr

from downstage.bus.nats_options import NatsOptions, from_settings, parse
from downstage.bus.nats_pool import close_connections, configured, connection, options_for
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Bus, load
from downstage.services.errors import ServiceUnavailableError
from downstage.services.nats_service import serve_nats
from downstage.services.transports import Call, create
from downstage.testing.nats import NatsServer

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "nats.md"


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    await close_connections()


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def call(uri: str) -> bytes:
    return (await create(uri).request(Call("GET", "/x", timeout_s=8))).body


def settings_of(server: NatsServer, **more: Any) -> Bus:
    return Bus(url=SecretStr(server.url), **more)


async def is_let_in(options: NatsOptions | None) -> bool:
    """Whether a service and its caller both come in by *options*."""
    try:
        with configured(options):
            async with serve_nats(hello, "nats:///hello", drain_s=0):
                return await call("nats:///hello") == b"hello"
    except ServiceUnavailableError:
        return False
    finally:
        await close_connections()


async def test_user_and_password() -> None:
    with NatsServer('authorization { user: anna, password: "p w" }') as server:
        good = settings_of(server, user="anna", password=SecretStr("p w"))
        assert await is_let_in(from_settings(good))
        bad = settings_of(server, user="anna", password=SecretStr("other"))
        assert not await is_let_in(from_settings(bad))
        assert not await is_let_in(from_settings(settings_of(server)))


async def test_token() -> None:
    with NatsServer('authorization { token: "t0ken" }') as server:
        assert await is_let_in(from_settings(settings_of(server, token=SecretStr("t0ken"))))
        assert not await is_let_in(from_settings(settings_of(server, token=SecretStr("no"))))


async def test_nkey(tmp_path: Path) -> None:
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    path = tmp_path / "user.nk"
    path.write_bytes(seed)
    with NatsServer(f"authorization {{ users = [ {{ nkey: {public} }} ] }}") as server:
        assert await is_let_in(from_settings(settings_of(server, nkey_file=path)))
        path.write_bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
        assert not await is_let_in(from_settings(settings_of(server, nkey_file=path)))


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key", "other")}
    authority.cert_pem.write_to_path(str(files["ca"]))
    trustme.CA().cert_pem.write_to_path(str(files["other"]))
    leaf.cert_chain_pems[0].write_to_path(str(files["cert"]))
    leaf.private_key_pem.write_to_path(str(files["key"]))
    return files


async def test_tls(certificates: dict[str, Path]) -> None:
    tls = f'tls {{ cert_file: "{certificates["cert"]}", key_file: "{certificates["key"]}" }}'
    with NatsServer(tls + "\nauthorization { user: anna, password: pw }") as server:
        who = {"user": "anna", "password": SecretStr("pw")}
        good = settings_of(server, tls_ca=certificates["ca"], **who)
        assert await is_let_in(from_settings(good))
        stranger = settings_of(server, tls_ca=certificates["other"], **who)
        assert not await is_let_in(from_settings(stranger))


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_a_server_without_tls_learns_no_password(
    scheme: str, certificates: dict[str, Path]
) -> None:
    heard = bytearray()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.11.0","max_payload":1048576,')
        writer.write(b'"headers":true,"auth_required":true}\r\n')
        while data := await reader.read(4096):
            heard.extend(data)
            if b"PING" in data:
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        settings = Bus(
            url=SecretStr(f"{scheme}://127.0.0.1:{port}"),
            user="anna",
            password=SecretStr("s3cret"),
            tls_ca=certificates["ca"] if scheme == "nats" else None,
        )
        options = from_settings(settings)
        assert options is not None
        shared = await connection(options)
        with pytest.raises(Exception, match="cannot be reached"):
            await shared.ready()
        await close_connections()
    assert b"s3cret" not in heard
    with anyio.fail_after(20):
        await server.wait_closed()


async def test_the_printed_permissions_are_enough_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = re.findall(r"```text\n(authorization .*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    monkeypatch.setenv("GATEWAY", "gw")
    monkeypatch.setenv("AGENT", "ag")
    with NatsServer(found[0]) as server:
        host = server.url.removeprefix("nats://")
        async with serve_nats(hello, f"nats://agent:ag@{host}/agent", drain_s=0):
            assert await call(f"nats://gateway:gw@{host}/agent") == b"hello"
            with pytest.raises(ServiceUnavailableError):
                await call(f"nats://agent:ag@{host}/agent")  # it serves, and may not call


# --- which identity goes where -----------------------------------------------------------------


async def test_the_settings_identity_goes_to_the_settings_servers_alone() -> None:
    mine = NatsOptions(("a:4222", "b:4222"), user="anna", password="pw")
    with configured(mine):
        for uri in ("nats:///x", "nats://a/x", "nats://b:4222/x", "nats://b,a/x"):
            assert options_for(uri)[0] == mine
        for uri in ("nats://c/x", "nats://a:4223/x", "nats://a,c/x"):
            assert options_for(uri)[0].user == ""
        assert options_for("nats://ben:p@a/x")[0].user == "ben"
    assert options_for("nats://a/x")[0].user == ""


@pytest.mark.parametrize(
    ("uri", "servers", "who"),
    [
        ("nats://h", ("h:4222",), ("", "", "")),
        ("nats://h:1,[::1]:2/x", ("h:1", "[::1]:2"), ("", "", "")),
        ("nats://a%40b:p%2Fw@h", ("h:4222",), ("a@b", "p/w", "")),
        ("tls://t0k@h", ("h:4222",), ("", "", "t0k")),
    ],
)
async def test_addresses(uri: str, servers: tuple[str, ...], who: tuple[str, str, str]) -> None:
    options, _ = parse(uri)
    assert options is not None
    assert options.servers == servers
    assert (options.user, options.password, options.token) == who
    assert options.is_encrypted is uri.startswith("tls")


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "nats://h?x=1",
        "nats://h#x",
        "nats://h:0",
        "nats://h:99999",
        "nats://h,,i",
        "nats://h h",
        "nats://s3cret:s3cret@h:x",
        "nats://",
        "nats://h/path",
    ],
)
async def test_ill_formed_addresses_are_refused_without_secrets(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        from_settings(load(environment={}, overrides={"bus.url": url}).bus)
    assert "s3cret" not in str(caught.value)


async def test_one_identity_is_enough(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="one identity"):
        from_settings(Bus(url=SecretStr("nats://h"), user="a", token=SecretStr("t")))
    with pytest.raises(SetupError, match="not there"):
        from_settings(Bus(url=SecretStr("nats://h"), nkey_file=tmp_path / "none"))
    assert from_settings(Bus()) is None
