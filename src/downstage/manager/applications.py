"""Declared applications: ``*/application.toml`` read, checked, found by name or image.

A file with a mistake is reported, naming file and key, and the others load all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import anyio

from downstage.contracts.manager import ApplicationView
from downstage.kernel.errors import NotFound
from downstage.manager.catalogue.manifest import (
    FILE,
    MAX_FILE,
    ApplicationFile,
    Resources,
    read_toml,
)

__all__ = [
    "Application",
    "ApplicationFile",
    "Catalogue",
    "Fault",
    "Resources",
    "load",
    "missing_of",
    "plain_image",
]


@dataclass(frozen=True, slots=True)
class Application:
    """One application as declared, and where."""

    declared: ApplicationFile
    folder: Path
    missing: tuple[str, ...] = ()
    """Modules it requires that are not to be had."""
    number: int = 1
    """Of its version; declared ones have one."""

    @property
    def unavailable(self) -> str | None:
        """Why it cannot run here and what to do, or None."""
        if not self.missing:
            return None
        hint = f" To get it: {self.declared.missing_hint}" if self.declared.missing_hint else ""
        return f"{self.declared.title} needs {', '.join(self.missing)}.{hint}"

    async def text(self) -> bytes:
        """The declaration as it was written."""
        return await anyio.Path(self.folder / FILE).read_bytes()

    def view(self) -> ApplicationView:
        """The application without its command."""
        it = self.declared
        return ApplicationView(
            name=it.name,
            title=it.title,
            description=it.description,
            display=it.display,
            images=it.images,
            opens_stage=it.opens_stage,
            unavailable=self.unavailable,
        )


@dataclass(frozen=True, slots=True)
class Fault:
    """A declaration that was not taken, and why."""

    file: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All applications of this machine."""

    applications: Mapping[str, Application]
    faults: tuple[Fault, ...] = ()
    _images: Mapping[str, str] = field(default_factory=dict[str, str])

    def views(self) -> list[ApplicationView]:
        """All of them, by name."""
        return [self.applications[name].view() for name in sorted(self.applications)]

    def knows(self, name: str) -> bool:
        """Whether *name* is an application's, or an image's that means one."""
        return name in self.applications or plain_image(name) in self._images

    def find(self, name: str) -> Application:
        """The application called *name*, or the one that the image *name* means here.

        Raises:
            NotFound: there is none, or it cannot run here.
        """
        key = name if name in self.applications else self._images.get(plain_image(name))
        if key is None:
            known = ", ".join(sorted(self.applications)) or "none"
            raise NotFound(
                f"No application or image is registered as {name[:128]!r}. Known: {known}.",
                field="application",
            )
        application = self.applications[key]
        if application.unavailable is not None:
            raise NotFound(application.unavailable, field="application", application=key)
        return application


def load(folders: Iterable[Path]) -> Catalogue:
    """Read every ``*/application.toml`` below *folders*; a name counts once, the first wins."""
    applications: dict[str, Application] = {}
    faults = list[Fault]()
    images: dict[str, str] = {}
    for path in (path for folder in folders for path in sorted(folder.glob(f"*/{FILE}"))):
        found = _read(path)
        if isinstance(found, Fault):
            faults.append(found)
        elif found.declared.name in applications:
            other = applications[found.declared.name].folder / FILE
            faults.append(Fault(path, f"name: {found.declared.name} is taken by {other}"))
        else:
            applications[found.declared.name] = found
            for image in found.declared.images:
                images.setdefault(plain_image(image), found.declared.name)
    return Catalogue(applications, tuple(faults), images)


def _read(path: Path) -> Application | Fault:
    try:
        if path.stat().st_size > MAX_FILE:
            return Fault(path, f"longer than {MAX_FILE} bytes")
        declared = read_toml(path.read_bytes())
    except OSError as error:
        return Fault(path, f"cannot be read: {error.strerror}")
    except ValueError as error:
        return Fault(path, str(error))
    return Application(declared, path.parent.resolve(), missing_of(declared.requires))


def missing_of(modules: Iterable[str]) -> tuple[str, ...]:
    """Those of *modules* that cannot be imported here."""
    return tuple(module for module in modules if not _is_importable(module))


def _is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def plain_image(image: str) -> str:
    """An image's name without digest and tag: ``registry:5000/team/app:1.2`` → ``…/app``."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
