"""What users of the Anbox dialect's system suffered: each line has tests, and these are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "anbox-pains.md"
ROW = re.compile(r"^\| (\d\d) \|.*\|([^|]+)\|$", re.MULTILINE)
UNTESTED = {"21"}
"""Other companies' browsers, on other machines."""


def names() -> set[str]:
    """Every test function's name."""
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, functions)}


def test_each_line_has_tests_that_are_there() -> None:
    rows = dict(ROW.findall(PAGE.read_text(encoding="utf-8")))
    assert set(rows) == {f"{number:02}" for number in range(1, 28)} - UNTESTED
    listed = {number: set(re.findall(r"`(test_\w+)`", cell)) for number, cell in rows.items()}
    assert all(listed.values()), listed
    assert set().union(*listed.values()) - names() == set()


def test_tests_that_are_named_after_a_line_are_listed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = {name for name in names() if re.match(r"test_(line_\d+_and_)?pain_\d", name)}
    assert {name for name in named if name not in text} == set()
