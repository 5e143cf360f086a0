"""A token bound to a folder reaches no further, whichever dialect it is shown to."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from downstage.contracts.identity import FileBound, InstanceTokenRequest
from downstage.testing.content import ContentServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]
SECRET = b"what no instance may know"
ROUTES = ("properties", "versions", "checkpoints", "acl", "usage", "locks", "live", "thumbnails")


@pytest.fixture
async def bounded(server: ContentServer, home: str) -> AsyncIterator[httpx.AsyncClient]:
    """Reads ``in``, writes one file there; beside it lies what it must not see."""
    alice = await server.caller("alice")
    for path in ("in/a.usda", "in2/secret.usda", "secret.usda"):
        await server.content.write(alice, f"{home}/{path}", SECRET)
    request = InstanceTokenRequest(
        instance_id=home,
        session_id=home,
        tenant="main",
        ttl_s=600,
        owner="alice",
        reach=[FileBound(path=f"{home}/in"), FileBound(path=f"{home}/in/a.usda", writes=True)],
    )
    token = (await server.identity.issue.for_instance(request)).token
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
        yield client


@pytest.mark.parametrize("path", ["", "/in2", "/secret.usda", "/in2/secret.usda", "/nothing"])
async def test_A06_nothing_is_read_beyond_its_bounds(
    bounded: httpx.AsyncClient, home: str, path: str
) -> None:
    asked: list[tuple[str, str, Any]] = [
        ("GET", f"/v1/files{home}{path}", {}),
        ("GET", f"/v1/files{home}{path}?stat", {}),
        ("GET", f"/dav{home}{path}", {}),
        ("PROPFIND", f"/dav{home}{path}", {"headers": {"depth": "1"}}),
        ("GET", f"/omni/download{home}{path}", {}),
        *(("GET", f"/v1/files-{route}", {"params": {"path": home + path}}) for route in ROUTES),
        ("POST", "/v1/files-links", {"json": {"path": home + path}}),
    ]
    for method, url, more in asked:
        answer = await bounded.request(method, url, **more)
        assert answer.status_code in (403, 404), (method, url)
        assert SECRET not in answer.content


async def test_A06_nothing_goes_in_or_out_over_its_bounds(
    server: ContentServer, bounded: httpx.AsyncClient, home: str
) -> None:
    inside, outside = f"{home}/in/a.usda", f"{home}/in2/secret.usda"
    where = b64encode(f"{home}/x".encode()).decode()
    into = {"destination": f"/dav{inside}"}
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/v1/files-copy", {"json": {"source": outside, "target": inside}}),
        ("POST", "/v1/files-copy", {"json": {"source": inside, "target": f"{home}/x"}}),
        ("POST", "/v1/files-move", {"json": {"source": inside, "target": f"{home}/x"}}),
        ("COPY", f"/dav{outside}", {"headers": into}),
        ("COPY", f"/dav{inside}", {"headers": {"destination": f"/dav{home}/x"}}),
        ("MOVE", f"/dav{inside}", {"headers": {"destination": f"/dav{home}/x"}}),
        ("PUT", f"/v1/files{home}/x", {"content": b"x"}),
        ("PUT", f"/v1/files{home}/in/b.usda", {"content": b"x"}),
        ("PUT", f"/dav{home}/in/b.usda", {"content": b"x"}),
        ("LOCK", f"/dav{home}/in/b.usda", {}),
        ("DELETE", f"/v1/files{home}/in", {}),
        ("POST", "/omni/lft/content/", {"json": {"path": f"{home}/x"}}),
        (
            "POST",
            "/v1/files-uploads",
            {
                "headers": {
                    "tus-resumable": "1.0.0",
                    "upload-length": "3",
                    "upload-metadata": f"path {where}",
                }
            },
        ),
        ("POST", "/v1/files-obliterate", {"json": {"path": inside}}),
    ]
    for method, url, more in asked:
        answer = await bounded.request(method, url, **more)
        assert answer.status_code in (400, 403, 404, 409), (method, url, answer.text)
    admin = await server.caller("admin")
    names = [entry.name for entry in (await server.content.list(admin, home)).entries]
    assert names == ["in", "in2", "secret.usda"]
    assert [e.name for e in (await server.content.list(admin, f"{home}/in")).entries] == ["a.usda"]


async def test_A06_nothing_that_outlives_it_comes_of_a_token_with_bounds(
    bounded: httpx.AsyncClient, home: str
) -> None:
    inside = f"{home}/in/a.usda"
    assert (await bounded.get(f"/v1/files{inside}")).content == SECRET
    asked: list[tuple[str, Any]] = [
        ("/v1/files-links", {"path": inside}),
        ("/v1/files-keys", {"name": "x"}),
        ("/v1/tokens", {"name": "x"}),
    ]
    for url, body in asked:
        assert (await bounded.post(url, json=body)).status_code == 403, url
    assert (await bounded.get("/v1/files-people")).status_code == 403
