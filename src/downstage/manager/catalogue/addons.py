"""Addons: archives of hooks that run with any application that names them.

An addon's archive holds ``addon.toml`` (``name``, ``description``, ``[hooks]`` as in
``application.toml``) or Anbox's ``manifest.yaml``, and mostly a folder ``hooks``.
"""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterable, Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from downstage.contracts.applications import AddonView
from downstage.kernel.errors import Conflict, InvalidField
from downstage.manager.catalogue.archives import Package as Archive
from downstage.manager.catalogue.library import Library
from downstage.manager.catalogue.manifest import NAME, Hooks, explain
from downstage.manager.catalogue.manifest_yaml import YAML_FILE, read_mapping, seconds
from downstage.manager.catalogue.rules import find_hooks
from downstage.manager.catalogue.shelf import Upload
from downstage.manager.catalogue.store import Package
from downstage.manager.catalogue.views import addon_view
from downstage.manager.command import fill_hooks
from downstage.spawners.plan import Hook

__all__ = ["ADDON_FILE", "AddonFile", "Addons"]

ADDON_FILE = "addon.toml"
WANTED = (ADDON_FILE, YAML_FILE)
FOREIGN = {"version", "architecture", "provides", "supports", "dependencies", "metadata"}


class AddonFile(BaseModel):
    """The content of an ``addon.toml``."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field(pattern=NAME)
    description: str = Field(default="", max_length=1024)
    hooks: Hooks = Hooks()


class Addons:
    """All addons of the platform.

    Args:
        library: of packages.
    """

    def __init__(self, library: Library) -> None:
        self._library = library

    async def list(self, users: Mapping[str, list[str]] | None = None) -> list[AddonView]:
        """All, by name; *users* says which applications name them."""
        found = await self._library.store.list("addon")
        return [addon_view(package, (users or {}).get(package.name, [])) for package in found]

    async def get(self, key: str) -> AddonView:
        """One addon.

        Raises:
            NotFound: there is none.
        """
        return addon_view(await self._library.store.get("addon", key), [])

    async def receive(self, pieces: AsyncIterable[bytes], *, digest: str | None = None) -> Upload:
        """See `Applications.receive`."""
        return await self._library.receive(pieces, digest)

    async def publish(self, upload: Upload, *, by: str, key: str | None = None) -> AddonView:
        """A new version of the addon that the manifest names, or of *key*.

        Raises:
            InvalidField, TooLarge: as at `Applications.begin`.
            Conflict: *key* has another name.
        """
        begun = await self._library.begin("addon", upload, WANTED, _read, by=by, key=key)
        number = begun.versions[0].number
        return addon_view(await self._library.finish("addon", begun, number), [])

    async def delete(self, key: str, users: Mapping[str, list[str]]) -> None:
        """Remove an addon.

        Raises:
            NotFound: there is none.
            Conflict: an application's newest version names it.
        """
        package = await self._library.store.get("addon", key)
        names = users.get(package.name)
        if names:
            raise Conflict(f"{package.name} is used by {', '.join(names)}.")
        await self._library.remove(package)

    async def hooks(self, names: Sequence[str]) -> list[Hook]:
        """The hooks of *names*, in that order, of their newest versions.

        Raises:
            InvalidField: there is no such addon that is ready.
        """
        found = list[Hook]()
        for name in names:
            package = await self._library.store.find("addon", name)
            if package is None or package.latest is None:
                raise InvalidField("addons", f"There is no addon {name[:64]!r} that is ready.")
            found += self._hooks(package)
        return found

    def _hooks(self, package: Package) -> list[Hook]:
        version = package.version(None)
        folder = self._library.shelf.folder("addon", package.id, version.number)
        hooks = Hooks.model_validate(version.manifest.get("hooks", {}))
        return fill_hooks(hooks, package.name, folder)


def _read(archive: Archive) -> tuple[str, Mapping[str, Any]]:
    try:
        if archive.manifest == YAML_FILE:
            values = _from_yaml(archive.text)
        else:
            values = tomllib.loads(archive.text.decode("utf-8"))
        addon = AddonFile.model_validate(values)
    except ValidationError as error:
        detail = f"{archive.manifest}: {explain(error)}"
        raise InvalidField(archive.manifest, detail) from error
    except (ValueError, RecursionError) as error:
        raise InvalidField(archive.manifest, f"{archive.manifest}: {error}") from error
    hooks = find_hooks(addon.hooks, archive.executables)
    return addon.name, addon.model_copy(update={"hooks": hooks}).model_dump(mode="json")


def _from_yaml(text: bytes) -> dict[str, Any]:
    keys = dict(read_mapping(text))
    hooks: object = keys.pop("hooks", None)
    values = {key: value for key, value in keys.items() if key not in FOREIGN}
    if isinstance(hooks, dict):
        timeout = cast("dict[str, object]", hooks).get("timeout")
        values["hooks"] = {} if timeout is None else {"timeout_s": seconds(timeout)}
    return values
