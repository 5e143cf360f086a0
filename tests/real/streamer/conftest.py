"""A display and a gateway's end for each test that asks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from downstage.testing.streaming import GatewayEnd, XDisplay


@pytest.fixture
async def display(anyio_backend: str) -> AsyncIterator[XDisplay]:
    """An X display of 4096 x 2304 at most."""
    assert anyio_backend == "asyncio"
    async with XDisplay.start() as started:
        yield started


@pytest.fixture
async def gateway(anyio_backend: str, data: Path) -> AsyncIterator[GatewayEnd]:
    """The gateway's end of the link."""
    assert anyio_backend == "asyncio"
    end = GatewayEnd(data)
    await end.open()
    yield end
    await end.close()
