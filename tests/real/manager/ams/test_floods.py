"""What strangers send to the dialect's own port before anybody knows who they are."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from tests.real.manager.ams.conftest import tls

from downstage.manager.dialects.ams.port import HANDSHAKE_S, MOST, MOST_OF_ONE
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


def here(address: str, port: int) -> socket.socket:
    """A connection from *address* of this machine, which says nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(address, 0))


def is_let_in(platform: PlatformProcess, port: int, address: str) -> bool:
    """Whether TLS is spoken with somebody there."""
    context = tls(Path(platform.data, "ams", "server.crt"), None)
    try:
        with (
            here(address, port) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as asking,
        ):
            asking.sendall(b"GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n")
            return asking.recv(100).startswith(b"HTTP/1.1 ")
    except (ConnectionError, ssl.SSLError):
        return False


def until_let_in(platform: PlatformProcess, port: int, address: str) -> None:
    end = time.monotonic() + 30
    while not is_let_in(platform, port, address):
        assert time.monotonic() < end, "there is no room for it again"
        time.sleep(0.05)


def test_T06_one_address_does_not_keep_the_others_out(platform: PlatformProcess, port: int) -> None:
    with ExitStack() as silent:
        for _ in range(MOST_OF_ONE + 20):
            silent.enter_context(here("127.0.0.2", port))
        assert not is_let_in(platform, port, "127.0.0.2")
        assert is_let_in(platform, port, "127.0.0.3")
    until_let_in(platform, port, "127.0.0.2")


def test_T06_no_more_are_let_in_than_there_is_room_for(
    platform: PlatformProcess, port: int
) -> None:
    until_let_in(platform, port, "127.0.0.2")
    with ExitStack() as silent:
        for number in range(MOST + MOST_OF_ONE):
            silent.enter_context(here(f"127.0.1.{1 + number // MOST_OF_ONE}", port))
        assert not is_let_in(platform, port, "127.0.0.3")
        handles = len(list(Path(f"/proc/{platform.pid}/fd").iterdir()))
        assert handles < MOST + 500
    until_let_in(platform, port, "127.0.0.3")


def test_T06_who_does_not_agree_on_tls_is_sent_away(platform: PlatformProcess, port: int) -> None:
    with here("127.0.0.2", port) as silent, here("127.0.0.2", port) as wrong:
        wrong.sendall(b"GET / HTTP/1.1\r\n\r\n")
        for one in (wrong, silent):
            one.settimeout(4 * HANDSHAKE_S)
            with suppress(ConnectionResetError):
                while one.recv(4096):
                    pass
    until_let_in(platform, port, "127.0.0.2")
