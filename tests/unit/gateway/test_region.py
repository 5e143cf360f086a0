"""The way to one region: lost answers are asked for again, and each error says who was silent."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from downstage.contracts.manager import InstanceCreate
from downstage.gateway import region as module
from downstage.gateway.region import Region
from downstage.kernel.errors import NoCapacity, NotFound, PlatformError, Unavailable
from downstage.services import AsyncClient
from downstage.services.errors import (
    BaseServiceError,
    ServiceNotFoundError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

WANTED = InstanceCreate(session_id="s", instance_id="i-" + "a" * 26, owner="anna", application="x")
VIEW = {
    "id": WANTED.instance_id,
    "session_id": "s",
    "tenant": "main",
    "owner": "anna",
    "application": "x",
    "state": "starting",
    "revision": 1,
    "stage": "placed",
    "created_at": "2026-01-01T00:00:00+00:00",
    "updated_at": "2026-01-01T00:00:00+00:00",
}
NOBODY = ServiceNotFoundError("nobody serves agent-eu")
"""What the bus says where no agent listens: no answer, and no word on any instance."""


class Wire:
    """Answers calls of any path with what stands next in *answers*."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.posted = list[InstanceCreate]()

    async def _call(self, *arguments: Any, **_: Any) -> Any:
        self.posted += [item for item in arguments if isinstance(item, InstanceCreate)]
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def region(self) -> Region:
        verbs = SimpleNamespace(get=self._call, post=self._call, delete=self._call)

        class Instances(SimpleNamespace):
            def __getitem__(self, _: str) -> Any:
                return verbs

        instances = Instances(get=self._call, post=self._call)
        client = SimpleNamespace(v1=SimpleNamespace(instances=instances, health=verbs))
        return Region("eu", lambda _: cast("AsyncClient", client))


def answered(status: int, code: str = "x") -> BaseServiceError:
    kind = ServiceNotFoundError if status == 404 else BaseServiceError
    return kind("no", status=status, body={"title": "t", "code": code, "detail": "no."})


async def test_an_absent_agent_says_nothing_about_an_instance() -> None:
    """Else a session with a picture was ended because its agent was restarted."""
    with pytest.raises(Unavailable, match="No agent of the region eu is there"):
        await Wire(NOBODY).region().instance("i-1")
    with pytest.raises(Unavailable):
        await Wire(NOBODY).region().stop("i-1")
    assert await Wire(answered(404)).region().instance("i-1") is None


@pytest.mark.parametrize(
    "lost", [NOBODY, ServiceTimeoutError("late"), ServiceUnavailableError("broke"), answered(503)]
)
async def test_a_launch_without_an_answer_is_made_again_by_the_same_ids(
    lost: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)
    wire = Wire(lost, lost, VIEW)
    assert (await wire.region().create(WANTED)).id == WANTED.instance_id
    assert wire.posted == [WANTED] * 3


async def test_it_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LAUNCH_S", 0.0)
    wire = Wire(NOBODY, VIEW)
    with pytest.raises(Unavailable):
        await wire.region().create(WANTED)
    assert len(wire.posted) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered(404), NotFound),
        (answered(503, NoCapacity.code), NoCapacity),
        (answered(500), Unavailable),
    ],
)
async def test_a_clear_answer_is_not_asked_for_again(
    error: Exception, kind: type[PlatformError]
) -> None:
    wire = Wire(error, VIEW)
    with pytest.raises(kind):
        await wire.region().create(WANTED)
    assert len(wire.posted) == 1


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NOBODY, "No agent of the region eu is there"),
        (ServiceTimeoutError("late"), "The agent of the region eu did not answer in time"),
        (ServiceUnavailableError("x"), "The agent of the region eu cannot be reached"),
        (answered(503), "The agent of the region eu answers, its manager does not"),
        (answered(500), "The region eu failed with 500"),
    ],
)
async def test_the_error_says_who_was_silent(error: Exception, text: str) -> None:
    with pytest.raises(Unavailable, match=text):
        await Wire(error).region().check_health()


async def test_a_list_out_of_form_is_no_list() -> None:
    wire = Wire({"items": [{"id": "i", "session_id": None, "state": "running"}]})
    assert [item.id for item in await wire.region().census()] == ["i"]
    for answer in ({}, None, {"items": [{"id": 1}]}, {"items": 3}, "x"):
        with pytest.raises(Unavailable, match="out of form"):
            await Wire(answer).region().census()
