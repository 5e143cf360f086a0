"""How the sources are written: what no other tool of ours checks."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MOST_LINES = 600
MOST_FUNCTION_LINES = 80
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def test_there_are_sources() -> None:
    assert len(SOURCES) > 30
    assert len(TESTS) > 10


def test_files_are_short() -> None:
    sizes = {path: path.read_text(encoding="utf-8").count("\n") for path in SOURCES + TESTS}
    assert {shown(path): size for path, size in sizes.items() if size > MOST_LINES} == {}


def test_functions_are_short(trees: dict[Path, ast.Module]) -> None:
    long = list[str]()
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > MOST_FUNCTION_LINES:
                    long.append(f"{shown(path)}:{node.lineno} {node.name}: {size} lines")
    assert long == []


def test_every_module_says_what_it_is(trees: dict[Path, ast.Module]) -> None:
    assert [shown(path) for path, tree in trees.items() if not ast.get_docstring(tree)] == []


def test_every_module_says_what_it_offers(trees: dict[Path, ast.Module]) -> None:
    silent = list[str]()
    for path, tree in trees.items():
        if path.name == "__main__.py" or "migrations" in path.parts or offers_nothing(tree):
            continue
        targets = [t for node in tree.body for t in assigned(node)]
        if "__all__" not in targets:
            silent.append(shown(path))
    assert silent == []


def offers_nothing(tree: ast.Module) -> bool:
    """A package's page: it defines nothing and passes nothing on."""
    return not any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        or (isinstance(node, ast.ImportFrom) and node.module != "__future__")
        or assigned(node)
        for node in tree.body
    )


def assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def test_names_of_files_say_something() -> None:
    vague = [path for path in SOURCES if {path.stem, path.parent.name} & VAGUE_NAMES]
    assert [shown(path) for path in vague] == []


def test_imports_are_absolute(trees: dict[Path, ast.Module]) -> None:
    relative = list[str]()
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                relative.append(f"{shown(path)}:{node.lineno}")
    assert relative == []


def test_no_test_is_skipped_without_a_word() -> None:
    """A skip says why; a test that cannot run on this machine says so in the summary."""
    silent = list[str]()
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "pytest.skip",
                "pytest.mark.skip",
                "pytest.mark.skipif",
            }:
                reasons = [*node.args[:1], *[k for k in node.keywords if k.arg == "reason"]]
                if not reasons:
                    silent.append(f"{shown(path)}:{node.lineno}")
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.xfail":
                silent.append(f"{shown(path)}:{node.lineno} xfail")
    assert silent == []


def tracked() -> list[Path]:
    """Files that git knows, or all sources where there is no git (in an unpacked archive)."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return SOURCES + TESTS
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


FOREIGN = {
    "a path of one machine": rf"(?<![\w.])/{'work'}/(?:main|shared)",
    "a home of one person": r"/home/(?!downstage|user|anna|you)\w+/",
    "a numbered requirement": r"(?i)\bseeds?[ _/-]?0\d\d\b",
    "a numbered issue": r"(?i)\bissue ?#? ?\d+\b",
    "a private registry": r"https?://[\w.-]*(?:artifactory|nexus|devpi|\.internal|\.local)\b",
}


def test_nothing_names_the_place_where_it_was_written() -> None:
    found = list[str]()
    for path in tracked():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for what, pattern in FOREIGN.items():
            for hit in re.finditer(pattern, text):
                line = text.count("\n", 0, hit.start()) + 1
                found.append(f"{shown(path)}:{line}: {what}: {hit.group()}")
    assert found == []


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("**/uv.lock", {"pypi.org", "files.pythonhosted.org"}),
        ("**/package-lock.json", {"registry.npmjs.org"}),
    ],
)
def test_lock_files_name_the_public_registries_alone(pattern: str, hosts: set[str]) -> None:
    for path in ROOT.glob(pattern):
        if "node_modules" in path.parts or ".venv" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        links = r'(?:"resolved": |url = |registry = )"https?://([^/"]+)'
        assert set(re.findall(links, text)) <= hosts, shown(path)
