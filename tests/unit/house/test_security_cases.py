"""Every security case that is called done has a test named after it; every other is called open."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
REQUIRED = {"A01", "A02", "A07", "A08", "A09", "A13", "A16", "M06", "M07", "S03", "S09", "S10"}
GROUPS = {"A": 17, "T": 7, "M": 7, "C": 10, "S": 10}
ALL = {f"{letter}{number:02}" for letter, most in GROUPS.items() for number in range(1, most + 1)}
ROW = re.compile(r"^\| ([AMSCT]\d\d) \|", re.MULTILINE)
NAMED = re.compile(r"(?<=_)[AMSCT]\d\d(?=_)")


def listed(page: str) -> set[str]:
    return set(ROW.findall((ROOT / "docs" / "security" / page).read_text(encoding="utf-8")))


def names_by_case() -> dict[str, list[str]]:
    """Case → names of its tests, in Python and in the browser's own tests."""
    found: dict[str, list[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if is_function and node.name.startswith("test_"):
                for case in NAMED.findall(node.name):
                    found.setdefault(case, []).append(f"{path.name}::{node.name}")
    return found


def test_the_list_holds_what_must_be_done() -> None:
    assert listed("cases.md") >= REQUIRED


def test_every_case_on_the_list_has_a_test() -> None:
    assert listed("cases.md") - names_by_case().keys() == set()


def test_every_other_case_is_called_open() -> None:
    done, still_open = listed("cases.md"), listed("open.md")
    assert done & still_open == set()
    assert done | still_open == ALL


def test_names_of_tests_name_cases_that_exist() -> None:
    assert names_by_case().keys() - ALL == set()
