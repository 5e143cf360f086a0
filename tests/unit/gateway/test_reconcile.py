"""What ends with a session ends before the session counts as ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from downstage.bus import MemoryBus
from downstage.gateway.reconcile import Reconciler
from downstage.gateway.sessions import Sessions
from downstage.gateway.states import InstanceEnded
from downstage.kernel.errors import Unavailable

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class House:
    """Sessions with one that runs, whose instance is no more."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.is_away = False
        life = SimpleNamespace(state="running", instance_id="i-1", waits=False)
        self.session = SimpleNamespace(id="s-1", region="local", life=life)
        self.listeners: list[Any] = []
        self.placing: set[str] = set()
        self.store: Any = self
        self.regions: Any = self
        self.files: Any = self

    def of(self, region: str) -> Any:
        assert region == "local"
        return self

    async def get(self, session_id: str) -> Any:
        del session_id
        return self.session

    async def instance(self, instance_id: str) -> None:
        del instance_id

    async def end(self, session: Any) -> None:
        self.said.append(f"files {session.life.state}")
        if self.is_away:
            raise Unavailable("no")

    async def apply(self, session_id: str, *events: Any) -> None:
        del session_id
        assert [type(event) for event in events] == [InstanceEnded]
        self.said.append("ended")


@pytest.mark.parametrize("is_away", [False, True])
async def test_S04_files_end_before_the_session_does(is_away: bool) -> None:
    house = House()
    house.is_away = is_away
    reconciler = Reconciler(cast("Sessions", house), MemoryBus())
    await reconciler._settle("s-1")  # pyright: ignore[reportPrivateUsage]
    assert house.said == ["files running", "ended"]
