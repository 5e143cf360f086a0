"""A platform with the dialect's own port, and a client that is known by its certificate."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import socket
import ssl
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from downstage.testing.platform import PlatformProcess

MANIFEST = "name: echo\ninstance-type: a4.3\n"


@dataclass
class Client:
    """A client of AMS, in the way of its Go library: mutual TLS, operations, events."""

    http: aiohttp.ClientSession
    base: str
    headers: dict[str, str]

    async def call(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> tuple[int, Any]:
        url = self.base + path
        async with self.http.request(
            method,
            url,
            json=body,
            headers={**self.headers, **options.pop("headers", {})},
            **options,
        ) as answer:
            text = await answer.read()
            try:
                return answer.status, json.loads(text)
            except ValueError:
                return answer.status, text

    async def finish(self, answer: tuple[int, Any]) -> dict[str, Any]:
        """Wait for the operation of a 202."""
        status, said = answer
        assert status == 202, said
        path = said["operation"].partition("/1.0")[2]
        status, done = await self.call("GET", f"{path}/wait?timeout=60")
        assert status == 200, done
        return done["metadata"]

    async def instance(self, key: str, word: str, seconds: float = 40) -> dict[str, Any]:
        """The instance once it is so."""
        async with asyncio.timeout(seconds):
            while True:
                status, said = await self.call("GET", f"/instances/{key}")
                assert status == 200, said
                if said["metadata"]["status"] == word:
                    return said["metadata"]
                assert said["metadata"]["status"] != "error", said
                await asyncio.sleep(0.1)


def package(**files: str) -> tuple[bytes, dict[str, str]]:
    """An archive, and the headers that say what it is."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    data = packed.getvalue()
    return data, {
        "content-type": "application/octet-stream",
        "x-ams-fingerprint": hashlib.sha256(data).hexdigest(),
        "x-ams-request": "{}",
    }


@pytest.fixture(scope="session")
def port() -> int:
    """A free one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def platform(port: int) -> Iterator[PlatformProcess]:
    """With two places."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    environment = {
        "DOWNSTAGE_MANAGER__AMS_PORT": str(port),
        "DOWNSTAGE_MANAGER__CAPACITY": "2",
    }
    try:
        with PlatformProcess(folder / "data", environment=environment) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def public(platform: PlatformProcess) -> AsyncIterator[Client]:
    """By a token, on the public port."""
    async with aiohttp.ClientSession() as http:
        token = {"authorization": f"Bearer {platform.facts['token']}"}
        yield Client(http, f"{platform.url}/ams/1.0", token)


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A client's certificate that signs itself: chain with key, and the certificate alone."""
    folder = tmp_path_factory.mktemp("client")
    authority = trustme.CA()
    file = folder / "client.pem"
    # What signs itself, as this kind of client does, is its own authority.
    authority.private_key_pem.write_to_path(file)
    authority.cert_pem.write_to_path(file, append=True)
    return file, authority.cert_pem.bytes().decode()


def tls(server: Path, client: Path | None) -> ssl.SSLContext:
    """A client's side that pins the server's certificate."""
    context = ssl.create_default_context(cafile=str(server))
    if client is not None:
        context.load_cert_chain(client)
    return context


@pytest.fixture
async def trusted(
    platform: PlatformProcess, port: int, public: Client, identity: tuple[Path, str]
) -> AsyncIterator[Client]:
    """By its certificate, on the dialect's own port."""
    status, said = await public.call("POST", "/certificates", {"certificate": identity[1]})
    assert status == 200, said
    server = platform.data / "ams" / "server.crt"
    connector = aiohttp.TCPConnector(ssl=tls(server, identity[0]))
    async with aiohttp.ClientSession(connector=connector) as http:
        yield Client(http, f"https://127.0.0.1:{port}/1.0", {})
