"""An application that comes as a container image, in a person's browser."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.real.spawners.container.conftest import IMAGE, Podman, podman
from tests.real.spawners.container.image import key

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(180)]

__all__ = ["podman"]

DECLARED = f"""
name = "boxed"
title = "Boxed card"
image = "{IMAGE}:{key()}"
command = ["/usr/bin/python3", "-m", "downstage.apps.test_card"]
arguments = ["--size", "{{width}}x{{height}}", "--fps", "{{fps}}"]
display = "x11"

[resources]
memory_mb = 512
start_deadline_s = 60
"""
Opener = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(scope="module")
def boxes(podman: Podman) -> Iterator[PlatformProcess]:
    """A platform that may run our image."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    (folder / "applications" / "boxed").mkdir(parents=True)
    (folder / "applications" / "boxed" / "application.toml").write_text(DECLARED)
    environment = {
        "DOWNSTAGE_MANAGER__ENGINE": podman.url,
        "DOWNSTAGE_MANAGER__IMAGES": json.dumps([IMAGE]),
        "DOWNSTAGE_MANAGER__APPLICATIONS": json.dumps([str(folder / "applications")]),
    }
    try:
        with PlatformProcess(folder / "data", environment=environment) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def test_a_container_is_seen_and_goes_with_its_session(
    boxes: PlatformProcess, podman: Podman, open_page: Opener
) -> None:
    made = boxes.create("boxed", display={"width": 640, "height": 360, "fps": 30})
    async with open_page(boxes.link(made["id"], resolution="640x360")) as page:
        await page.until_playing(60)
        await page.until(
            "document.querySelector('downstage-viewer').stats().then(s => s.decodedFrames > 30)", 30
        )
        assert list(podman.containers().values()) == ["running"]
    boxes.call("DELETE", f"/v1/sessions/{made['id']}")
    boxes.wait_state(made["id"], "ended")
    assert podman.containers() == {}


async def test_S01_an_image_that_is_not_listed_is_refused(boxes: PlatformProcess) -> None:
    for image in ("docker.io/library/alpine:3", "-v/:/host", f"{IMAGE}/other"):
        answer = boxes.call("POST", "/v1/sessions", {"application": "boxed", "image": image})
        assert answer.status in (404, 422), (image, answer.body)
