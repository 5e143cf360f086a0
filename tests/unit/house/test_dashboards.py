"""Dashboards are what their generator writes, and can be read side by side."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "ops" / "grafana" / "dashboards"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    path = ROOT / "tools" / "generate_dashboards.py"
    spec = importlib.util.spec_from_file_location("generate_dashboards", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_generator_writes(generator: ModuleType) -> None:
    files = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    assert files == {name: generator.text_of(name) for name in generator.DASHBOARDS}


@pytest.mark.parametrize("name", ["streams", "sessions", "content"])
def test_no_panel_covers_another(name: str) -> None:
    panels = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["panels"]
    taken = set[tuple[int, int]]()
    for panel in panels:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert grid["x"] + grid["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)
