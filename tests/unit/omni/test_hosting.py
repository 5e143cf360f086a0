"""A host brings the alias for extensions that need it, and takes away what it brought."""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from pathlib import Path

import pytest

import downstage.omni
from downstage.kernel.errors import SetupError
from downstage.omni.hosting import hosted
from downstage.omni.settings import get_settings
from downstage.services.extensions.manifest import Manifest, read_manifest
from downstage.services.extensions.settings import SettingsTree

pytestmark = [pytest.mark.unit]

EXAMPLE = Path(__file__).parents[3] / "examples" / "omniverse-streaming" / "exts"


@pytest.fixture
def manifest() -> Manifest:
    return read_manifest(EXAMPLE / "omni.services.streaming.application.example")


def plain(tmp_path: Path) -> Manifest:
    folder = tmp_path / "plain"
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "extension.toml").write_text(
        '[package]\nversion = "1.0.0"\n[[python.module]]\nname = "plain"\n'
    )
    return read_manifest(folder)


def test_it_comes_with_the_first_that_needs_it(manifest: Manifest, tmp_path: Path) -> None:
    with hosted() as before_import:
        before_import(plain(tmp_path), SettingsTree())
        assert not downstage.omni.is_installed()
        before_import(manifest, SettingsTree())
        before_import(manifest, SettingsTree())
        assert downstage.omni.is_installed()
        importlib.import_module("omni.ext")
    assert not downstage.omni.is_installed()


def test_one_that_was_there_stays(manifest: Manifest) -> None:
    downstage.omni.install()
    try:
        with hosted() as before_import:
            before_import(manifest, SettingsTree())
        assert downstage.omni.is_installed()
    finally:
        downstage.omni.uninstall()


@pytest.mark.parametrize("is_first", [True, False])
def test_two_hosts_share_it_until_both_are_gone(manifest: Manifest, is_first: bool) -> None:
    path = "/exts/x/key"
    hosts = [ExitStack(), ExitStack()]
    for number, host in enumerate(hosts):
        tree = SettingsTree()
        before_import = host.enter_context(hosted())
        before_import(manifest, tree)
        before_import(manifest, tree)
        tree.set(path, number)
    gone, left = hosts if is_first else reversed(hosts)
    gone.close()
    assert downstage.omni.is_installed()
    assert get_settings().get(path) == hosts.index(left)
    left.close()
    assert not downstage.omni.is_installed()
    assert get_settings().get(path) is None


def test_switched_off(manifest: Manifest, tmp_path: Path) -> None:
    with hosted(enabled=False) as before_import:
        before_import(plain(tmp_path), SettingsTree())
        with pytest.raises(SetupError, match=r"example-1\.0\.0 needs .* extensions\.omni to true"):
            before_import(manifest, SettingsTree())
        assert not downstage.omni.is_installed()


def test_carb_reads_the_settings_of_the_host(manifest: Manifest) -> None:
    path = "/exts/omni.services.streaming.application.example/image"
    tree = SettingsTree()
    tree.declare(manifest.name, manifest.settings)
    with hosted() as before_import:
        before_import(manifest, tree)
        assert get_settings().get_as_string(path) == "test-card"
        get_settings().set(path, "another")
        assert tree.get(path) == "another"
    assert get_settings().get(path) is None
