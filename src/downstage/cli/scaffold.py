"""``downstage ext new``: a small extension that works, with its test."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from downstage.kernel.errors import SetupError
from downstage.services.extensions.manifest import MODULE
from downstage.services.host import BUILT_IN

__all__ = ["Made", "make_extension", "next_steps"]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*([._-][A-Za-z0-9]+)*")
OURS = ("downstage", "config", "tests")
"""Folders and modules that an extension has, or needs, beside its own."""
PAGES = {
    "extension.toml": "config/extension.toml",
    "init.py.txt": "{tree}/__init__.py",
    "extension.py.txt": "{tree}/extension.py",
    "routes.py.txt": "{tree}/routes.py",
    "test.py.txt": "tests/test_{short}.py",
    "README.md": "README.md",
}
"""Template → where its text goes."""


@dataclass(frozen=True, slots=True)
class Made:
    """An extension that was just made."""

    name: str
    folder: Path
    files: tuple[Path, ...]


def make_extension(name: str, folder: Path) -> Made:
    """Write a new extension into a folder of its name below *folder*.

    Raises:
        SetupError: the name will not do, or the folder exists.
    """
    module = name.replace("-", "_").lower()
    if not NAME.fullmatch(name) or not MODULE.fullmatch(module):
        raise SetupError(
            f"{name!r} is no name for an extension: letters, digits and single dots or dashes, "
            "for example company.tools.hello."
        )
    _refuse_taken(name, module)
    home = folder / name
    if home.exists():
        raise SetupError(f"{home} exists already. Choose another name, or --folder.")
    short = module.rpartition(".")[2]
    words = {
        "name": name,
        "module": module,
        "tree": module.replace(".", "/"),
        "short": short,
        "prefix": name.replace(".", "/").lower(),
        "call": module,
        "Class": "".join(part.capitalize() for part in short.split("_")),
    }
    made = list[Path]()
    for template, place in PAGES.items():
        text = (files("downstage.cli") / "templates" / template).read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(f"<<{word}>>", value)
            place = place.replace(f"{{{word}}}", value)  # noqa: PLW2901 - filled in here
        path = home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        made.append(path)
    return Made(name, home, tuple(made))


def _refuse_taken(name: str, module: str) -> None:
    parts = module.split(".")
    if name in BUILT_IN:
        why = "is a service of the platform"
    elif any(keyword.iskeyword(part) for part in parts):
        why = "is a word of Python's own"
    elif parts[0] in sys.stdlib_module_names or parts[0] in OURS:
        why = f"would hide the module {parts[0]}"
    else:
        return
    raise SetupError(f"{name!r} {why}. Put something before it, for example my-{name}.")


def next_steps(made: Made) -> str:
    """What to do with it now."""
    shown = "\n".join(f"  {path.relative_to(made.folder)}" for path in made.files)
    return (
        f"Made {made.folder}:\n{shown}\n\n"
        f"Serve it, and load it anew at every save:  downstage ext dev {made.folder}\n"
        f"Run its test:                              pytest {made.folder}\n"
        f"Run it in the platform:                    downstage up --ext-folder {made.folder}"
    )
