"""A host with an extension written for Omniverse: it runs, is reloaded, or says why not."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

import downstage.omni
from downstage.kernel.settings import load
from downstage.omni.hosting import hosted
from downstage.services import AsyncClient
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost

pytestmark = [pytest.mark.real, pytest.mark.anyio]

NAME = "omni.services.example.viewport.capture"
EXAMPLE = Path(__file__).parents[3] / "examples" / "viewport-capture" / "exts" / NAME
Run = Callable[..., AbstractAsyncContextManager[ServiceHost]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example's extension, to be edited."""
    shutil.copytree(EXAMPLE, tmp_path / NAME, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / NAME


@pytest.fixture
def run(data: Path, folder: Path) -> Run:
    @asynccontextmanager
    async def running(*, enabled: bool = True) -> AsyncIterator[ServiceHost]:
        own = {
            "platform.data": data,
            "extensions.folders": [folder],
            "extensions.installed": False,
        }
        with hosted(enabled=enabled) as before_import:
            host = ServiceHost(
                load(environment={}, overrides=own),
                PlatformUrls("http://127.0.0.1:1", "unix:///nowhere"),
                services=(),
                extensions=True,
                before_import=before_import,
            )
            async with host.run():
                yield host
        assert not downstage.omni.is_installed()

    return running


async def test_it_is_reloaded(run: Run, folder: Path) -> None:
    async with run() as host:
        (info,) = host.extensions()
        assert (info.id, info.state) == (f"{NAME}-1.0.0", "running")
        client = AsyncClient("local://", app=host.public_app)
        call = client.capture_application_screenshot.get
        assert (await call())["error_message"] == "This service has no window."
        code = folder.joinpath(*NAME.split("."), "services", "capture.py")
        code.write_text(code.read_text().replace("has no window", "was edited"))
        unit = await host.lifecycle.reload(NAME)
        assert unit.state == "running", unit.traceback
        assert (await call())["error_message"] == "This service was edited."
        await host.lifecycle.disable(NAME)
        assert downstage.omni.is_installed()
        await host.lifecycle.enable(NAME)
        assert (await call())["error_message"] == "This service was edited."


async def test_switched_off_it_says_how_to_switch_it_on(run: Run) -> None:
    async with run(enabled=False) as host:
        (info,) = host.extensions()
        assert info.state == "failed"
        assert "Set extensions.omni to true" in info.reason


async def test_beside_a_real_one_it_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real" / "carb"
    real.mkdir(parents=True)
    (real / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(real.parent))
    async with run() as host:
        (info,) = host.extensions()
        assert info.state == "failed"
        assert f"The alias of carb is refused: a real one is here ({real}" in info.reason
