"""The page on facilities: its examples run, its figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import FastAPI

from downstage.auth.principal import Principal
from downstage.services import AsyncClient, registry
from downstage.services.facilities import FacilitySet, MetricsHub, instruments, progress, queries
from downstage.services.facilities.principal import Authenticator
from downstage.services.registry import create_app

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "facilities.md"


class Anybody(Authenticator):
    """Takes every token for anna's."""

    def __init__(self) -> None:
        """Without keys: nothing is verified here."""

    async def principal(self, token: str) -> Principal:
        del token
        return Principal(subject="u-anna", name="anna", kind="user")


@pytest.fixture
def names() -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec", dont_inherit=True), found)
    return found


async def test_the_extension_works(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    app: FastAPI = create_app("Page")
    app.state.authenticator = Anybody()
    monkeypatch.setattr(registry, "get_app", lambda: app)
    async with anyio.create_task_group() as tasks:

        def start(function: Any, *, name: str) -> None:
            del name
            tasks.start_soon(function)

        hub = MetricsHub()
        databases = {"orders": {"connection_string": "sqlite://"}}
        found = FacilitySet("bakery-1", databases=databases, metrics=hub, start=start)
        extension = names["Bakery"]()
        found.inject(extension)
        with registry.owner("bakery-1"):
            extension.on_startup("bakery-1")
        names["push_every_minute"](extension.metrics, extension.scheduler)
        assert [job.name for job in extension.scheduler.jobs()] == ["clean", "push"]
        async with found.get("database").get("orders") as db:
            await db.execute("CREATE TABLE orders (kind TEXT, who TEXT)")
        client = AsyncClient("local://", app, token="t")
        assert await client.bakery.cakes.plum.post() == {"order": 1}
        told = await client.bakery.progress.get()
        assert [(item["state"], item["message"]) for item in told["items"]] == [
            ("done", "in the oven")
        ]
        assert b'cakes_total{kind="plum"} 1.0' in hub.render()[0]
        await found.close()


def test_a_facility_of_ones_own(names: dict[str, Any]) -> None:
    found = FacilitySet("oven-1", data=Path("/x"))
    assert found.find(names["Oven"]).folder == Path("/x")
    assert names["is_known"]("the key that was handed out")
    assert not names["is_known"]("another")


def test_the_figures_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    assert f"past {instruments.MAX_SERIES} combinations" in text
    assert f"(at most {queries.MAX_ROWS:,})" in text
    assert f"the last {progress.MAX_ENDED} that ended" in text
