"""Images come from a registry: by log-in, with their progress, within a deadline, or not at all."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import secrets
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.real.spawners.conftest import reports_until

from downstage.spawners.exec import CannotExec, Exec

from .conftest import Podman, make_spawner, make_spec

pytestmark = [pytest.mark.real, pytest.mark.anyio]

USER, PASSWORD = "puller", "a-registry-password"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LAYER_SIZE = 3_000_000


class Registry:
    """Just enough of one: two blobs and a manifest behind Basic authentication."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.held.set()
        layer = gzip.compress(_tar(secrets.token_bytes(LAYER_SIZE)), 1)
        plain = hashlib.sha256(gzip.decompress(layer)).hexdigest()
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Volumes": {"/data": {}}},
                "rootfs": {"type": "layers", "diff_ids": ["sha256:" + plain]},
            }
        ).encode()
        self.blobs = {_digest(blob): blob for blob in (layer, config)}
        self.layer = _digest(layer)
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": _entry(config, "application/vnd.docker.container.image.v1+json"),
                "layers": [_entry(layer, "application/vnd.docker.image.rootfs.diff.tar.gzip")],
            }
        ).encode()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    login = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.headers.get("Authorization") != login:
                self._answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="r"'})
                return
            *_, kind, name = self.path.rstrip("/").split("/")
            if kind == "manifests" and name in ("1", _digest(registry.manifest)):
                headers = {
                    "Content-Type": MANIFEST,
                    "Docker-Content-Digest": _digest(registry.manifest),
                }
                self._answer(200, registry.manifest, headers)
            elif kind == "blobs" and name in registry.blobs:
                if name == registry.layer:
                    registry.held.wait(60)
                self._answer(200, registry.blobs[name], {})
            else:
                self._answer(200 if name == "v2" else 404, b"{}", {})

        do_HEAD = do_GET  # noqa: N815 - the library's name

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    return Handler


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _entry(blob: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}


def _tar(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        item = tarfile.TarInfo("content")
        item.size = len(content)
        archive.addfile(item, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def registry(podman: Podman) -> Iterator[Registry]:
    found = Registry()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.held.set()
    found.server.shutdown()
    found.server.server_close()
    thread.join()
    podman.run("image", "rm", "--force", f"{found.name}/team/app:1")


@pytest.fixture
def logins(tmp_path: Path, registry: Registry) -> Path:
    path = tmp_path / "registries.toml"
    path.touch(0o600)
    path.write_text(f'["{registry.name}"]\nuser = "{USER}"\npassword = "{PASSWORD}"\n')
    return path


async def test_an_image_is_pulled_by_log_in_and_run_by_its_digest(
    data: Path, podman: Podman, registry: Registry, logins: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spawner = make_spawner(data, podman, registries=logins)
    reference = f"{registry.name}/team/app:1"
    handle = await spawner.start(make_spec(image=reference))
    with pytest.raises(CannotExec, match="pulled"):
        await handle.exec(Exec(("true",)))
    reports = await reports_until(handle, "ended", 60)
    await handle.close()
    assert [report.stage for report in reports][:1] == ["pulling"]
    assert any("%" in (report.detail or "") for report in reports if report.stage == "pulling")
    assert reports[-1].reason == "start-failed", "the image holds no program"
    image = await spawner.images.find(reference)
    assert image is not None
    assert image.volumes == ("/data",)
    assert await spawner.images.resolve(reference) == (
        f"{registry.name}/team/app@{_digest(registry.manifest)}"
    )
    assert PASSWORD not in caplog.text
    assert PASSWORD not in json.dumps([report.detail for report in reports])
    await spawner.forget(reports[-1].instance_id)


async def test_an_image_without_log_in_says_so(
    data: Path, podman: Podman, registry: Registry
) -> None:
    handle = await make_spawner(data, podman).start(make_spec(image=f"{registry.name}/team/app:1"))
    last = (await reports_until(handle, "ended", 60))[-1]
    assert (last.reason, last.stage) == ("pull-failed", "pulling")
    assert "cannot be pulled" in (last.detail or "")
    assert "auth" in (last.detail or "").lower()


async def test_a_pull_has_a_deadline(
    data: Path, podman: Podman, registry: Registry, logins: Path
) -> None:
    registry.held.clear()
    spawner = make_spawner(data, podman, registries=logins, pull_deadline_s=1.0)
    handle = await spawner.start(make_spec(image=f"{registry.name}/team/app:1"))
    last = (await reports_until(handle, "ended", 60))[-1]
    assert last.reason == "pull-failed"
    assert "within 1 s (manager.pull_deadline)" in (last.detail or "")


async def test_stopping_gives_up_a_pull(
    data: Path, podman: Podman, registry: Registry, logins: Path
) -> None:
    registry.held.clear()
    spawner = make_spawner(data, podman, registries=logins)
    handle = await spawner.start(make_spec(image=f"{registry.name}/team/app:1"))
    found: list[str | None] = []
    with anyio.fail_after(30):
        async for report in handle.reports():
            found.append(report.reason)
            if report.phase == "starting":
                await handle.stop("deleted")
    assert found[-1] == "deleted"
    assert await spawner.known() == []
