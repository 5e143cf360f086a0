"""Calls that a handler makes on the way: what their errors and the caller's patience become."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from fastapi import FastAPI

from downstage.kernel.errors import Conflict, NotFound, PlatformError, TooMany, Unavailable
from downstage.services import AsyncClient, BaseServiceError
from downstage.services.client.propagation import remaining_s
from downstage.services.registry import create_app

pytestmark = [pytest.mark.real, pytest.mark.anyio]


class Chain:
    """A service in front of another one, which raises what it is told to."""

    def __init__(self) -> None:
        self.error: Exception = NotFound("There is no such session.")
        self.left_s: float | None = None
        self.far: FastAPI = create_app("far")
        self.near: FastAPI = create_app("near")
        self.upstream = AsyncClient("local://far", app=self.far, retries=0, description=None)
        self.client = AsyncClient("local://near", app=self.near, retries=0, description=None)
        self.far.add_api_route("/thing", self.fail)
        self.near.add_api_route("/thing", self.pass_on)
        self.near.add_api_route("/left", self.tell_left)

    async def fail(self) -> None:
        raise self.error

    async def pass_on(self) -> Any:
        return await self.upstream.thing.get()

    async def tell_left(self) -> None:
        self.left_s = remaining_s()
        await anyio.sleep(0)


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (NotFound("There is no such session."), 404, "not-found"),
        (Conflict("It has ended."), 409, "conflict"),
        (TooMany("Slower.", retry_after_s=7), 429, "too-many"),
        (Unavailable("Not now.", retry_after_s=3), 503, "unavailable"),
        (PlatformError("secret trouble inside"), 502, "upstream"),
        (ValueError("secret trouble inside"), 502, "upstream"),
    ],
)
async def test_an_error_of_another_service_is_told_as_far_as_it_concerns_the_caller(
    raised: Exception, status: int, code: str
) -> None:
    chain = Chain()
    chain.error = raised
    with pytest.raises(BaseServiceError) as caught:
        await chain.client.thing.get()
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.retry_after == getattr(raised, "retry_after_s", None)
    assert "secret" not in str(caught.value.body)


async def test_a_service_that_is_not_there_is_503() -> None:
    chain = Chain()
    chain.upstream = AsyncClient("http://127.0.0.1:9", retries=0, description=None)
    with pytest.raises(BaseServiceError) as caught:
        await chain.client.thing.get()
    assert caught.value.status == 503
    assert "127.0.0.1" not in str(caught.value.body)


async def test_the_callers_patience_bounds_the_calls_on_the_way() -> None:
    chain = Chain()
    await chain.client.left.get(__timeout__=7)
    assert chain.left_s is not None
    assert 5 < chain.left_s <= 7
    await chain.client.left.get(__headers__={"x-request-timeout-ms": "soon"})
    assert chain.left_s is None
