"""``unix://``: the suites, and its addresses."""

from __future__ import annotations

from typing import Any

import pytest

from downstage.services.transports import Call, create

from .client_suite import ClientSuite
from .servers import serve_unix
from .socket_suite import SocketSuite
from .stream_suite import StreamSuite
from .transport_suite import TransportSuite

pytestmark = [pytest.mark.contract, pytest.mark.anyio]


class Unix:
    nobody = "unix:///tmp/nobody/is/there.sock"

    def serve(self, app: Any) -> Any:
        return serve_unix(app)

    def below(self, address: str, path: str) -> str:
        return f"{address}:{path}"


class TestUnix(Unix, TransportSuite):
    async def test_the_host_is_this_machine(self, address: str) -> None:
        scope = await self.scope(create(address), Call("GET", "/scope"))
        assert dict(scope["headers"])["host"] == "localhost"

    @pytest.mark.parametrize("address", ["unix://", "unix:///", "unix://run/x.sock"])
    def test_addresses_that_name_no_socket(self, address: str) -> None:
        with pytest.raises(ValueError, match="unix:///path"):
            create(address)


class TestUnixStreams(Unix, StreamSuite):
    pass


class TestUnixSockets(Unix, SocketSuite):
    pass


class TestUnixClient(Unix, ClientSuite):
    async def test_the_address_may_have_a_path(self, address: str) -> None:
        """As for the transport."""
