"""The three flavours are what the operations' signatures make of them."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("made", ROOT / "tools/generate_client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def functions(text: str) -> dict[str, str]:
    found = dict[str, str]()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node)
            node.body = node.body[1:]
            found[node.name] = f"{doc}\n{ast.dump(node)}"
    return found


def test_what_is_there_is_what_would_be_written(tool: Any) -> None:
    for module in tool.MODULES:
        path = ROOT / f"src/downstage/client/flavours/{module}.py"
        there = functions(path.read_text(encoding="utf-8"))
        assert there == functions(tool.drafted(module)), "run python tools/generate_client.py"
        assert len(there) % 3 == 0


def test_every_operation_is_there_with_exceptions_too(tool: Any) -> None:
    from downstage.client import files

    for module in tool.MODULES:
        path = ROOT / f"src/downstage/client/flavours/{module}.py"
        for name in functions(path.read_text(encoding="utf-8")):
            if not name.endswith("_with_callback"):
                assert name in files.__all__
                assert getattr(files, name).__name__ == name
