"""Who is let in: places of tokens, pages, tickets, the demo's open door, and how long one stays."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from downstage.auth.principal import Principal, StreamBound
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import (
    Forbidden,
    InvalidInput,
    InvalidToken,
    NotFound,
    PlatformError,
    TooMany,
    Unauthenticated,
)
from downstage.services.origins import own_origins
from downstage.streams import credentials
from downstage.streams.callers import Callers, Guest
from downstage.streams.credentials import shown
from downstage.streams.model import Right
from downstage.streams.rights import caller_of
from downstage.streams.tickets import MOST_OF_ONE, Tickets

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HOME = "http://127.0.0.1:8600"
EVIL = ("https://evil", "null", "http://127.0.0.1:8600.evil.example", "http://127.0.0.1:8601")
PEOPLE = frozenset({"streams:read", "streams:write", "streams:record"})
SAMPLE = "printed.for.everybody"


class Proving:
    """Knows tokens by name."""

    def __init__(self) -> None:
        self.known = {"good": person()}
        self.revoked = set[str]()

    async def principal(self, token: str) -> Principal:
        if token not in self.known:
            raise InvalidToken
        return self.known[token]

    def counts(self, principal: Principal) -> bool:
        return principal.token_id not in self.revoked


def person(**more: Any) -> Principal:
    given = {"subject": "ann", "name": "Ann", "kind": "user", "scopes": PEOPLE, "token_id": "t-1"}
    return Principal(**(given | more))  # type: ignore[arg-type]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def callers(clock: ManualClock) -> Callers:
    return Callers(Proving(), Tickets(clock), own_origins(HOME, ["https://studio.example/"]))


@pytest.fixture
def demo(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Callers:
    monkeypatch.setattr(credentials, "SAMPLE", hashlib.sha256(SAMPLE.encode()).hexdigest())
    return Callers(Proving(), Tickets(clock), own_origins(HOME, []), is_demo=True)


async def ask(
    callers: Callers,
    *headers: tuple[str, str],
    query: str = "",
    socket: bool = False,
    client: str = "127.0.0.1",
    purpose: Any = "read",
    cookies: bool = True,
) -> Guest:
    given = [(name.encode(), value.encode()) for name, value in headers]
    if not any(name == "host" for name, _ in headers):
        given.append((b"host", b"127.0.0.1:8600"))
    return await callers.prove(
        given, query.encode(), client=client, socket=socket, purpose=purpose, cookies=cookies
    )


BEARER = ("authorization", "Bearer good")
COOKIE = ("cookie", 'other=1; authorization="Bearer good"')


async def test_a_token_counts_in_header_and_cookie(callers: Callers) -> None:
    for header in (BEARER, COOKIE, ("authorization", "bearer  good")):
        assert (await ask(callers, header)).caller.subject == "ann"


async def test_the_query_goes_before_the_header_and_that_before_the_cookie(
    callers: Callers,
) -> None:
    with pytest.raises(InvalidToken):
        await ask(callers, BEARER, COOKIE, query="token=bad")
    with pytest.raises(InvalidToken):
        await ask(callers, ("authorization", "Bearer bad"), COOKIE)
    assert await ask(callers, BEARER, ("cookie", 'authorization="Bearer bad"'))
    assert await ask(callers, BEARER, query="token=&count=1")  # nothing is no token


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([("authorization", "Basic good")], ""),
        ([("authorization", "good")], ""),
        ([("authorization", "Bearer ")], ""),
        ([BEARER, BEARER], ""),
        ([("cookie", "authorization=good")], ""),
        ([("authorization", "Bearer forged")], ""),
        ([], "token=good"),  # a long-lived token is no ticket
    ],
)
async def test_what_is_no_token_is_401(
    callers: Callers, headers: list[tuple[str, str]], query: str
) -> None:
    with pytest.raises(InvalidToken):
        await ask(callers, *headers, query=query)


async def test_no_token_is_401_in_the_words_of_the_data_server(callers: Callers) -> None:
    for headers in ([], [("cookie", "session=1")], [("cookie", "\x00=;;authorization")]):
        with pytest.raises(Unauthenticated, match="Not authenticated"):
            await ask(callers, *headers)
    with pytest.raises(Unauthenticated):
        await ask(callers, COOKIE, cookies=False)
    with pytest.raises(InvalidInput):
        await ask(callers, query="token=a&token=b")


@pytest.mark.parametrize("origin", EVIL)
async def test_A01_a_page_of_somebody_else_opens_no_socket(callers: Callers, origin: str) -> None:
    for proof in (BEARER, COOKIE):
        with pytest.raises(Forbidden):
            await ask(callers, proof, ("origin", origin), socket=True)
    with pytest.raises(Forbidden):
        await ask(callers, COOKIE, ("origin", HOME), ("origin", origin), socket=True)
    assert callers.refused["origin"] == 3
    ticket, _ = callers.tickets.mint(person(), "pull")
    with pytest.raises(Forbidden):
        await ask(callers, ("origin", origin), query=f"token={ticket}", socket=True, purpose="pull")
    assert callers.tickets.redeem(ticket, "pull")  # it was not even looked at


async def test_A01_our_own_pages_open_sockets_by_cookie(callers: Callers) -> None:
    for origin in (HOME, "http://localhost:8600", "https://studio.example"):
        assert await ask(callers, COOKIE, ("origin", origin), socket=True)


async def test_A01_a_page_of_somebody_else_uses_no_cookie_by_http_either(callers: Callers) -> None:
    for header in (("origin", "https://evil"), ("sec-fetch-site", "cross-site")):
        with pytest.raises(Forbidden):
            await ask(callers, COOKIE, header)
        assert await ask(callers, BEARER, header)  # a header is not sent by itself


async def test_A02_without_origin_a_header_opens_a_socket_and_a_cookie_does_not(
    callers: Callers,
) -> None:
    assert await ask(callers, BEARER, socket=True)
    with pytest.raises(Forbidden):
        await ask(callers, COOKIE, socket=True)
    assert callers.refused == {"cookie": 1}


async def test_a_ticket_opens_once_for_its_purpose_within_a_minute(
    callers: Callers, clock: ManualClock
) -> None:
    async def spend(ticket: str, purpose: Any = "pull") -> Guest:
        return await ask(callers, query=f"token={ticket}", purpose=purpose)

    ticket, expires_at = callers.tickets.mint(person(), "pull")
    assert (expires_at - clock.now()).total_seconds() == 60
    guest = await spend(ticket)
    assert guest.by_ticket
    assert guest.caller.rights("a") is Right.READ
    for purpose in ("pull", "push", "read"):
        with pytest.raises(InvalidToken):
            await spend(ticket, purpose)
    other, _ = callers.tickets.mint(person(), "push")
    with pytest.raises(InvalidToken):
        await spend(other)
    with pytest.raises(InvalidToken):
        await spend(other, "push")  # what was shown for something else is gone
    pusher, _ = callers.tickets.mint(person(), "push")
    assert (await spend(pusher, "push")).caller.rights("a") is Right.WRITE
    late, _ = callers.tickets.mint(person(), "pull")
    clock.advance(60)
    with pytest.raises(InvalidToken):
        await spend(late)
    revoked, _ = callers.tickets.mint(person(token_id="t-gone"), "pull")
    callers.proving.revoked.add("t-gone")  # type: ignore[attr-defined]
    with pytest.raises(InvalidToken):
        await spend(revoked)


def test_tickets_that_wait_are_bounded(clock: ManualClock) -> None:
    tickets = Tickets(clock)
    first, _ = tickets.mint(person(), "read")
    for number in range(4096):
        last, _ = tickets.mint(person(subject=f"ann-{number % 16}"), "read")
    assert tickets.redeem(first, "read") is None
    assert tickets.redeem("x" * 300, "read") is None
    assert tickets.redeem(last, "read") == person(subject="ann-15")


def test_T06_nobody_takes_the_room_of_others_tickets(clock: ManualClock) -> None:
    tickets = Tickets(clock)
    theirs, _ = tickets.mint(person(subject="bob"), "read")
    for _ in range(MOST_OF_ONE):
        tickets.mint(person(), "read")
    with pytest.raises(TooMany):
        tickets.mint(person(), "read")
    assert tickets.redeem(theirs, "read") == person(subject="bob")
    tickets.mint(person(subject="bob"), "read")
    clock.advance(60)
    tickets.mint(person(), "read")


async def test_A11_the_sample_token_and_tokens_in_addresses_work_in_a_demo_here_alone(
    demo: Callers, callers: Callers
) -> None:
    sample = ("authorization", f"Bearer {SAMPLE}")
    guest = await ask(demo, sample)
    assert guest.is_open
    assert guest.caller.rights("a") == Right.READ | Right.WRITE | Right.RECORD
    assert (await ask(demo, query=f"token={SAMPLE}", socket=True)).is_open
    assert not (await ask(demo, query="token=good")).is_open
    elsewhere: list[dict[str, Any]] = [
        {"client": "192.0.2.7"},
        {"client": ""},
    ]
    for more in elsewhere:
        with pytest.raises(InvalidToken, match="printed in public"):
            await ask(demo, sample, **more)
        with pytest.raises(InvalidToken):
            await ask(demo, query="token=good", **more)
    for header in (("host", "evil.example"), ("origin", EVIL[0]), ("sec-fetch-site", "cross-site")):
        with pytest.raises(InvalidToken):  # a page of somebody else, or a name that it rebound
            await ask(demo, sample, header)
    with pytest.raises(InvalidToken, match="--demo"):
        await ask(callers, sample)


async def test_a_demo_is_here_for_who_comes_from_here(demo: Callers, callers: Callers) -> None:
    host = (b"host", b"localhost:8600")
    assert demo.demo_here("127.0.0.1", [host])
    assert demo.demo_here("::1", [(b"host", b"[::1]:8600"), (b"origin", HOME.encode())])
    assert not demo.demo_here("10.0.0.1", [host])
    assert not demo.demo_here("127.0.0.1", [host, (b"origin", b"https://evil")])
    assert not callers.demo_here("127.0.0.1", [host])


async def test_what_is_open_ends_when_the_token_no_longer_counts(callers: Callers) -> None:
    guest = await ask(callers, BEARER)
    ended: list[tuple[int, str]] = []
    with callers.staying(guest, lambda code, reason: ended.append((code, reason))):
        callers.check()
        assert (ended, callers.count) == ([], 1)
        callers.proving.revoked.add("t-1")  # type: ignore[attr-defined]
        callers.check()
    assert (ended, callers.count) == ([(1008, "invalid-token")], 0)
    callers.check()
    assert len(ended) == 1


async def test_a_demo_s_open_guest_stays(demo: Callers) -> None:
    guest = await ask(demo, ("authorization", f"Bearer {SAMPLE}"))
    demo.proving.revoked.add("")  # type: ignore[attr-defined]
    with demo.staying(guest, lambda *_: pytest.fail("it was ended")):
        demo.check()


async def test_T06_what_is_open_is_bounded_for_each_and_for_all(callers: Callers) -> None:
    callers.most, callers.most_of_one = 2, 1
    guest = await ask(callers, BEARER)
    other = Guest(person(subject="bob"), caller_of(person(subject="bob")))
    third = Guest(person(subject="eve"), caller_of(person(subject="eve")))
    with callers.staying(guest, print):
        with pytest.raises(TooMany), callers.staying(guest, print):
            pass
        with callers.staying(other, print), pytest.raises(TooMany):
            callers.refuse_more(third)
        callers.refuse_more(third)
    assert callers.count == 0
    callers.refuse_more(guest)


@pytest.mark.parametrize(
    ("scopes", "rights"),
    [
        ({"streams:read"}, Right.READ),
        ({"streams:write"}, Right.READ | Right.WRITE),
        ({"streams:record"}, Right.READ | Right.RECORD),
        ({"streams:admin"}, Right.READ | Right.WRITE | Right.RECORD | Right.ADMIN),
        (PEOPLE, Right.READ | Right.WRITE | Right.RECORD),
    ],
)
def test_scopes_say_what_may_be_done_at_most(scopes: set[str], rights: Right) -> None:
    assert caller_of(person(scopes=frozenset(scopes))).rights("any") == rights


def test_A06_bounds_narrow_and_never_widen() -> None:
    bounds = (
        StreamBound("cam-*", frozenset({"read"})),
        StreamBound("out", frozenset({"write"})),
        StreamBound("all", frozenset({"admin"})),
    )
    caller = caller_of(person(streams=bounds))
    assert caller.rights("cam-1") is Right.READ
    assert caller.rights("out") is Right.WRITE
    assert caller.rights("all") == Right.READ | Right.WRITE | Right.RECORD  # as the scopes say
    assert caller.rights("cam") is Right.NONE
    with pytest.raises(NotFound):
        caller.need("other", Right.READ)
    with pytest.raises(NotFound):
        caller.need("out", Right.READ)  # it may push there, and sees nothing
    with pytest.raises(Forbidden):
        caller.need("cam-1", Right.WRITE)
    reader = person(scopes=frozenset({"streams:read"}), streams=bounds)
    assert caller_of(reader).rights("out") is Right.NONE
    assert caller_of(person(streams=())).rights("cam-1") is Right.NONE


def test_who_has_no_business_with_streams_is_refused() -> None:
    strangers: list[dict[str, Any]] = [
        {"scopes": frozenset({"files:admin"})},
        {"kind": "seat", "session_id": "s-1"},
        {"kind": "instance"},
    ]
    for more in strangers:
        with pytest.raises(Forbidden):
            caller_of(person(**more))


def test_an_instance_pushes_under_its_session_s_name_alone() -> None:
    caller = caller_of(person(kind="instance", session_id="s-abc", scopes=frozenset()))
    assert caller.rights("session.s-abc.video") is Right.WRITE
    for other in ("session.s-abc", "session.s-abcd.video", "session.s-xyz.video", "camera"):
        assert caller.rights(other) is Right.NONE
        with pytest.raises(PlatformError):
            caller.need(other, Right.WRITE)


def test_who_was_shown_what() -> None:
    given = shown(
        [(b"Host", b"[::1]:80"), (b"Origin", b"HTTP://A"), (b"Sec-Fetch-Site", b"same-origin")],
        b"a=1&token=x%2By",
        cookies=True,
    )
    assert (given.place, given.token, given.host) == ("query", "x+y", "::1")
    assert (given.origins, given.is_cross_site) == (("http://a",), False)
