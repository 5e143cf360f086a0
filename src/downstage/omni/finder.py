"""The import hook: modules that exist in a table alone, and packages that others may extend."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, overload

from downstage.omni.names import MODULES, children, is_package

__all__ = ["AliasFinder", "Portions"]

ORIGIN = "downstage.omni"


class Portions(Sequence[str]):
    """The folders of `sys.path` that hold a part of a package, looked up anew each time.

    An alias has this as its ``__path__``: what an extension's folder adds below it is found,
    whenever the folder came to `sys.path`.
    """

    def __init__(self, name: str) -> None:
        self._parts = name.split(".")

    def _folders(self) -> list[str]:
        tried = (Path(entry or Path.cwd(), *self._parts) for entry in sys.path)
        return list(dict.fromkeys(str(folder) for folder in tried if folder.is_dir()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders())

    def __len__(self) -> int:
        return len(self._folders())

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._folders()[index]

    def __repr__(self) -> str:
        return f"Portions({'.'.join(self._parts)!r}, {self._folders()})"


class AliasFinder(MetaPathFinder, Loader):
    """Finds and loads the modules of the table; knows no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What to import for *fullname*; None where others must answer."""
        del path, target
        if fullname not in MODULES:
            return None
        spec = ModuleSpec(fullname, self, origin=ORIGIN, is_package=is_package(fullname))
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations = _as_list(Portions(fullname))
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """An ordinary module."""
        del spec
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Give *module* its names, each loaded when it is first asked for."""
        name = module.__name__
        homes = MODULES[name]
        below = children(name)

        def load(attribute: str) -> Any:
            if attribute in homes:
                value = _load(homes[attribute], attribute)
            elif attribute in below:
                value = import_module(f"{name}.{attribute}")
            else:
                known = ", ".join(sorted([*homes, *below])) or "nothing"
                raise AttributeError(f"{name} has no {attribute} here; it has {known}.")
            setattr(module, attribute, value)
            return value

        names = sorted(homes)
        module.__doc__ = f"{name}, as Downstage has it."
        vars(module).update(__getattr__=load, __dir__=lambda: sorted({*vars(module), *names}))
        module.__dict__["__all__"] = names


def _load(home: str, attribute: str) -> Any:
    module, _, other = home.partition(":")
    return getattr(import_module(module), other or attribute)


def _as_list(portions: Portions) -> Any:
    # The import system reads it as any sequence; its annotation says list.
    return portions
