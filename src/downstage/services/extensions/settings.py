"""Settings of extensions, ``exts."name".key``: what each declares, and what is laid over it.

From weakest to strongest: `set_default`, the [settings] of manifests, the settings file, the
environment, the command line, `set`. A variable is ``DOWNSTAGE_EXTS__NAME__KEY``, where every
character of name and key that a variable cannot have is ``_`` and a deeper key comes after
another ``__``; or all at once, ``DOWNSTAGE_EXTS='{"a.b": {"key": 1}}'``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Exts
from downstage.services.extensions.provided import PROVIDED_SETTINGS
from downstage.services.extensions.values import ABSENT, Text, as_texts, convert_all

__all__ = ["ExtensionSettings", "SettingsTree"]

ROOT = "exts"
MAX_SHOWN = 256
Tree = dict[str, Any]
M = TypeVar("M", bound=BaseModel)


class ExtensionSettings(Mapping[str, Any]):
    """The settings of one extension: ``settings["port"]``, ``settings["http.enabled"]``.

    It follows later changes of the tree.
    """

    def __init__(self, tree: SettingsTree, name: str) -> None:
        self._tree = tree
        self._name = name

    def __getitem__(self, key: str) -> Any:
        found = self._tree.get(f"/{ROOT}/{self._name}/{key.replace('.', '/')}", ABSENT)
        if found is ABSENT:
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def as_model(self, model: type[M]) -> M:
        """All of them as *model*.

        Raises:
            SetupError: a value is not acceptable; names the key.
        """
        return _validated(model, self._all(), self._name)

    def _all(self) -> Tree:
        return cast("Tree", self._tree.get(f"/{ROOT}/{self._name}", {}))


@dataclass(slots=True)
class _Layers:
    """Trees from weakest to strongest; those of manifests by their owner."""

    default: Tree = field(default_factory=dict[str, Any])
    declared: dict[str, Tree] = field(default_factory=dict[str, Tree])
    given: Tree = field(default_factory=dict[str, Any])
    set: Tree = field(default_factory=dict[str, Any])


class SettingsTree:
    """All settings of all extensions of one host, by path: ``/exts/name/key``."""

    def __init__(self, given: Exts | None = None) -> None:
        self._given = given or Exts()
        self._layers = _Layers(declared={"": cast("Tree", dict(PROVIDED_SETTINGS))})
        self._variables = dict(self._given.environment)
        self._merged: Tree | None = None

    def declare(self, owner: str, defaults: Mapping[str, Any]) -> None:
        """Lay the [settings] of the extension *owner* below all that was given."""
        self._layers.declared[owner] = dict(defaults)
        self._merged = None

    def forget(self, owner: str) -> None:
        """Take back what *owner* declared."""
        self._layers.declared.pop(owner, None)
        self._merged = None

    def get(self, path: str, default: Any = None) -> Any:
        """The value at *path*: a plain value, a list, or a table as a new dictionary."""
        node: Any = self._tree()
        for part in _parts(path):
            if not isinstance(node, dict) or part not in node:
                return default
            node = cast("Tree", node)[part]
        return _copied(node)

    def set(self, path: str, value: Any) -> None:
        """Set *path* for as long as this process runs; over everything else."""
        _put(self._layers.set, _parts(path), value)
        self._merged = None

    def set_default(self, path: str, value: Any) -> None:
        """Set *path* where nothing else does."""
        _put(self._layers.default, _parts(path), value)
        self._merged = None

    def of(self, name: str) -> ExtensionSettings:
        """A view of one extension's settings."""
        return ExtensionSettings(self, name)

    def check(self, name: str, model: type[BaseModel] | None = None) -> list[str]:
        """Keys given for the extension *name* that it does not know.

        Args:
            name: of the extension.
            model: what its class declares its settings to be, where it does.

        Raises:
            SetupError: a value is not of its default's kind; names key and source.
        """
        defaults = _branch(self._declared(), name)
        known = set(_leaves(defaults)) if defaults else set[str]()
        for source, tree in self._sources(name):
            convert_all(tree, defaults, f'exts."{name}"', source)
        given = list[str]()
        for _, tree in self._sources(name):
            given += _leaves(tree)
        fields = set(model.model_fields) if model else set[str]()
        return sorted(
            {
                key
                for key in given
                if key not in known
                and key.partition(".")[0] not in fields
                and not _is_table(defaults, key)
            }
        )

    def model_of(self, name: str, model: type[M]) -> M:
        """The settings of *name* as *model*; keys that it does not have are left out.

        Raises:
            SetupError: a value is not acceptable; names the key.
        """
        values = cast("Tree", self.get(f"/{ROOT}/{name}", {}))
        return _validated(
            model, {key: values[key] for key in values if key in model.model_fields}, name
        )

    def _declared(self) -> Tree:
        merged = Tree()
        for tree in self._layers.declared.values():
            _overlay(merged, tree)
        return merged

    def _tree(self) -> Tree:
        merged = self._merged
        if merged is None:
            merged = _copied(self._layers.default)
            declared = self._declared()
            _overlay(merged, declared)
            for name in self._names(declared):
                defaults = _branch(declared, name)
                for source, tree in self._sources(name):
                    values = convert_all(tree, defaults, f'exts."{name}"', source, strict=False)
                    _overlay(merged, {ROOT: {name: values}})
            _overlay(merged, self._layers.set)
            self._merged = merged
        return merged

    def _names(self, declared: Tree) -> list[str]:
        named: dict[str, None] = dict.fromkeys(cast("Tree", declared.get(ROOT, {})))
        named |= dict.fromkeys(owner for owner in self._layers.declared if owner)
        named |= dict.fromkeys(self._given.file) | dict.fromkeys(self._given.whole)
        return list(named | dict.fromkeys(self._given.command_line))

    def _sources(self, name: str) -> list[tuple[str, Tree]]:
        """What was given for *name*, from weakest to strongest, and where."""
        found = list[tuple[str, Tree]]()
        for label, layer in (
            ("the settings file", self._given.file),
            ("environment variable DOWNSTAGE_EXTS", self._given.whole),
        ):
            if isinstance(layer.get(name), dict):
                found.append((label, layer[name]))
        defaults = _branch(self._declared(), name)
        for variable, text in self._variables.items():
            key = _key_of(variable, name, defaults)
            if key:
                tree = Tree()
                _put(tree, key, Text(text))
                found.append((f"environment variable {variable}", tree))
        if isinstance(self._given.command_line.get(name), dict):
            tree = as_texts(self._given.command_line[name])
            found.append(("the command line", tree))
        return found

    def unclaimed(self, names: list[str]) -> list[str]:
        """What was given for extensions that are none of *names*, with its source."""
        known = {*names, *cast("Tree", self._declared().get(ROOT, {}))}
        found = [
            f'exts."{name}" ({label})'
            for label, layer in (
                ("settings file", self._given.file),
                ("DOWNSTAGE_EXTS", self._given.whole),
                ("command line", self._given.command_line),
            )
            for name in layer
            if name not in known
        ]
        found += [
            f"environment variable {variable}"
            for variable in self._variables
            if not any(_key_of(variable, name, {}) for name in known)
        ]
        return [text[:MAX_SHOWN] for text in found]


def _validated(model: type[M], values: Mapping[str, Any], name: str) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        # What was given may be a secret: neither the message nor a traceback shows it.
        parts = [
            f"{'.'.join(str(p) for p in item['loc'])}: {item['msg'].lower()}"
            for item in error.errors(include_input=False)
        ]
        raise SetupError(f'exts."{name}": ' + "; ".join(parts) + ".") from None


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _plain(text: str) -> str:
    """As a variable can spell it."""
    return re.sub(r"[^A-Za-z0-9]", "_", text).upper()


def _key_of(variable: str, name: str, defaults: Tree) -> list[str] | None:
    """The key that *variable* means, where it means extension *name*."""
    head = f"DOWNSTAGE_EXTS__{_plain(name)}__"
    if not variable.upper().startswith(head):
        return None
    key, node = list[str](), cast("object", defaults)
    for part in variable[len(head) :].split("__"):
        table = cast("Tree", node) if isinstance(node, dict) else Tree()
        found = next((k for k in table if _plain(k) == part.upper()), part.lower())
        key.append(found)
        node = table.get(found)
    return key if all(key) else None


def _branch(tree: Tree, name: str) -> Tree:
    found = cast("Tree", tree.get(ROOT, {})).get(name)
    return cast("Tree", found) if isinstance(found, dict) else {}


def _is_table(tree: Tree, dotted: str) -> bool:
    """Whether a free-form (empty) table is declared above *dotted*."""
    node: Any = tree
    for part in dotted.split("."):
        if not isinstance(node, dict) or part not in node:
            return isinstance(node, dict) and not node and tree is not node
        node = cast("Tree", node)[part]
    return False


def _leaves(tree: Mapping[str, Any], above: str = "") -> list[str]:
    found = list[str]()
    for key, value in tree.items():
        is_table = isinstance(value, dict) and bool(cast("Tree", value))
        found += _leaves(cast("Tree", value), f"{above}{key}.") if is_table else [f"{above}{key}"]
    return found


def _overlay(below: Tree, above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _overlay(below[key], cast("Tree", value))
        else:
            below[key] = _copied(value)


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in cast("Tree", value).items()}
    return list(cast("list[Any]", value)) if isinstance(value, list) else value


def _put(tree: Tree, key: list[str], value: object) -> None:
    if not key:
        raise ValueError("a setting's path needs a name")
    for part in key[:-1]:
        branch = tree.get(part)
        if not isinstance(branch, dict):
            branch = tree[part] = {}
        tree = cast("Tree", branch)
    tree[key[-1]] = value
