"""A tree of its own for each test, on a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from downstage.content.model import Access, Caller
from downstage.content.service import Content, open_content
from downstage.kernel.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def content(data: Path, clock: ManualClock) -> AsyncIterator[Content]:
    opened = await open_content(data, clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
def uta() -> Caller:
    return Caller("u-1", "Uta", groups=frozenset({"artists"}), client_id="c-uta")


@pytest.fixture
def ben() -> Caller:
    return Caller("u-2", "Ben", client_id="c-ben")


@pytest.fixture
def admin() -> Caller:
    return Caller("u-0", "Ada", may=Access.READ | Access.WRITE | Access.ADMIN, client_id="c-ada")
