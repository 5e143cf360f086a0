"""Putting the import hook in place, and away; never over a real `omni` or `carb`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from threading import RLock
from types import ModuleType

from downstage.kernel.errors import SetupError
from downstage.omni.finder import AliasFinder
from downstage.omni.names import MODULES, children

__all__ = ["install", "is_installed", "is_wanted", "uninstall"]

ROOTS = ("carb", "omni")
_lock = RLock()
_finder = AliasFinder()


def install() -> None:
    """Answer imports of the foreign names from now on; a second call changes nothing.

    Raises:
        SetupError: a real `omni` or `carb` is imported already, or could be.
    """
    with _lock:
        if is_installed():
            return
        importlib.invalidate_caches()
        for root in ROOTS:
            _refuse_importable(root)
        empty = _refuse_imported()
        for name in empty:
            del sys.modules[name]
        sys.meta_path.insert(0, _finder)
        for name, module in empty.items():
            _adopt(importlib.import_module(name), module)


def uninstall() -> None:
    """Answer no longer, and forget what was imported by those names; safe to repeat.

    Stop the extensions that use them first: modules below ``omni`` are forgotten with it.
    """
    with _lock:
        if not is_installed():
            return
        sys.meta_path.remove(_finder)
        for name in [name for name in sys.modules if name.partition(".")[0] in ROOTS]:
            del sys.modules[name]


def is_installed() -> bool:
    """Whether the foreign names are ours at present."""
    return _finder in sys.meta_path


def is_wanted(names: Iterable[str]) -> bool:
    """Whether *names* (dependencies or modules of an extension) show that it needs the alias."""
    return any(name.partition(".")[0] in ROOTS for name in names)


def _refuse_imported() -> dict[str, ModuleType]:
    """Packages in our place that hold nothing themselves: an extension's modules lie below."""
    found = {name: sys.modules[name] for name in MODULES if name in sys.modules}
    for name, module in found.items():
        spec = getattr(module, "__spec__", None)
        if spec is None or not _is_namespace(spec):
            raise _refusal(name, f"{_origin(module)} is imported already")
    return found


def _adopt(ours: ModuleType, theirs: ModuleType) -> None:
    """What was imported below *theirs* is seen below *ours*."""
    for name, below in vars(theirs).items():
        if isinstance(below, ModuleType):
            vars(ours).setdefault(name, below)


def _refuse_importable(root: str) -> None:
    try:
        spec = find_spec(root)
    except ValueError as error:
        raise _refusal(root, f"a module named {root} is imported already") from error
    if spec is None:
        return
    if not _is_namespace(spec):
        raise _refusal(root, f"{spec.origin} would be hidden")
    _refuse_below(root, list(spec.submodule_search_locations or ()))


def _refuse_below(name: str, folders: Sequence[str]) -> None:
    """A folder may add to a package of ours; it must not hold what we answer for."""
    for child in children(name):
        full = f"{name}.{child}"
        portions = list[str]()
        for folder in folders:
            finder = pkgutil.get_importer(folder)
            spec = finder.find_spec(full) if finder is not None else None
            if spec is None:
                continue
            if not _is_namespace(spec):
                raise _refusal(full, f"{spec.origin} would be hidden")
            portions += spec.submodule_search_locations or ()
        _refuse_below(full, portions)


def _is_namespace(spec: ModuleSpec) -> bool:
    return spec.origin is None and spec.submodule_search_locations is not None


def _origin(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or f"a module named {module.__name__}"


def _refusal(name: str, why: str) -> SetupError:
    return SetupError(
        f"The alias of {name} is refused: a real one is here ({why}). Use that one and leave "
        "downstage.omni.install() out, or remove it from this Python environment.",
        module=name,
    )
