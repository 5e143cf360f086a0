"""Callers: what a token lets its bearer do at most, and groups that follow identity."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from downstage.auth.principal import Bound, Principal
from downstage.bus import MemoryBus
from downstage.content.directory import Callers, IdentityDirectory, People, StaticDirectory
from downstage.content.model import Access, Reach
from downstage.contracts.identity import PEOPLE_CHANGED, Person
from downstage.kernel.errors import Forbidden, InvalidToken, Unavailable
from downstage.services.errors import ServiceUnavailableError

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

BOTH = Access.READ | Access.WRITE


def principal(**more: Any) -> Principal:
    scopes = frozenset({"files:read", "files:write"})
    fields: dict[str, Any] = {"subject": "ann", "name": "Ann", "kind": "user", "scopes": scopes}
    given: dict[str, Any] = fields | {"token_id": "t-1"} | more
    return Principal(**given)


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        ({"files:read"}, Access.READ),
        ({"files:write"}, BOTH),
        ({"files:admin"}, BOTH | Access.ADMIN),
    ],
)
async def test_scopes_bound_what_a_caller_may(scopes: set[str], may: Access) -> None:
    callers = Callers(StaticDirectory({"ann": ["artists"]}))
    caller = await callers.of(principal(scopes=frozenset(scopes)))
    assert (caller.may, caller.groups) == (may, frozenset({"artists"}))


async def test_who_has_no_business_with_files_is_refused() -> None:
    callers = Callers(StaticDirectory({"ann": []}))
    for more in (
        {"scopes": frozenset({"sessions:read"})},
        {"kind": "seat", "token_id": "t-2"},
        {"kind": "instance", "token_id": "t-3"},
    ):
        with pytest.raises(Forbidden):
            await callers.of(principal(**more))


async def test_an_instance_is_its_owner_within_bounds() -> None:
    callers = Callers(StaticDirectory({"ann": ["artists"]}))
    bounds = (Bound("/a"), Bound("/b", writes=True))
    scopes = frozenset({"files:admin"})
    caller = await callers.of(
        principal(subject="instance:i", kind="instance", act="ann", reach=bounds, scopes=scopes)
    )
    assert (caller.subject, caller.groups, caller.may) == ("ann", frozenset({"artists"}), BOTH)
    assert caller.reach == (Reach("/a", Access.READ), Reach("/b", BOTH))


async def test_a_service_is_the_person_it_calls_for() -> None:
    callers = Callers(StaticDirectory({"ann": ["artists"]}))
    caller = await callers.of(principal(subject="service:x", kind="service", act="ann"))
    assert (caller.subject, caller.groups) == ("ann", frozenset({"artists"}))


async def test_groups_of_a_known_caller_follow_the_directory() -> None:
    directory = StaticDirectory({"ann": ["artists"]})
    callers = Callers(directory)
    assert callers.known(principal()) is callers.known(principal())
    assert callers.known(principal(), "c-1") is not callers.known(principal(), "c-2")
    directory.set_groups({"ann": ["guests"]})
    known = callers.known(principal())
    assert known is not None
    assert known.groups == frozenset({"guests"})


class IdentityDouble:
    """Answers ``v1.directory.get``."""

    def __init__(self) -> None:
        self.people: list[dict[str, Any]] = []
        self.fails = False
        self.asked = 0
        self.v1: Any = self
        self.directory: Any = self

    async def get(self, *, limit: int, after: str | None) -> dict[str, Any]:
        self.asked += 1
        if self.fails:
            raise ServiceUnavailableError("no")
        found = [item for item in self.people if after is None or item["name"] > after][:2]
        more = len([i for i in self.people if after is None or i["name"] > after]) > 2
        del limit
        return {"items": found, "next": found[-1]["name"] if more else None}

    def put(self, name: str, *groups: str, disabled: bool = False) -> None:
        self.people = [item for item in self.people if item["name"] != name]
        self.people.append(
            {"subject": name, "name": name, "tenant": "main", "groups": list(groups),
             "disabled": disabled}
        )  # fmt: skip
        self.people.sort(key=lambda item: item["name"])


async def test_it_reads_page_by_page_and_again_at_a_hint() -> None:
    identity, bus = IdentityDouble(), MemoryBus()
    for name in ("ann", "ben", "cid"):
        identity.put(name, "artists")
    directory = IdentityDirectory(identity, bus)  # type: ignore[arg-type]
    callers = Callers(directory)
    running = asyncio.create_task(directory.run())
    try:
        assert callers.known(principal()) is None
        assert (await callers.of(principal(subject="cid"))).groups == frozenset({"artists"})
        first = await directory.read()
        identity.put("ann", "guests")
        bus.publish(PEOPLE_CHANGED, {})
        async with asyncio.timeout(5):
            while directory.people is first:
                await asyncio.sleep(0.001)
        assert (await callers.of(principal())).groups == frozenset({"guests"})
        identity.fails = True
        bus.publish(PEOPLE_CHANGED, {})
        before = identity.asked
        async with asyncio.timeout(5):
            while identity.asked == before:
                await asyncio.sleep(0.001)
        assert (await callers.of(principal())).groups == frozenset({"guests"})  # as last known
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_nobody_is_known_before_identity_answered() -> None:
    identity = IdentityDouble()
    identity.fails = True
    callers = Callers(IdentityDirectory(identity, MemoryBus()))  # type: ignore[arg-type]
    with pytest.raises(Unavailable):
        await callers.of(principal())
    identity.fails = False
    identity.put("ann", disabled=True)
    with pytest.raises(InvalidToken):
        await callers.of(principal())


async def test_a_newcomer_has_their_groups_from_the_first_moment() -> None:
    identity = IdentityDouble()
    identity.put("ann")
    callers = Callers(IdentityDirectory(identity, MemoryBus()))  # type: ignore[arg-type]
    await callers.of(principal())
    identity.put("eve", "contractors")  # and the hint is late
    eve = principal(subject="eve", token_id="t-2")
    found = await asyncio.gather(*(callers.of(eve) for _ in range(20)))
    assert {caller.groups for caller in found} == {frozenset({"contractors"})}
    assert identity.asked == 2


async def test_who_is_gone_is_nobody() -> None:
    identity = IdentityDouble()
    identity.put("ann")
    callers = Callers(IdentityDirectory(identity, MemoryBus()))  # type: ignore[arg-type]
    ghost = principal(subject="ghost", token_id="t-2")
    with pytest.raises(InvalidToken):
        await callers.of(ghost)
    found = await asyncio.gather(*(callers.of(ghost) for _ in range(5)), return_exceptions=True)
    assert [type(error) for error in found] == [InvalidToken] * 5
    assert identity.asked <= 3


def test_C10_people_know_those_of_their_tenant_alone() -> None:
    def person(subject: str, tenant: str, group: str) -> Person:
        return Person(subject=subject, name=subject, tenant=tenant, groups=[group], disabled=False)

    both = [person("ann", "main", "artists"), person("eve", "other", "secret-project")]
    people = People({one.subject: one for one in both}, 1)
    assert [one.subject for one in people.of("main")] == ["ann"]
    assert people.groups_of("main") == ["admins", "artists"]
