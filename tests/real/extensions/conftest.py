"""Extensions in folders, written by the tests, and hosts that run them."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from downstage.kernel.settings import load
from downstage.services.context import PlatformUrls
from downstage.services.extensions.unit import Unit
from downstage.services.host import ServiceHost

Running = Callable[..., AbstractAsyncContextManager[ServiceHost]]
Write = Callable[..., Path]


@pytest.fixture
def folder(data: Path) -> Path:
    """Where extensions are written."""
    home = data / "exts"
    home.mkdir()
    return home


@pytest.fixture
def write(folder: Path) -> Write:
    """Write an extension: its name, the code of its module, further tables of the manifest."""

    def make(
        name: str, code: str = "", *, more: str = "", version: str = "1.0.0", at: str | None = None
    ) -> Path:
        home = folder / (at or name)
        module = name.replace("-", "_")
        (home / "config").mkdir(parents=True, exist_ok=True)
        (home / "config" / "extension.toml").write_text(
            f'[package]\nname = "{name}"\nversion = "{version}"\ntitle = "Of {name}"\n'
            f'[[python.module]]\nname = "{module}"\n' + textwrap.dedent(more)
        )
        place = home.joinpath(*module.split("."))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_suffix(".py").write_text(HEAD + textwrap.dedent(code or PLAIN))
        return home

    return make


HEAD = """\
import anyio
from downstage.services import IExt, ServiceAPIRouter, deregister_router, register_router
HERE = __name__
"""

PLAIN = """
class Extension(IExt):
    def on_startup(self, ext_id):
        self.router = ServiceAPIRouter()
        self.router.add_api_route("/" + HERE, self.tell)
        register_router(self.router)

    async def tell(self) -> str:
        return HERE

    def on_shutdown(self):
        deregister_router(self.router)
"""


@pytest.fixture
def running(data: Path, folder: Path) -> Running:
    """A host that runs the extensions of the folder."""

    @asynccontextmanager
    async def run(**overrides: object) -> AsyncGenerator[ServiceHost]:
        assignments = overrides.pop("assignments", ())
        environment = overrides.pop("environment", {})
        file = overrides.pop("file", None)
        settings = load(
            file=file,  # type: ignore[arg-type]
            environment=environment,  # type: ignore[arg-type]
            overrides={
                "platform.data": data / "data",
                "extensions.folders": [folder],
                "extensions.installed": False,
                **{key.replace("__", "."): value for key, value in overrides.items()},
            },
            assignments=assignments,  # type: ignore[arg-type]
        )
        urls = PlatformUrls("http://127.0.0.1:0", "unix:///nowhere")
        with anyio.fail_after(20):
            async with ServiceHost(settings, urls, services=(), extensions=True).run() as host:
                yield host

    return run


def states(host: ServiceHost) -> dict[str, str]:
    """Name → state of all extensions."""
    return {unit.name: unit.state for unit in host.lifecycle.units.values()}


def unit(host: ServiceHost, name: str) -> Unit:
    return host.lifecycle.units[name]


@pytest.fixture(autouse=True)
def _no_modules_left() -> Iterator[None]:
    """What an extension imported is forgotten with it."""
    import sys

    before = set(sys.meta_path)
    yield
    assert set(sys.meta_path) == before
