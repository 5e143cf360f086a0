"""``config/extension.toml``: what an extension says of itself, or why it cannot be read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, ValidationError

from downstage.kernel.errors import SetupError

__all__ = ["MANIFEST", "Dependency", "Manifest", "dependency_of", "read_manifest", "split_id"]

MANIFEST = Path("config") / "extension.toml"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
FOLDER = re.compile(r"(?P<name>.+?)-(?P<version>\d+(\.\d+)*[A-Za-z0-9.+]*)")
MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class Dependency:
    """Another extension that must run first."""

    name: str
    versions: SpecifierSet
    wanted: str = ""
    """The versions as the manifest has them."""
    is_optional: bool = False

    def fits(self, version: Version) -> bool:
        """Whether *version* is one of those asked for."""
        return self.versions.contains(version, prereleases=True)

    def __str__(self) -> str:
        return f"{self.name} {self.wanted}".strip()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an extension says of itself."""

    name: str
    version: Version
    title: str = ""
    description: str = ""
    tag: str = ""
    dependencies: tuple[Dependency, ...] = ()
    modules: tuple[str, ...] = ()
    """Python modules in which its classes are found."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Defaults, as a tree from the root: ``{"exts": {"a.b": {"c": 1}}}``."""
    folder: Path | None = None

    @property
    def id(self) -> str:
        """``name-version``, or ``name-tag-version``."""
        return "-".join(part for part in (self.name, self.tag, str(self.version)) if part)


class _Package(BaseModel):
    """[package]: what is not ours to judge is kept by nobody, and refused by nobody."""

    model_config = ConfigDict(extra="ignore", strict=True)

    name: str | None = None
    version: str = "0.0.0"
    tag: str = ""
    title: str = ""
    description: str = ""
    authors: list[str] | str = []
    category: str = ""
    keywords: list[str] = []
    icon: str = ""
    readme: str = ""
    changelog: str = ""
    repository: str = ""


class _Requirement(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    version: str = ""
    optional: bool = False
    exact: bool = False


class _Module(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    name: str


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    package: _Package = _Package()
    dependencies: dict[str, _Requirement | str] = {}
    python: dict[str, Any] = {}
    settings: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class _Source:
    """A manifest's text, to tell where in it something stands."""

    path: Path
    text: str

    def wrong(self, key: str, why: str) -> SetupError:
        line = self._line_of(key)
        place = f"{self.path}:{line}" if line else str(self.path)
        return SetupError(f"{place}: {key}: {why}")

    def _line_of(self, dotted: str) -> int | None:
        """Line of the deepest part of *dotted* that is written there."""
        for part in reversed(dotted.split(".")):
            word = re.compile(rf"""^\s*(\[+)?.*?(?<![\w-])["']?{re.escape(part)}["']?\s*[=\]]""")
            for number, line in enumerate(self.text.splitlines(), 1):
                if word.match(line):
                    return number
        return None


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the extension in *folder*.

    Raises:
        SetupError: it cannot be read or is out of form; names file, line and key.
    """
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
        tree = tomllib.loads(text)
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"{path} is not TOML: {error}.") from error
    source = _Source(path, text)
    try:
        document = _Document.model_validate(tree)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"] if part not in ("_Requirement", "str"))
        raise source.wrong(key, f"{first['msg'].lower()}.") from error
    return _manifest(document, folder, source)


def _manifest(document: _Document, folder: Path, source: _Source) -> Manifest:
    package = document.package
    name = package.name or split_id(folder.name, package.tag)[0]
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise source.wrong("package.name", f"{name!r} is no name for an extension.")
    try:
        version = Version(package.version)
    except InvalidVersion as error:
        raise source.wrong("package.version", f"{package.version!r} is no version.") from error
    return Manifest(
        name=name,
        version=version,
        title=package.title,
        description=package.description,
        tag=package.tag,
        dependencies=_dependencies(document, source),
        modules=_modules(document, source),
        settings=document.settings,
        folder=folder,
    )


def _dependencies(document: _Document, source: _Source) -> tuple[Dependency, ...]:
    found = list[Dependency]()
    for name, said in document.dependencies.items():
        wanted = _Requirement(version=said) if isinstance(said, str) else said
        try:
            found.append(
                dependency_of(name, wanted.version, exact=wanted.exact, optional=wanted.optional)
            )
        except ValueError as error:
            raise source.wrong(f"dependencies.{name}", str(error)) from error
    return tuple(found)


def dependency_of(
    name: str, version: str = "", *, exact: bool = False, optional: bool = False
) -> Dependency:
    """A dependency as it is written.

    A version without an operator means "this one, or a later one that is compatible": up to the
    next major version, or the next minor one below 1.0. With *exact* it means this one alone.

    Raises:
        ValueError: *version* is neither a version nor a list of conditions.
    """
    wanted = version.strip()
    try:
        if not wanted or wanted == "*":
            specifier = SpecifierSet()
        elif wanted[0].isdigit() or wanted[0] == "v":
            specifier = SpecifierSet(_from_plain(Version(wanted), exact=exact))
        else:
            specifier = SpecifierSet(wanted)
    except (InvalidSpecifier, InvalidVersion):
        raise ValueError(
            f"{version!r} is no version and no condition such as '>=1.0,<2'."
        ) from None
    return Dependency(name, specifier, wanted, optional)


def _from_plain(version: Version, *, exact: bool) -> str:
    if exact:
        return f"=={version}"
    release = (*version.release, 0)
    following = f"{release[0] + 1}" if release[0] else f"0.{release[1] + 1}"
    return f">={version},<{following}"


def _modules(document: _Document, source: _Source) -> tuple[str, ...]:
    listed = document.python.get("module", [])
    if not isinstance(listed, list):
        raise source.wrong("python.module", "write [[python.module]] with a name below it.")
    names = list[str]()
    for item in cast("list[object]", listed):
        try:
            name = _Module.model_validate(item).name
        except ValidationError as error:
            raise source.wrong("python.module", 'each needs a name = "…".') from error
        if not MODULE.fullmatch(name):
            raise source.wrong("python.module.name", f"{name!r} is no name of a Python module.")
        names.append(name)
    return tuple(dict.fromkeys(names))


def split_id(text: str, tag: str = "") -> tuple[str, str]:
    """Name and version of a folder's name or an id; version is empty where there is none."""
    match = FOLDER.fullmatch(text)
    name, version = (match["name"], match["version"]) if match else (text, "")
    return (name.removesuffix(f"-{tag}") if tag else name), version
