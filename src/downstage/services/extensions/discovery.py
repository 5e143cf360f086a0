"""Where extensions come from: folders, and what installed packages bring by entry points."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from packaging.version import InvalidVersion, Version

from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.services.extension import IExt
from downstage.services.extensions.manifest import (
    MANIFEST,
    Manifest,
    dependency_of,
    read_manifest,
    split_id,
)

__all__ = ["GROUP", "Found", "choose", "in_folders", "installed", "service"]

GROUP = "downstage.extensions"
OURS = "downstage"
UNKNOWN = Version("0")
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """One extension, or what stands where one should be."""

    name: str
    source: str
    """Folder, or package."""
    manifest: Manifest | None = None
    kind: type[IExt] | None = None
    """Its class, where a package brought it."""
    error: str = ""
    """Why there is no manifest."""
    traceback: str = ""
    folder: Path | None = None

    @property
    def version(self) -> Version:
        """Of its manifest; 0 without one."""
        return self.manifest.version if self.manifest else UNKNOWN


def in_folders(folders: Iterable[Path]) -> list[Found]:
    """The extensions in *folders*: each is one, or holds some directly below it.

    Raises:
        SetupError: a folder is not there.
    """
    found = dict[Path, Found]()
    for folder in folders:
        if not folder.is_dir():
            raise SetupError(
                f"{folder} is no folder: extensions were to be found there (extensions.folders, "
                "--ext-folder)."
            )
        home = folder.resolve()
        places = [home] if (home / MANIFEST).is_file() else sorted(home.iterdir())
        for place in places:
            if place not in found and (place / MANIFEST).is_file():
                found[place] = look_at(place)
    return list(found.values())


def look_at(folder: Path) -> Found:
    """The extension in *folder*; one whose manifest cannot be read has an error."""
    try:
        manifest = read_manifest(folder)
    except SetupError as error:
        name = split_id(folder.name)[0]
        return Found(name, str(folder), error=error.detail, folder=folder)
    return Found(manifest.name, str(folder), manifest, folder=folder)


def service(name: str) -> Found:
    """The extension *name* that this process must run, with its class loaded.

    Where several packages bring one of that name ours counts: a token comes with it.

    Raises:
        SetupError: no package brings it.
    """
    entries = list(entry_points(group=GROUP, name=name))
    entries.sort(key=lambda entry: _package(entry)[0] != OURS)
    for entry in entries:
        kind = entry.load()
        if isinstance(kind, type) and issubclass(kind, IExt):
            return _of_class(entry, kind)
    raise SetupError(
        f"No extension named {name} is installed (entry points of {GROUP}). Reinstall Downstage."
    )


def installed(*, but: Sequence[str] = ()) -> list[Found]:
    """What installed packages bring, but for the names in *but*; classes are loaded."""
    return [_load(entry) for entry in entry_points(group=GROUP) if entry.name not in but]


def _load(entry: EntryPoint) -> Found:
    package, version = _package(entry)
    source = f"package {package} {version}"
    try:
        kind = entry.load()
        if isinstance(kind, type) and issubclass(kind, IExt):
            return _of_class(entry, kind)
    except BaseException as error:  # noqa: BLE001 - somebody else's module, it may even exit
        shown = "".join(traceback.format_exception(error))
        return Found(entry.name, source, error=f"{type(error).__name__}: {error}", traceback=shown)
    return Found(entry.name, source, error=f"{entry.value} is no class that derives from IExt")


def _of_class(entry: EntryPoint, kind: type[IExt]) -> Found:
    package, version = _package(entry)
    manifest = Manifest(
        name=entry.name,
        version=version,
        title=(kind.__doc__ or "").strip().partition("\n")[0],
        dependencies=tuple(
            dependency_of(name, wanted.removesuffix("?"), optional=wanted.endswith("?"))
            for name, wanted in kind.requires.items()
        ),
        settings={"exts": {entry.name: dict(kind.defaults)}} if kind.defaults else {},
    )
    return Found(entry.name, f"package {package} {version}", manifest, kind)


def _package(entry: EntryPoint) -> tuple[str, Version]:
    if entry.dist is None:
        return "?", UNKNOWN
    try:
        return entry.dist.name, Version(entry.dist.version)
    except InvalidVersion:
        return entry.dist.name, UNKNOWN


def choose(found: Iterable[Found], *, taken: Sequence[str] = ()) -> list[Found]:
    """One for each name: the highest version, the first of equals; never one of *taken*."""
    chosen = dict[str, Found]()
    for item in found:
        if item.name in taken:
            log.error("extension.name_taken", name=item.name, source=item.source)
            continue
        other = chosen.get(item.name)
        if other is None:
            chosen[item.name] = item
            continue
        best, rest = (item, other) if item.version > other.version else (other, item)
        chosen[item.name] = best
        log.warning(
            "extension.found_twice",
            name=item.name,
            used=f"{best.version} ({best.source})",
            left=f"{rest.version} ({rest.source})",
        )
    return list(chosen.values())
