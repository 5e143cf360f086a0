"""A catalogue on a folder and a database of this test's own."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from downstage.kernel.clock import SystemClock
from downstage.kernel.settings import load
from downstage.manager.catalogue.service import Applications, Upload
from downstage.manager.catalogue.wiring import CatalogueParts, open_catalogue
from downstage.services.facilities.database import open_database

TOML = 'name = "{name}"\ntitle = "{title}"\ncommand = ["{{folder}}/bin/run"]\n'


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """A tar.gz; what lies in ``bin`` or ``hooks`` may be executed."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            info.mode = 0o755 if name.startswith(("bin/", "hooks/")) else 0o644
            archive.addfile(info, io.BytesIO(body))
    return made.getvalue()


def app(name: str = "viewer", title: str = "Viewer", more: str = "", **files: bytes) -> bytes:
    """The archive of an application."""
    text = TOML.format(name=name, title=title) + more
    named = {key.replace("__", "/"): body for key, body in files.items()}
    return tar_of({"application.toml": text.encode(), "bin/run": b"#!/bin/sh\n", **named})


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    """*data* as a body comes."""
    for start in range(0, len(data), 4096):
        yield data[start : start + 4096]


class Instances:
    """Instances that the catalogue asks about: application → versions that run."""

    def __init__(self) -> None:
        self.live: dict[str, tuple[str, int]] = {}
        self.stays = False

    async def running(self, application: str | None, version: int | None) -> list[str]:
        return [
            instance_id
            for instance_id, (name, number) in self.live.items()
            if application in (None, name) and version in (None, number)
        ]

    async def end(self, ids: Sequence[str]) -> None:
        for instance_id in ids:
            if not self.stays:
                self.live.pop(instance_id)


class House:
    """A catalogue and what is below it."""

    def __init__(self, parts: CatalogueParts, data: Path, instances: Instances) -> None:
        self.parts, self.data, self.instances = parts, data, instances

    @property
    def applications(self) -> Applications:
        return self.parts.applications

    async def upload(self, data: bytes, digest: str | None = None) -> Upload:
        return await self.applications.receive(pieces(data), digest=digest)

    def files(self) -> set[str]:
        """All of the catalogue's files."""
        root = self.data / "manager"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@asynccontextmanager
async def open_house(data: Path, url: str | None, **settings: object) -> AsyncIterator[House]:
    """One run of the catalogue on *data*; again for a restart."""
    declared = data / "declared" / "card"
    declared.mkdir(parents=True, exist_ok=True)
    (declared / "application.toml").write_text('name = "card"\ntitle = "Card"\ncommand = ["x"]\n')
    overrides = {f"manager.{name}": value for name, value in settings.items()}
    manager = load(environment={}, overrides=overrides).manager
    database = await open_database(
        data / "manager.db",
        name="manager",
        migrations="downstage.manager.migrations",
        url=None if url is None else SecretStr(url),
    )
    try:
        folders = [data / "declared"]
        parts = await open_catalogue(database, SystemClock(), data, folders, manager)
        instances = Instances()
        parts.applications.watch(instances)
        yield House(parts, data, instances)
    finally:
        await database.close()


@pytest.fixture
async def house(data: Path, database: str | None) -> AsyncIterator[House]:
    async with open_house(data, database) as found:
        yield found
