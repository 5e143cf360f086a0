"""The example of the reference page on NATS, run as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from downstage.services.transports import close_transports
from downstage.testing.nats import NatsServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "nats.md"


async def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 1
    # Annotations of a printed example are not strings: this module's future must not reach it.
    code = compile(found[0], str(PAGE), "exec", dont_inherit=True)
    space: dict[str, Any] = {"__name__": "example"}
    exec(code, space)
    try:
        with NatsServer() as server:
            await space["main"](server.url)
            await close_transports()
    finally:
        await close_transports()
    assert "nobody serves bakery" in capsys.readouterr().out
