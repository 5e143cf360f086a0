"""``https://`` and ``wss://``: the suites, and who trusts whom."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from downstage.services.errors import ServiceUnavailableError
from downstage.services.transports import Call, create
from downstage.services.transports.http import HttpTransport, TlsOptions, use_tls

from .client_suite import ClientSuite
from .servers import Authority, serve_http
from .stream_suite import StreamSuite
from .transport_suite import TransportSuite

pytestmark = [pytest.mark.contract, pytest.mark.anyio]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def _trusting(authority: Authority, request: pytest.FixtureRequest) -> Iterator[None]:
    if request.cls is not None:
        request.cls.authority = authority
    use_tls(TlsOptions(ca_file=authority.ca_file))
    yield
    use_tls(TlsOptions())


class Tls:
    authority: Authority
    nobody = "https://127.0.0.1:9"

    def serve(self, app: Any) -> Any:
        return serve_http(app, "https", self.authority.server)


class TestHttps(Tls, TransportSuite):
    pass


class TestHttpsStreams(Tls, StreamSuite):
    streamed_bytes = 64 * 1024 * 1024


class TestHttpsClient(Tls, ClientSuite):
    pass


class TestTrust(Tls):
    async def test_a_stranger_is_not_trusted(self) -> None:
        async with self.serve(probe) as address:
            stranger = HttpTransport(address, tls=TlsOptions())
            with pytest.raises(ServiceUnavailableError, match=r"(?i)certificate"):
                await stranger.request(Call("GET", ""))
            careless = HttpTransport(address, tls=TlsOptions(verify=False))
            assert (await careless.request(Call("GET", ""))).status == 200
            assert (await create(address).request(Call("GET", ""))).status == 200

    async def test_a_name_that_is_not_the_servers(self) -> None:
        async with self.serve(probe) as address:
            other = address.replace("localhost", "127.0.0.1")
            with pytest.raises(ServiceUnavailableError, match=r"(?i)certificate"):
                await create(other).request(Call("GET", ""))

    async def test_options_that_cannot_be_read(self, tmp_path: Path) -> None:
        transport = HttpTransport(self.nobody, tls=TlsOptions(ca_file=tmp_path / "absent"))
        with pytest.raises(ServiceUnavailableError, match="TLS options"):
            await transport.request(Call("GET", ""))

    def test_a_certificate_of_the_clients_own(self, authority: Authority) -> None:
        certificate, key = authority.client
        context = TlsOptions(authority.ca_file, certificate, key).context()
        assert context.verify_mode is ssl.CERT_REQUIRED


async def probe(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
