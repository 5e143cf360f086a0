"""Names that are too long or odd, at the platform's public port: refused, and short in the log."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

HUGE = "x" * (10 << 20)
STRANGE = "\x1b[31mred\x1b[0m\n\r2026 [error] forged"
REFUSED = {400, 401, 403, 404, 413, 422, 431}


@pytest.fixture(scope="module")
def platform() -> Iterator[PlatformProcess]:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    with PlatformProcess(folder / "d") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


def raw(platform: PlatformProcess, head: bytes) -> int:
    """Send *head* as far as it is taken; the status of the answer."""
    parts = urlsplit(platform.url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=20) as sock:
        with suppress(ConnectionError):  # it was cut off while it still sent
            sock.sendall(head)
        try:
            line = sock.recv(100)
        except ConnectionError:
            return 431
    return int(line.split()[1]) if line else 431


def posted(platform: PlatformProcess, path: str, body: object) -> int:
    """The status for *body*; a connection that ended instead is none."""
    text = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {platform.facts['token']}\r\nContent-Length: {len(text)}\r\n"
    )
    return raw(platform, head.encode() + b"\r\n" + text)


BODIES = [
    ("/v1/auth/token", lambda name: {"username": name, "password": "correct horse battery"}),
    ("/v1/users", lambda name: {"name": name, "password": "correct horse battery"}),
    ("/v1/tokens", lambda name: {"name": name, "scopes": []}),
    ("/v1/sessions", lambda name: {"application": name}),
    ("/v1/sessions", lambda name: {"application": "test-card", "profile": name}),
    ("/v1/sessions", lambda name: {"application": "test-card", "region": name}),
    ("/v1/sessions", lambda name: {"application": "test-card", "stage": name}),
    ("/v1/sessions", lambda name: {"application": "test-card", "user_labels": {name: "x"}}),
    ("/v1/sessions", lambda name: {"application": "test-card", "environment": {name: "x"}}),
    ("/v1/sessions", lambda name: {"application": "test-card", name: "x"}),
    ("/1.0/sessions", lambda name: {"app": name}),
    ("/ams/1.0/instances", lambda name: {"app_id": name}),
]


def test_A12_names_of_10_mb_are_refused(platform: PlatformProcess) -> None:
    for path, body in BODIES:
        assert posted(platform, path, body(HUGE)) == 413, path
    for header in ("Authorization: Bearer ", "Cookie: a=", "Idempotency-Key: ", "X-Request-Id: "):
        head = f"GET /v1/sessions HTTP/1.1\r\nHost: x\r\n{header}{HUGE}\r\n\r\n"
        assert raw(platform, head.encode()) == 431, header
    head = f"GET /v1/sessions/{HUGE} HTTP/1.1\r\nHost: x\r\n\r\n"
    assert raw(platform, head.encode()) in (414, 431)
    assert platform.call("GET", "/healthcheck").status == 200


def test_A12_control_characters_in_names_reach_no_terminal(platform: PlatformProcess) -> None:
    for path, body in BODIES:
        for name in (STRANGE, "\x00", "a\u202eb\u0007", "n" * 60_000):
            assert posted(platform, path, body(name)) in REFUSED, (path, name[:20])
    for path in ("/v1/sessions/", "/v1/users/", "/1.0/sessions/", "/v1/applications/", "/"):
        escaped = "".join(f"%{byte:02x}" for byte in STRANGE.encode())
        head = f"GET {path}{escaped} HTTP/1.1\r\nHost: x\r\nUser-Agent: {STRANGE[:5]}\r\n"
        bearer = f"Authorization: Bearer {platform.facts['token']}\r\n\r\n"
        assert raw(platform, (head + bearer).encode()) in REFUSED, path
    lines = platform.output().split("\n")
    assert len(lines) > 5
    for line in lines:
        assert len(line) <= 1024, line[:200]
        assert not any(ord(letter) < 32 for letter in line), line
        assert not line.lstrip().startswith("2026 [error] forged"), line
