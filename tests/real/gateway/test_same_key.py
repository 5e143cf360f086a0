"""Gateways on one database share one key: whoever has another is refused, and told what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, select

from downstage.auth.seal import Sealer
from downstage.gateway.same_key import check_key
from downstage.gateway.tables import keys
from downstage.kernel.errors import SetupError
from downstage.services.facilities.database import Database, open_database

pytestmark = [pytest.mark.real, pytest.mark.anyio]
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)

FIRST, OTHER = Sealer(b"k" * 32), Sealer(b"j" * 32)


@pytest.fixture
async def shared(data: Path, database: str | None) -> AsyncIterator[Database]:
    """The database of several gateways."""
    opened = await open_database(
        data / "gateway.db",
        name="gateway",
        migrations="downstage.gateway.migrations",
        url=SecretStr(database) if database else None,
    )
    yield opened
    await opened.close()


async def check(shared: Database, sealer: Sealer, *, is_new: bool = False) -> None:
    await check_key(shared, sealer, Path("/data/gw/gateway.key"), is_new=is_new)


async def marks(shared: Database) -> list[str]:
    async with shared.read() as connection:
        return list((await connection.execute(select(keys.c.mark))).scalars())


@both
async def test_the_first_key_counts_and_another_is_refused(shared: Database) -> None:
    await check(shared, FIRST)
    await check(shared, FIRST)
    with pytest.raises(SetupError) as refused:
        await check(shared, OTHER)
    for word in ("/data/gw/gateway.key", "copy of the first gateway's", "gateway.new_key = true"):
        assert word in refused.value.detail
    assert FIRST.mark() not in refused.value.detail
    assert await marks(shared) == [FIRST.mark()]


@both
async def test_a_key_that_was_lost_is_replaced_when_it_is_asked_for(shared: Database) -> None:
    await check(shared, FIRST)
    await check(shared, OTHER, is_new=True)
    await check(shared, OTHER)
    with pytest.raises(SetupError):
        await check(shared, FIRST)


@both
async def test_a_database_of_an_earlier_release_takes_the_key_that_comes(shared: Database) -> None:
    async with shared.write() as connection:
        await connection.execute(delete(keys))
    await check(shared, OTHER)
    with pytest.raises(SetupError):
        await check(shared, FIRST)


def refusal(error: BaseException) -> SetupError | None:
    """The refusal in *error*, however it is wrapped."""
    if isinstance(error, BaseExceptionGroup):
        found = [refusal(one) for one in error.exceptions]
        return next((one for one in found if one is not None), None)
    return error if isinstance(error, SetupError) else None


async def started(start: Any, **settings: Any) -> SetupError | None:
    """Why it did not start; None: it did."""
    try:
        async with start(**settings):
            return None
    except (SetupError, BaseExceptionGroup) as error:
        found = refusal(error)
        if found is None:
            raise
        return found


@both
async def test_a_second_gateway_with_a_key_of_its_own_does_not_start(
    start: Any, data: Path
) -> None:
    assert await started(start) is None
    first = (data / "gateway.key").read_bytes()
    (data / "gateway.key").unlink()
    refused = await started(start)
    assert refused is not None, "it would have sealed with a key that nobody else has"
    assert str(data / "gateway.key") in refused.detail
    (data / "gateway.key").write_bytes(first)
    assert await started(start) is None
    (data / "gateway.key").unlink()
    assert await started(start, gateway__new_key=True) is None
    assert await started(start) is None
