"""Start a small farm queue and ask for its settings: in this process, and over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path
from secrets import token_urlsafe

import anyio

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from farm import create_farm
from serving import served

import downstage.omni
from downstage.kernel.logging import configure
from downstage.kernel.settings import Log
from downstage.services import registry


async def main() -> None:
    """Print what the queue tells with its key, and without."""
    downstage.omni.install()
    from caller import get_farm_queue_settings

    secret = token_urlsafe()
    farm = create_farm(secret)
    registry.put_app("farm", farm)
    async with served(farm) as address:
        for uri in ("local://farm", address):
            print(uri)
            print(f"  with the key: {await get_farm_queue_settings(uri, secret)}")
            print(f"  with another: {await get_farm_queue_settings(uri, 'another')}")


if __name__ == "__main__":
    configure(Log(level="warning"))
    anyio.run(main)
