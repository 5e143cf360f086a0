"""`carb.settings`: the settings of extensions by path, such as ``/exts/my.extension/key``."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from threading import RLock
from typing import Any, Protocol, cast

from downstage.services.extensions.settings import SettingsTree

__all__ = ["ISettings", "Tree", "get_settings", "leave", "use"]


class Tree(Protocol):
    """Where values lie: the settings of a host's extensions, or of those without a host."""

    def get(self, path: str) -> Any:
        """The value or the table at *path*; None where nothing is."""
        ...

    def set(self, path: str, value: Any) -> None:
        """Put *value* at *path*."""
        ...


class ISettings:
    """Reads and writes settings; numbers and texts are turned into each other as asked.

    A path leads through tables with slashes; the first one may be left out. What is absent reads
    as None from `get`, and as the empty value of its kind from the ``get_as`` methods.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._tree: Tree = SettingsTree()
        self._used = list[Tree]()

    def use(self, tree: Tree) -> None:
        """Read from and write to *tree* from now on."""
        with self._lock:
            self._used = [*(one for one in self._used if one is not tree), tree]
            self._tree = tree

    def leave(self, tree: Tree) -> None:
        """Go back to the tree that was used before, or begin with nothing again."""
        with self._lock:
            self._used = [one for one in self._used if one is not tree]
            if self._tree is tree:
                self._tree = self._used[-1] if self._used else SettingsTree()

    def get(self, path: str) -> Any:
        """The value or the table at *path*, or None."""
        with self._lock:
            return self._tree.get(path)

    def get_as_string(self, path: str) -> str:
        """As a text; a truth as ``true`` or ``false``."""
        value = self.get(path)
        if value is None:
            return ""
        return str(value).lower() if isinstance(value, bool) else str(value)

    def get_as_int(self, path: str) -> int:
        """As a whole number: a fraction is cut off, what is no finite number is 0."""
        value = self.get(path)
        if isinstance(value, int):
            return int(value)
        number = self.get_as_float(path)
        return int(number) if isfinite(number) else 0

    def get_as_float(self, path: str) -> float:
        """As a number; what is none is 0."""
        value = self.get(path)
        if not isinstance(value, str | int | float):
            return 0.0
        try:
            return float(value)
        except ValueError:
            return 0.0

    def get_as_bool(self, path: str) -> bool:
        """As a truth: ``true``, ``yes``, ``on`` and numbers but 0."""
        value = self.get(path)
        if isinstance(value, str):
            return value.strip().lower() in ("true", "yes", "on", "1")
        return bool(value)

    def get_settings_dictionary(self, path: str = "/") -> dict[str, Any] | None:
        """The table at *path*, a copy; None where there is none."""
        value = self.get(path)
        return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else None

    def _put(self, path: str, value: Any) -> None:
        """Put *value* at *path*."""
        with self._lock:
            self._tree.set(path, value)

    def _put_default(self, path: str, value: Any) -> None:
        """Put *value* at *path* unless something is there."""
        with self._lock:
            if self._tree.get(path) is None:
                self._tree.set(path, value)

    set = set_string = set_int = set_float = set_bool = _put
    set_default = set_default_string = set_default_int = _put_default
    set_default_float = set_default_bool = _put_default


_settings = ISettings()


def get_settings() -> ISettings:
    """The settings of this process."""
    return _settings


def use(tree: Tree) -> None:
    """Let `get_settings` read and write the host's own *tree*."""
    _settings.use(tree)


def leave(tree: Tree) -> None:
    """The inverse of `use`; of several trees the one that came last is read and written."""
    _settings.leave(tree)
