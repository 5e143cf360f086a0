"""The foreign names stand for ours, and for nothing else."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import downstage.omni
from downstage import services
from downstage.kernel.errors import SetupError
from downstage.omni.names import MODULES
from downstage.services import registry
from downstage.services.routers import ServiceAPIRouter

pytestmark = [pytest.mark.unit]

SAMPLE = "omni.services.streaming.application.example"


@pytest.fixture
def installed() -> Iterator[None]:
    downstage.omni.install()
    yield
    downstage.omni.uninstall()


def grow(folder: Path, name: str, text: str) -> Path:
    """A package *name* below *folder*, its parents without an ``__init__``."""
    package = folder.joinpath(*name.split("."))
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(text)
    return package


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_name_of_every_module_is_there(name: str) -> None:
    module = importlib.import_module(name)
    for attribute in MODULES[name]:
        assert getattr(module, attribute) is not None
    assert set(MODULES[name]) <= set(dir(module))


@pytest.mark.usefixtures("installed")
def test_the_names_are_ours() -> None:
    ext = importlib.import_module("omni.ext")
    main = importlib.import_module("omni.services.core.main")
    routers = importlib.import_module("omni.services.core.routers")
    client = importlib.import_module("omni.services.client")
    errors = importlib.import_module("omni.services.transport.client.base.exceptions")
    assert ext.IExt is services.IExt
    assert main.register_router is registry.register_router
    assert routers.ServiceAPIRouter is ServiceAPIRouter
    assert client.AsyncClient is services.AsyncClient
    assert errors.BaseServiceError is services.BaseServiceError
    assert "local" in client.get_available_transports(is_async=True)


@pytest.mark.usefixtures("installed")
def test_import_forms() -> None:
    space: dict[str, ModuleType] = {}
    exec(
        "import carb\nimport omni.ext\nfrom omni.services.core import main, routers\n"
        "from omni.services.core.main import get_app\nfrom omni.services.client import *\n"
        "found = (carb.settings.get_settings, omni.ext.IExt, AsyncClient, main.get_app is get_app)",
        space,
    )
    assert space["found"]


@pytest.mark.usefixtures("installed")
def test_a_name_that_is_not_there_says_what_is() -> None:
    core = importlib.import_module("omni.services.core")
    with pytest.raises(AttributeError, match=r"omni\.services\.core has no mian.*main, routers"):
        core.mian  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match=r"omni\.kit"):
        importlib.import_module("omni.kit")
    with pytest.raises(ImportError):
        exec("from omni.services.core.main import nothing_of_the_kind")


def test_nothing_before_and_nothing_after() -> None:
    before = list(sys.meta_path)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("omni.ext")
    downstage.omni.install()
    downstage.omni.install()
    assert len(sys.meta_path) == len(before) + 1
    importlib.import_module("omni.ext")
    downstage.omni.uninstall()
    downstage.omni.uninstall()
    assert sys.meta_path == before
    assert not [name for name in sys.modules if name.partition(".")[0] in ("omni", "carb")]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("carb")


@pytest.mark.usefixtures("installed")
def test_an_extension_adds_its_own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("omni.services.core")
    grow(tmp_path / "one", SAMPLE, "from .more import here\nimport omni.ext\n")
    (tmp_path / "one" / Path(*SAMPLE.split("."))).joinpath("more.py").write_text("here = 1\n")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(SAMPLE)
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    assert importlib.import_module(SAMPLE).here == 1
    # The second folder comes when the first one's packages are there already.
    other = "omni.services.streaming.other"
    grow(tmp_path / "two", other, "here = 2\n")
    grow(tmp_path / "two", "omni.services.core.of_a_user", "here = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path / "two"))
    assert importlib.import_module(other).here == 2
    assert importlib.import_module("omni.services.core.of_a_user").here == 3


@pytest.mark.parametrize(
    "name", ["omni", "carb", "omni.ext", "omni.services", "omni.services.core", "carb.settings"]
)
def test_a_real_one_is_not_hidden(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(tmp_path, name, "")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SetupError, match=rf"(?s){name}.*{tmp_path}.*install\(\) out"):
        downstage.omni.install()
    assert not downstage.omni.is_installed()


def test_folders_that_only_add_are_no_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(tmp_path, SAMPLE, "")
    (tmp_path / "carb" / "drawings").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    downstage.omni.install()
    try:
        importlib.import_module(SAMPLE)
        importlib.import_module("carb.settings")
    finally:
        downstage.omni.uninstall()


@pytest.mark.parametrize("name", ["omni", "carb", "omni.ext"])
def test_one_that_is_imported_is_not_replaced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    with pytest.raises(SetupError, match=f"{name} is imported already"):
        downstage.omni.install()


def test_what_was_imported_before_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(tmp_path, SAMPLE, "here = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sample = importlib.import_module(SAMPLE)
    downstage.omni.install()
    try:
        omni = importlib.import_module("omni")
        assert importlib.import_module(SAMPLE) is sample
        assert omni.services.streaming.application.example is sample
        assert omni.ext.IExt is services.IExt
    finally:
        downstage.omni.uninstall()


def test_who_needs_it() -> None:
    assert downstage.omni.is_wanted(["omni.services.core"])
    assert downstage.omni.is_wanted(["numpy", "carb"])
    assert not downstage.omni.is_wanted(["omnivore", "carbon"])


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("ext_id", "name"),
    [
        ("omni.services.core-1.9.0", "omni.services.core"),
        ("my-own-1.0.0b1", "my-own"),
        ("no_version", "no_version"),
    ],
)
def test_the_name_in_an_id(ext_id: str, name: str) -> None:
    assert importlib.import_module("omni.ext").get_extension_name(ext_id) == name
