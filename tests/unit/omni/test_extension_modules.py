"""Modules of an extension's folder below the alias: found by the host's finder, and reloaded."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import downstage.omni
from downstage.services.extension import IExt
from downstage.services.extensions.modules import Modules, classes_in

pytestmark = [pytest.mark.unit]

NAME = "omni.services.streaming.example_of_a_test"
CODE = """
import omni.ext
from omni.services.core import routers
from .models.streaming import LIMIT

class Example(omni.ext.IExt):
    limit = LIMIT
"""


def write(folder: Path, limit: int) -> None:
    package = folder.joinpath(*NAME.split("."))
    (package / "models").mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(CODE)
    (package / "models" / "streaming.py").write_text(f"LIMIT = {limit}\n")


@pytest.fixture
def modules() -> Iterator[Modules]:
    found = Modules()
    yield found
    found.release("of a test")


@pytest.mark.parametrize("installed_first", [True, False])
def test_the_host_finds_them(tmp_path: Path, modules: Modules, installed_first: bool) -> None:
    write(tmp_path, 1)
    if installed_first:
        downstage.omni.install()
        importlib.import_module("omni.services.core")
    modules.claim("of a test", tmp_path, [NAME])
    if not installed_first:
        downstage.omni.install()
    try:
        (found,) = classes_in([NAME])
        assert issubclass(found, IExt)
        assert found.__dict__["limit"] == 1
        modules.release("of a test")
        assert not [name for name in sys.modules if name.startswith(NAME)]
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(NAME)
        write(tmp_path, 2)
        modules.claim("of a test", tmp_path, [NAME])
        (again,) = classes_in([NAME])
        assert again.__dict__["limit"] == 2
        assert importlib.import_module("omni.ext").IExt is IExt
    finally:
        downstage.omni.uninstall()


def test_another_extension_below_omni_may_run_already(tmp_path: Path, modules: Modules) -> None:
    """It needed no alias; the next one does."""
    write(tmp_path, 1)
    package = tmp_path / "omni" / "needs_nothing"
    package.mkdir()
    (package / "__init__.py").write_text("here = 1\n")
    modules.claim("of a test", tmp_path, ["omni.needs_nothing", NAME])
    plain = importlib.import_module("omni.needs_nothing")
    downstage.omni.install()
    try:
        assert classes_in([NAME])
        assert importlib.import_module("omni").needs_nothing is plain
    finally:
        downstage.omni.uninstall()
