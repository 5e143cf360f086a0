"""The examples' own modules, as their ``run.py`` sees them; forgotten after each test."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import downstage.omni

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], ModuleType]]:
    """``example(folder, module)``: a module beside an example's ``run.py``."""
    loaded = list[str]()

    def load(folder: str, module: str) -> ModuleType:
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.syspath_prepend(str(EXAMPLES / folder))
        loaded.append(module)
        return importlib.import_module(module)

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


@pytest.fixture
def alias() -> Iterator[None]:
    """The foreign names, installed."""
    downstage.omni.install()
    yield
    downstage.omni.uninstall()
