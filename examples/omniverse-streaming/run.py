"""List, start and end sessions through the example's service, on a platform of its own."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from serving import extension

from downstage.kernel.logging import configure
from downstage.kernel.settings import Log
from downstage.services import AsyncClient
from downstage.testing.platform import PlatformProcess

NAME = "omni.services.streaming.application.example"


@contextmanager
def platform(address: str | None) -> Iterator[str]:
    """The platform at *address*; None starts a demo of its own."""
    if address is not None:
        yield address
        return
    with (
        tempfile.TemporaryDirectory(prefix="ds-") as folder,
        PlatformProcess(Path(folder) / "data", "--demo") as process,
    ):
        yield process.url


async def call(uri: str) -> None:
    """Every route of the service once."""
    service = AsyncClient(uri)
    print(uri)
    print(f"  health: {await service.healthcheck_of_streams.get()}")
    created = await service.create_stream.post()
    print(f"  started: {created['session_id']}")
    print(f"  open it in a browser, once: {created['redirect']}")
    for name in ("list_streams", "list_my_streams"):
        listing: dict[str, Any] = await getattr(service, name).get()
        phases = [
            (item["session_record"]["username"], item["status"]["phase"])
            for item in listing["results"]
        ]
        print(f"  {name}: {phases}")
    print(f"  ended: {await getattr(service, created['session_id']).delete()}")


async def main() -> None:
    """Start what is needed; call the service in its own process, and over HTTP."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--api", help="a platform that runs already; else a demo is started")
    parser.add_argument("--token-file", type=Path, help="file with a bearer token for it")
    options = parser.parse_args()
    token = options.token_file.read_text().strip() if options.token_file else ""
    with platform(options.api) as api:
        async with extension(HERE / "exts" / NAME, {"api": api, "token": token}) as address:
            for uri in ("local://", address):
                await call(uri)


if __name__ == "__main__":
    configure(Log(level="warning"))
    anyio.run(main)
