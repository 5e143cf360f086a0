"""The catalogue over REST on the public port: who may, what is refused, what comes back."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from downstage.identity.extension import Extension as IdentityExtension
from downstage.kernel.settings import load
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost

from .conftest import app, tar_of

pytestmark = [pytest.mark.real, pytest.mark.anyio]
BASE = "/v1/catalogue/applications"


class Caller:
    """Calls the public application with a token."""

    def __init__(self, http: httpx.AsyncClient, token: str | None) -> None:
        self._http = http
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    async def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self._headers, **options.pop("headers", {})}
        return await self._http.request(method, path, headers=headers, **options)


class Callers:
    """An operator, one who may only see, a program that may only publish, and nobody."""

    def __init__(self, http: httpx.AsyncClient, data: Path, *tokens: str) -> None:
        self.operator, self.anna, self.program = (Caller(http, token) for token in tokens)
        self.nobody = Caller(http, None)
        self.data = data


@pytest.fixture
async def callers(data: Path) -> AsyncIterator[Callers]:
    settings = load(
        environment={},
        overrides={
            "platform.data": str(data),
            "manager.max_upload": 1 << 20,
            "manager.images": ["good.example/*"],
        },
    )
    urls = PlatformUrls("http://127.0.0.1:1", "unix:///nowhere")
    host = ServiceHost(settings, urls, services=("identity", "manager"))
    async with host.run():
        identity = cast("IdentityExtension", host.extension("identity"))
        operator = await identity.operator_token()
        transport = httpx.ASGITransport(app=host.public_app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as http:
            principal = await host.authenticator.principal(operator)

            async def token(scope: str) -> str:
                made = await identity.service.issue.for_program(principal, scope, (scope,), None)
                return made.token

            anna, program = await token("sessions:read"), await token("applications:write")
            yield Callers(http, data, operator, anna, program)


async def test_a_program_publishes_and_people_see_it(callers: Callers) -> None:
    archive = app(more='environment = { SECRET = "s" }\ntags = ["cad"]\n')
    digest = hashlib.sha256(archive).hexdigest()
    made = await callers.program(
        "POST", BASE, content=archive, headers={"downstage-digest": digest}
    )
    assert made.status_code == 201, made.text
    version = made.json()
    assert (version["number"], version["status"], version["digest"]) == (1, "ready", digest)
    hidden = await callers.program(
        "POST", f"{BASE}/viewer/versions", content=app(), headers={"downstage-publish": "no"}
    )
    assert hidden.json()["published"] is False
    seen = await callers.anna("GET", BASE, params={"tag": "cad"})
    (item,) = seen.json()["items"]
    assert (item["name"], item["latest"], len(item["versions"])) == ("viewer", 1, 2)
    # Who may only start applications sees neither who made them nor what they are told.
    assert item["owner"] is None
    assert "SECRET" not in seen.text
    assert (await callers.anna("GET", f"{BASE}/viewer")).json()["versions"][0]["created_by"] is None
    manifest = f"{BASE}/viewer/versions/latest/manifest"
    assert (await callers.anna("GET", manifest)).status_code == 403
    text = await callers.operator("GET", manifest)
    assert "SECRET" in text.text
    assert text.headers["x-content-type-options"] == "nosniff"
    profiles = await callers.anna("GET", f"{BASE}/viewer/versions/2/profiles")
    assert [profile["name"] for profile in profiles.json()["items"]] == ["default"]
    shown = await callers.program("PATCH", f"{BASE}/viewer/versions/2", json={"published": True})
    assert shown.json()["published"] is True
    assert (await callers.anna("GET", f"{BASE}/viewer/versions/latest")).json()["number"] == 2
    versions = await callers.anna("GET", f"{BASE}/viewer/versions")
    assert [version["number"] for version in versions.json()["items"]] == [2, 1]
    gone = await callers.program("DELETE", f"{BASE}/viewer/versions/1")
    assert gone.status_code == 204
    assert (await callers.program("DELETE", f"{BASE}/viewer")).status_code == 204
    assert (await callers.anna("GET", f"{BASE}/viewer")).status_code == 404


async def test_who_may_not_changes_nothing(callers: Callers) -> None:
    await callers.program("POST", BASE, content=app())
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", BASE, {"content": app()}),
        ("POST", f"{BASE}/viewer/versions", {"content": app()}),
        ("PATCH", f"{BASE}/viewer", {"json": {"title": "x"}}),
        ("PATCH", f"{BASE}/viewer/versions/1", {"json": {"published": False}}),
        ("DELETE", f"{BASE}/viewer/versions/1", {}),
        ("DELETE", f"{BASE}/viewer", {}),
        ("POST", "/v1/catalogue/addons", {"content": app()}),
        ("DELETE", "/v1/catalogue/addons/x", {}),
        ("POST", "/v1/catalogue/images", {"json": {"name": "a", "reference": "good.example/a"}}),
        ("DELETE", "/v1/catalogue/images/x", {}),
        ("GET", "/v1/catalogue/images", {}),
        ("GET", "/v1/catalogue/addons", {}),
    ]
    for method, path, options in calls:
        assert (await callers.anna(method, path, **options)).status_code == 403, path
        assert (await callers.nobody(method, path, **options)).status_code == 401, path
    found = (await callers.operator("GET", f"{BASE}/viewer")).json()
    assert (found["title"], len(found["versions"])) == ("Viewer", 1)


async def test_A05_further_fields_of_an_application_are_refused(callers: Callers) -> None:
    await callers.program("POST", BASE, content=app())
    before = (await callers.operator("GET", f"{BASE}/viewer")).json()
    for field in ("owner", "id", "name", "status", "source", "versions", "scopes", "is_admin"):
        refused = await callers.program("PATCH", f"{BASE}/viewer", json={"title": "x", field: "me"})
        assert refused.status_code == 422
        assert refused.json()["field"] == field
        more = await callers.program(
            "PATCH", f"{BASE}/viewer/versions/1", json={"published": False, field: "me"}
        )
        assert more.status_code == 422
    assert (await callers.operator("GET", f"{BASE}/viewer")).json() == before


async def test_C03_hostile_bodies_leave_nothing(callers: Callers) -> None:
    slip = tar_of({"application.toml": b"x", "../../evil": b"x"})
    for body, status in ((slip, 422), (b"no archive", 422), (bytes(2 << 20), 413), (b"", 422)):
        refused = await callers.program("POST", BASE, content=body)
        assert refused.status_code == status, refused.text
    wrong = await callers.program(
        "POST", BASE, content=app(), headers={"downstage-digest": "0" * 64}
    )
    assert (wrong.status_code, wrong.json()["field"]) == (422, "digest")
    assert not [path for path in (callers.data / "manager").rglob("*") if path.is_file()]
    assert (await callers.program("GET", f"{BASE}/viewer/versions/x")).status_code == 422


async def test_images_and_addons_have_routes(callers: Callers) -> None:
    body = {"name": "desk", "reference": "good.example/desk:1"}
    made = await callers.program("POST", "/v1/catalogue/images", json=body)
    assert made.status_code == 201, made.text
    evil = {"name": "evil", "reference": "evil.example/x"}
    assert (await callers.program("POST", "/v1/catalogue/images", json=evil)).json()[
        "field"
    ] == "reference"
    (image,) = (await callers.operator("GET", "/v1/catalogue/images")).json()["items"]
    assert image["allowed"] is True
    gone = await callers.program("DELETE", f"/v1/catalogue/images/{image['id']}")
    assert gone.status_code == 204
    addon = tar_of({"addon.toml": b'name = "ssh"', "hooks/pre-start": b"#!/bin/sh\n"})
    made = await callers.program("POST", "/v1/catalogue/addons", content=addon)
    assert made.json()["versions"][0]["status"] == "ready"
    assert (await callers.operator("GET", "/v1/catalogue/addons/ssh")).status_code == 200
    assert len((await callers.operator("GET", "/v1/catalogue/addons")).json()["items"]) == 1
    assert (await callers.program("DELETE", "/v1/catalogue/addons/ssh")).status_code == 204
