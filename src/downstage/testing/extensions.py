"""For tests of extensions: one, or a folder of some, started by a real host in this process."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstage.kernel.settings import load
from downstage.omni.hosting import hosted
from downstage.services import AsyncClient
from downstage.services.context import PlatformUrls
from downstage.services.extensions.discovery import in_folders
from downstage.services.host import ServiceHost

__all__ = ["RunningExtension", "running_extension"]


@dataclass(frozen=True, slots=True)
class RunningExtension:
    """An extension that runs, with those it was started with."""

    host: ServiceHost
    client: AsyncClient
    """Calls what it serves, as it would be called over the network."""


@asynccontextmanager
async def running_extension(
    folder: Path, *, settings: Mapping[str, Any] | None = None, others: tuple[Path, ...] = ()
) -> AsyncGenerator[RunningExtension]:
    """The extension in *folder* runs inside, and is gone after.

    Args:
        folder: of the extension, with ``config/extension.toml``, or of several.
        settings: its own settings, over its defaults.
        others: folders of extensions that it needs.

    Raises:
        AssertionError: it, or another, does not run; with the reason and the traceback.
    """
    given = {found.name: dict(settings or {}) for found in in_folders([folder])}
    with tempfile.TemporaryDirectory(prefix="downstage-test-") as data:
        chosen = load(
            environment={"DOWNSTAGE_EXTS": json.dumps(given)},
            overrides={
                "platform.data": data,
                "extensions.folders": [folder, *others],
                "extensions.installed": False,
            },
        )
        with hosted(enabled=chosen.extensions.omni) as before_import:
            host = ServiceHost(
                chosen,
                PlatformUrls("http://localhost", ""),
                services=(),
                extensions=True,
                before_import=before_import,
            )
            async with host.run():
                for info in host.extensions():
                    if info.state != "running":
                        raise AssertionError(
                            f"{info.id} {info.state}: {info.reason}\n{info.traceback}"
                        )
                yield RunningExtension(host, AsyncClient("local://", app=host.public_app))
