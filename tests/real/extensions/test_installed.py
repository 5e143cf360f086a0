"""Extensions that installed packages bring run beside folders, by the same rules."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from downstage.services import AsyncClient
from downstage.services import host as host_module
from downstage.services.extensions import discovery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.extensions.conftest import Running, Write

pytestmark = [pytest.mark.real, pytest.mark.anyio]

CODE = '''
from downstage.services import IExt, ServiceAPIRouter

class Pack(IExt):
    """Says a word.

    More is not said of it.
    """
    requires = {"below": ">=1.0", "absent": "?"}
    defaults = {"word": "hello"}
    def on_startup(self):
        router = ServiceAPIRouter()
        router.add_api_route("/word", self.tell)
        self.context.public(router)
    async def tell(self) -> str:
        return self.settings["word"]
'''


@pytest.fixture(autouse=True)
def _site(data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package as an installer leaves it."""
    site = data / "site"
    info = site / "ext_test_pack-2.1.dist-info"
    info.mkdir(parents=True)
    (site / "ext_test_pack.py").write_text(CODE)
    (site / "ext_test_bad.py").write_text("raise SystemExit('not today')\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ext-test-pack\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text(
        "[downstage.extensions]\npack = ext_test_pack:Pack\nbad = ext_test_bad:Any\n"
        "odd = pathlib:Path\nidentity = ext_test_pack:Pack\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("ext_test_pack", None)


async def test_an_installed_extension(write: Write, running: Running) -> None:
    write("below", version="1.4.0")
    async with running(extensions__installed=True, assignments=("/exts/pack/word=hi",)) as host:
        found = {info.name: info for info in host.extensions()}
        assert found.keys() == {"below", "pack", "bad", "odd"}, "ours cannot be replaced"
        pack = found["pack"]
        assert (pack.id, pack.state, pack.title) == ("pack-2.1", "running", "Says a word.")
        assert pack.source == "package ext-test-pack 2.1"
        assert pack.dependencies == ["below >=1.0", "absent"]
        assert await AsyncClient("local://").word.get() == "hi"
        assert found["bad"].state == "failed"
        assert found["bad"].reason == "SystemExit: not today"
        assert "derives from IExt" in found["odd"].reason
        assert (await host.lifecycle.reload("pack")).state == "running"


async def test_what_is_disabled_is_not_even_imported(running: Running) -> None:
    names = ["pack", "bad", "odd"]
    async with running(extensions__installed=True, extensions__disabled=names) as host:
        assert host.extensions() == []
        assert "ext_test_pack" not in sys.modules


def test_a_service_of_the_platform_is_ours() -> None:
    """Whatever else claims its name: a token comes with it."""
    found = discovery.service("identity")
    assert found.source.startswith("package downstage ")
    assert found.kind is not None
    assert found.kind.__module__ == "downstage.identity.extension"


async def test_a_package_that_hangs_when_it_is_imported_stops_nobody(
    write: Write, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()

    def hang(*, but: Sequence[str] = ()) -> list[discovery.Found]:
        del but
        let_go.wait(20)
        return []

    monkeypatch.setattr(discovery, "installed", hang)
    monkeypatch.setattr(host_module, "START_S", 0.3)
    write("a", "class Extension(IExt): pass")
    try:
        async with running(extensions__installed=True) as ready:
            states = {unit.name: unit.state for unit in ready.lifecycle.units.values()}
            assert states == {"a": "running"}
    finally:
        let_go.set()
