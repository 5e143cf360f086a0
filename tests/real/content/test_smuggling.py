"""Requests answered before their bodies: nothing that comes behind is taken for the body."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.real

ROUTES = [
    ("PUT", "/v1/files/x", 8), ("PUT", "/v1/files/x", 10**12), ("POST", "/v1/auth/login", 10**9),
    ("POST", "/v1/files-copy", 8), ("POST", "/v1/files-uploads", 8), ("PUT", "/nowhere", 8),
    ("PUT", "/dav/x", 8), ("PROPFIND", "/dav/x", 10**9), ("PUT", "/s3/b/x", 8),
    ("POST", "/omni/lft/content/", 8), ("PUT", "/omni/lft/content/", 8), ("GET", "/v1/files/x", 8),
    ("HEAD", "/healthz", 8), ("GET", "/omni/download/x", 8), ("DELETE", "/v1/files/x", 8),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "length"), ROUTES)
@pytest.mark.parametrize("port", ["url", "origin"])
def test_T07_who_was_not_asked_for_a_body_is_sent_away(
    served: Any, method: str, path: str, length: int, port: str
) -> None:
    address = urlsplit(getattr(served, port))
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {length}\r\n"
        "Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n"
    )
    answer = b""
    with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
        sock.sendall(head.encode())
        while piece := sock.recv(65536):
            answer += piece
            if b"100 Continue" in answer:
                return  # it was asked for, and will be read
    assert b"connection: close" in answer.lower(), answer
