"""What strangers send to the dialect's own port before anybody knows who they are."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest
from tests.real.manager.ams.conftest import tls

from downstage.services.connections import MAX_HEAD
from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

MORE = b"x" * 4096
ENOUGH = 16 * MAX_HEAD


@pytest.mark.parametrize("begin", [b"GET /1.0 HTTP/1.1\r\nx: ", b"GET /1.0?"])
def test_A12_a_head_without_end_is_not_kept(
    platform: PlatformProcess, port: int, begin: bytes
) -> None:
    context = tls(Path(platform.data, "ams", "server.crt"), None)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as stranger,
    ):
        try:
            stranger.sendall(begin)
            for _ in range(ENOUGH // len(MORE)):
                stranger.sendall(MORE)
            answer = stranger.recv(100)
        except (ConnectionError, ssl.SSLError):  # cut off while it still sent
            answer = b""
        assert not answer or answer.startswith(b"HTTP/1.1 431"), answer
