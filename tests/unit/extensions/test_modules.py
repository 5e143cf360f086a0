"""Modules of extensions: found in their folder, from source, and forgotten."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from downstage.kernel.errors import SetupError
from downstage.services.extensions.modules import Modules, classes_in, find_module

pytestmark = pytest.mark.unit


def write(home: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return home


@pytest.fixture
def modules() -> Iterator[Modules]:
    before, finders = set(sys.modules), list(sys.meta_path)
    made = Modules()
    yield made
    for owner in ("one", "two"):
        made.release(owner)
    assert sys.meta_path == finders
    left = {name for name in set(sys.modules) - before if name.startswith(("ext_", "xomni"))}
    assert left == set()


def test_a_dotted_module_needs_no_packages_above_it(tmp_path: Path, modules: Modules) -> None:
    write(tmp_path, {
        "xomni/services/streaming/example/__init__.py": "from .services.streaming import WORD",
        "xomni/services/streaming/example/services/streaming.py":
            "from .models.streaming import WORD",
        "xomni/services/streaming/example/services/models/streaming.py": "WORD = 'deep'",
    })  # fmt: skip
    modules.claim("one", tmp_path, ["xomni.services.streaming.example"])
    assert importlib.import_module("xomni.services.streaming.example").WORD == "deep"
    modules.release("one")
    assert not [name for name in sys.modules if name.startswith("xomni")]


def test_the_folder_itself_may_be_the_module(tmp_path: Path, modules: Modules) -> None:
    name = "xomni.streaming.example"
    home = write(tmp_path / f"{name}-1.0.0", {
        "extension.py": "from .services.streaming import WORD",
        "services/streaming.py": "from .models.streaming import WORD",
        "services/models/streaming.py": "WORD = 'here'",
    })  # fmt: skip
    modules.claim("one", home, [name])
    assert importlib.import_module(f"{name}.extension").WORD == "here"


def test_a_package_that_exists_is_extended(tmp_path: Path, modules: Modules) -> None:
    write(tmp_path, {"email/ext_more.py": "WORD = 'more'"})
    modules.claim("one", tmp_path, ["email.ext_more"])
    import email

    assert importlib.import_module("email.ext_more").WORD == "more"
    assert importlib.import_module("email.message").Message
    modules.release("one")
    assert not hasattr(email, "ext_more")
    assert "email.ext_more" not in sys.modules
    assert sys.modules["email"] is email


def test_new_code_counts_within_the_same_second(
    tmp_path: Path, modules: Modules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for number in range(5):
        write(tmp_path, {"ext_quick.py": f"NUMBER = {number}"})
        modules.claim("one", tmp_path, ["ext_quick"])
        assert number == importlib.import_module("ext_quick").NUMBER
        modules.release("one")
    assert not list(tmp_path.rglob("*.pyc")), "no bytecode is left in other people's folders"


def test_unlisted_modules_of_the_folder_go_too(tmp_path: Path, modules: Modules) -> None:
    write(tmp_path, {"ext_main.py": "import ext_side", "ext_side.py": "X = 1"})
    modules.claim("one", tmp_path, ["ext_main"])
    importlib.import_module("ext_main")
    assert "ext_side" in sys.modules
    modules.release("one")
    assert "ext_side" not in sys.modules


def test_the_standard_library_is_never_hidden(tmp_path: Path, modules: Modules) -> None:
    write(tmp_path, {"ext_main.py": "import shelve; HAS = hasattr(shelve, 'open')",
                     "shelve.py": ""})  # fmt: skip
    sys.modules.pop("shelve", None)
    modules.claim("one", tmp_path, ["ext_main"])
    assert importlib.import_module("ext_main").HAS


def test_two_with_one_module(tmp_path: Path, modules: Modules) -> None:
    write(tmp_path, {"ext_a.py": ""})
    modules.claim("one", tmp_path, ["ext_a"])
    with pytest.raises(SetupError, match="two and one both bring the module ext_a"):
        modules.claim("two", tmp_path, ["ext_a"])


def test_one_below_another(tmp_path: Path, modules: Modules) -> None:
    first = write(tmp_path / "1", {"ext_a/__init__.py": "X = 1"})
    second = write(tmp_path / "2", {"ext_a/below.py": "X = 2"})
    modules.claim("one", first, ["ext_a"])
    modules.claim("two", second, ["ext_a.below"])
    assert importlib.import_module("ext_a.below").X == 2
    modules.release("two")
    assert importlib.import_module("ext_a").X == 1
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("ext_a.below")


def test_a_module_that_is_not_there_names_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"neither .*a/b nor .*a/b\.py"):
        find_module(tmp_path, "a.b")


EXT = "from downstage.services import IExt\n"


def test_classes(tmp_path: Path, modules: Modules) -> None:
    write(tmp_path, {
        "ext_two.py": EXT + "class A(IExt): ...\nclass B(A): ...\n",
        "ext_pack/__init__.py": "'''Nothing here.'''",
        "ext_pack/extension.py": EXT + "from ext_two import A\nclass C(IExt): ...\n",
        "ext_out/__init__.py": "from .deep.code import D",
        "ext_out/deep/code.py": EXT + "class D(IExt): ...\n",
        "ext_none.py": EXT + "from ext_two import A\n",
    })  # fmt: skip
    modules.claim("one", tmp_path, ["ext_two", "ext_pack", "ext_out", "ext_none"])
    found = classes_in(["ext_two", "ext_pack", "ext_out", "ext_none"])
    assert [kind.__name__ for kind in found] == ["A", "B", "C", "D"]
    with pytest.raises(SetupError, match="No class in ext_none derives from IExt"):
        classes_in(["ext_none"])
    assert classes_in([]) == []


@pytest.mark.parametrize("name", ["json", "calendar", "antigravity", "pytest"])
def test_a_module_of_somebody_else_is_not_taken_away(
    name: str, tmp_path: Path, modules: Modules
) -> None:
    before = sys.modules.get(name)
    write(tmp_path, {f"{name}/__init__.py": ""})
    with pytest.raises(SetupError, match=f"The module {name} is somebody else's"):
        modules.claim("one", tmp_path, [name])
    modules.release("one")
    assert sys.modules.get(name) is before


def test_a_module_that_a_test_imported_from_the_folder_is_the_extension_s_own(
    tmp_path: Path, modules: Modules, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"ext_tried.py": "WORD = 1"})
    monkeypatch.syspath_prepend(tmp_path)  # pyright: ignore[reportUnknownMemberType]
    importlib.import_module("ext_tried")
    modules.claim("one", tmp_path, ["ext_tried"])
