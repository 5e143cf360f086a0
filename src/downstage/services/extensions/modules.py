"""Python modules of extensions: found in their folders, loaded from source, and forgotten again.

An extension's modules are found by finders of our own, never through `sys.path`: two extensions
do not see each other's files by accident, and nothing remains when one goes. A dotted name such
as ``company.tools.hello`` needs no packages above it; where ``company`` is a package already,
ours or somebody's, it is extended.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from downstage.kernel.errors import SetupError
from downstage.services.extension import IExt

__all__ = ["MODULES", "Modules", "classes_in", "find_module"]

INIT = "__init__.py"
ENTRY = "extension.py"
"""File in which a package without classes of its own has them."""


class _Loader(SourceFileLoader):
    """Always from the source: bytecode files are as old as a second, and edits are faster."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


@dataclass(frozen=True, slots=True)
class _Claim:
    """Dotted names at and below `root` that belong to `owner`."""

    owner: str
    root: str
    place: Path


def find_module(folder: Path, name: str) -> Path:
    """File or folder of the module *name* of the extension in *folder*.

    It lies where its dots lead (``a/b/c`` or ``a/b/c.py``); or the extension's folder is itself
    the module, when it is named so, with or without a version, or has an ``extension.py``.

    Raises:
        SetupError: it is at none of these places; names them.
    """
    place = folder.joinpath(*name.split("."))
    if place.is_dir():
        return place
    file = place.with_name(f"{place.name}.py")
    if file.is_file():
        return file
    is_named = folder.name == name or folder.name.startswith(f"{name}-")
    if is_named or (folder / ENTRY).is_file() or (folder / INIT).is_file():
        return folder
    raise SetupError(f"The module {name} is neither {place} nor {file}.")


class Modules:
    """The modules of all extensions of this process; one finder for all hosts."""

    def __init__(self) -> None:
        self._claims: dict[str, _Claim] = {}
        self._folders: dict[str, Path] = {}
        self._front = _Front(self)
        self._back = _Back(self)
        self._lock = threading.Lock()

    def claim(self, owner: str, folder: Path, names: Sequence[str]) -> None:
        """Let the modules *names* be imported from *folder*.

        Raises:
            SetupError: another extension has that module, or Python or a package that is in
                use, or it is not in the folder.
        """
        with self._lock:
            claims = list[_Claim]()
            for name in names:
                other = self._claims.get(name)
                if other is not None and other.owner != owner:
                    raise SetupError(
                        f"{owner} and {other.owner} both bring the module {name}; one may."
                    )
                _refuse_loaded(name, folder)
                claims.append(_Claim(owner, name, find_module(folder, name)))
            self._claims |= {claim.root: claim for claim in claims}
            self._folders[owner] = folder
            self._install()
        importlib.invalidate_caches()

    def release(self, owner: str) -> None:
        """Forget the modules of *owner*, so that the next import reads their files anew."""
        with self._lock:
            folder = self._folders.pop(owner, None)
            for name in self._loaded(owner, folder):
                _forget(name)
            for claim in [claim for claim in self._claims.values() if claim.owner == owner]:
                del self._claims[claim.root]
            self._prune()
            if not self._folders:
                self._remove()

    def _install(self) -> None:
        if self._front not in sys.meta_path:
            sys.meta_path.insert(0, self._front)
            sys.meta_path.append(self._back)

    def _remove(self) -> None:
        for finder in (self._front, self._back):
            if finder in sys.meta_path:
                sys.meta_path.remove(finder)

    def _loaded(self, owner: str, folder: Path | None) -> list[str]:
        """Names of the owner's modules, and of others that came out of its folder."""
        found = list[str]()
        for name, module in list(sys.modules.items()):
            claim = self._claim_of(name)
            if claim.owner == owner if claim else _came_out_of(folder, module):
                found.append(name)
        return found

    def _prune(self) -> None:
        """Drop packages that were only made to lead to modules that are gone."""
        made = sorted(
            (name for name, module in sys.modules.items() if _is_made(module)),
            key=lambda name: -name.count("."),
        )
        for name in made:
            needed = any(root.startswith(f"{name}.") for root in self._claims)
            if not needed and not any(other.startswith(f"{name}.") for other in sys.modules):
                _forget(name)

    def find(self, name: str) -> ModuleSpec | None:
        """What the front finder finds: a claimed module, or something below one."""
        claim = self._claim_of(name)
        if claim is None:
            return None
        below = name[len(claim.root) + 1 :]
        place = claim.place
        if below:
            if place.suffix == ".py":
                return None
            place = place.joinpath(*below.split("."))
        return _spec(name, place)

    def lead(self, name: str) -> ModuleSpec | None:
        """What the back finder finds: packages above claims, and unlisted modules of a folder."""
        if any(root.startswith(f"{name}.") for root in self._claims):
            spec = ModuleSpec(name, _Made(), is_package=True)
            spec.submodule_search_locations = []
            return spec
        if "." in name:
            return None
        for folder in list(self._folders.values()):
            if (folder / name / INIT).is_file() or (folder / f"{name}.py").is_file():
                return _spec(name, folder / name)
        return None

    def _claim_of(self, name: str) -> _Claim | None:
        while name:
            found = self._claims.get(name)
            if found:
                return found
            name = name.rpartition(".")[0]
        return None


class _Front(MetaPathFinder):
    """Asked before all others: what an extension claims is nobody else's."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return self._modules.find(fullname)


class _Back(MetaPathFinder):
    """Asked after all others: a package that exists elsewhere is extended, not replaced."""

    def __init__(self, modules: Modules) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return self._modules.lead(fullname)


class _Made(Loader):
    """Loader of a package that holds nothing but what lies below it."""

    def exec_module(self, module: ModuleType) -> None:
        del module


def _spec(name: str, place: Path) -> ModuleSpec | None:
    """How *name* is loaded from a file, a package, or a folder without ``__init__.py``."""
    is_file = place.suffix == ".py" and place.is_file()
    file = place if is_file else place.with_name(f"{place.name}.py")
    if place.is_dir():
        init = place / INIT
        if init.is_file():
            return spec_from_file_location(
                name,
                init,
                loader=_Loader(name, str(init)),
                submodule_search_locations=[str(place)],
            )
        if not file.is_file():
            spec = ModuleSpec(name, _Made(), is_package=True)
            spec.submodule_search_locations = [str(place)]
            return spec
    if file.is_file():
        return spec_from_file_location(name, file, loader=_Loader(name, str(file)))
    return None


def _refuse_loaded(name: str, folder: Path) -> None:
    """Refuse a name that means another module already: ours would never be imported.

    Worse, theirs would be forgotten with the extension, under the feet of those who use it.
    """
    module = sys.modules.get(name)
    if module is None and name not in sys.stdlib_module_names:
        return
    spec = _spec_of(module)
    origin = spec.origin if spec is not None else None
    if spec is not None and isinstance(spec.loader, (_Loader, _Made)):
        return
    if module is not None and origin and Path(origin).is_relative_to(folder):
        return
    raise SetupError(
        f"The module {name} is somebody else's already ({origin or 'a part of Python'}): name the "
        "extension's otherwise, for example with a company before it."
    )


def _came_out_of(folder: Path | None, module: object) -> bool:
    """Whether one of our loaders read *module* from a file in *folder*."""
    spec = _spec_of(module)
    if folder is None or spec is None or not isinstance(spec.loader, _Loader) or not spec.origin:
        return False
    return Path(spec.origin).is_relative_to(folder)


def _spec_of(module: object) -> ModuleSpec | None:
    """Without asking the module itself: some import more when they are asked for anything."""
    found = getattr(module, "__dict__", {}).get("__spec__")
    return found if isinstance(found, ModuleSpec) else None


def _is_made(module: object) -> bool:
    spec = _spec_of(module)
    return spec is not None and isinstance(spec.loader, _Made)


def _forget(name: str) -> None:
    module = sys.modules.pop(name, None)
    above, _, last = name.rpartition(".")
    parent = sys.modules.get(above)
    if parent is not None and getattr(parent, last, None) is module and module is not None:
        delattr(parent, last)


def classes_in(names: Sequence[str]) -> list[type[IExt]]:
    """Import the modules *names*; the extension classes that they define, in their order.

    A package that has none of its own is asked for its ``extension`` module.

    Raises:
        SetupError: there is no such class in any of them.
    """
    found = dict[type[IExt], None]()
    for name in names:
        module = importlib.import_module(name)
        here = _classes_of(module, name)
        entry = f"{name}.{Path(ENTRY).stem}"
        if not here and hasattr(module, "__path__") and importlib.util.find_spec(entry) is not None:
            here = _classes_of(importlib.import_module(entry), name)
        found |= dict.fromkeys(here)
    if names and not found:
        raise SetupError(f"No class in {', '.join(names)} derives from IExt.")
    return list(found)


def _classes_of(module: ModuleType, root: str) -> list[type[IExt]]:
    """Those that *module* shows and that come from it or from below *root*."""
    return [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, IExt)
        and item is not IExt
        and (item.__module__ == root or item.__module__.startswith(f"{root}."))
    ]


MODULES = Modules()
"""Of this process."""
