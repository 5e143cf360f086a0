"""The HLS application: what players ask for, who may, and what is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from downstage.auth.principal import Principal
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import DeadlineExceeded, NotFound
from downstage.media.hls.cutter import Pacing
from downstage.media.hls.window import Part, Window
from downstage.streams.callers import Callers, Guest
from downstage.streams.model import Caller, Grant
from downstage.streams.rights import ALL
from downstage.streams.tickets import Tickets
from downstage.streams.video import sending
from downstage.streams.video.hls import Hls
from downstage.streams.video.passes import COOKIE, Passes

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ORIGIN = "https://play.example"
ADA = Principal("ada", "ada", "user", scopes=frozenset({"streams:read"}), token_id="t-1")
BODY = bytes(range(256)) * 4


class Proving:
    """Proves one token, until it is revoked."""

    revoked = False

    async def principal(self, token: str) -> Principal:
        assert token == "good"
        return ADA

    def counts(self, _: Principal) -> bool:
        return not self.revoked


@dataclass
class OneChannel:
    """What is on air: one stream, ``cam``."""

    window: Window = field(default_factory=lambda: Window(7))
    pacing: Pacing = field(default_factory=Pacing)
    error: Any = None

    async def open(self, _: Caller, name: str) -> Any:
        if name != "cam":
            raise NotFound("There is no such stream.")
        return self

    async def current(self, caller: Caller, name: str) -> Any:
        return await self.open(caller, name)


@dataclass
class Site:
    """The application and what it stands on."""

    channel: OneChannel
    tickets: Tickets
    proving: Proving
    hls: Hls

    async def get(
        self, path: str, *, method: str = "GET", scheme: str = "http", **headers: str
    ) -> SimpleNamespace:
        """One request; names of headers have _ for -."""
        path, _, query = path.partition("?")
        given = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
        sent = list[dict[str, Any]]()
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode()}
        scope |= {"headers": given, "client": ("192.0.2.7", 1), "scheme": scheme}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.hls(cast("Any", scope), cast("Any", None), send)
        told = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return SimpleNamespace(status=sent[0]["status"], headers=told, body=body, sent=sent)


@pytest.fixture
def site() -> Site:
    """Two segments and a part of a third."""
    clock, proving, channel = ManualClock(), Proving(), OneChannel()
    tickets = Tickets(clock)
    callers = Callers(cast("Any", proving), tickets, frozenset({ORIGIN}))
    window = channel.window
    init = window.put_init(b"init")
    for _ in range(3):
        window.begin(1_700_000_000_000, init, discontinuity=False)
        window.add(Part(BODY, 0.5, independent=True))
    channels = cast("Any", channel)
    hls = Hls(channels, callers, Passes(clock), frozenset({ORIGIN}))
    return Site(channel, tickets, proving, hls)


async def test_a_player_finds_everything_that_the_playlist_names(site: Site) -> None:
    answer = await site.get("/hls/cam/index.m3u8", authorization="Bearer good")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-cache")
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    names = re.findall(r'URI="([^"]+)"|^(seg-.*)$', answer.body.decode(), re.MULTILINE)
    files = {one or other for one, other in names}
    assert {"init-0.mp4", "seg-7.m4s", "part-9.0.m4s", "part-9.1.m4s"} <= files
    for file in files - {"part-9.1.m4s"}:
        got = await site.get(f"/hls/cam/{file}", authorization="Bearer good")
        assert (got.status, got.headers["content-type"]) == (200, "video/mp4"), file
        assert int(got.headers["content-length"]) == len(got.body)


async def test_without_proof_nothing_is_told(site: Site) -> None:
    for path in ("index.m3u8", "seg-7.m4s", "init-0.mp4"):
        answer = await site.get(f"/hls/cam/{path}")
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_a_ticket_opens_once_and_the_cookie_goes_on(site: Site) -> None:
    ticket, _ = site.tickets.mint(ADA, "read")
    first = await site.get(f"/hls/cam/index.m3u8?token={ticket}")
    assert first.status == 200
    cookie = first.headers["set-cookie"]
    assert "; Path=/hls/cam/; " in cookie
    assert "HttpOnly; SameSite=Lax" in cookie
    shown = cookie.partition(";")[0]
    again = f"/hls/cam/index.m3u8?token={ticket}"
    assert (await site.get(again)).status == 401
    assert (await site.get(again, cookie=shown)).status == 200
    assert (await site.get("/hls/cam/seg-7.m4s", cookie=shown)).status == 200
    assert (await site.get("/hls/other/index.m3u8", cookie=shown)).status == 401
    assert (await site.get("/hls/cam/seg-7.m4s", cookie=f"{COOKIE}=x")).status == 401
    site.proving.revoked = True
    assert (await site.get("/hls/cam/seg-7.m4s", cookie=shown)).status == 401


async def test_a_page_of_somebody_else_does_not_ride_on_the_cookie(site: Site) -> None:
    ticket, _ = site.tickets.mint(ADA, "read")
    first = await site.get(f"/hls/cam/index.m3u8?token={ticket}", scheme="https", origin=ORIGIN)
    shown = first.headers["set-cookie"].partition(";")[0]
    assert "SameSite=None; Secure" in first.headers["set-cookie"]
    path = "/hls/cam/seg-7.m4s"
    own = await site.get(path, cookie=shown, origin=ORIGIN)
    assert (own.status, own.headers["access-control-allow-origin"]) == (200, ORIGIN)
    other = await site.get(path, cookie=shown, origin="https://evil.example")
    assert other.status == 403
    assert "access-control-allow-origin" not in other.headers
    assert (await site.get(path, cookie=shown, sec_fetch_site="cross-site")).status == 403


async def test_cors_is_answered_to_listed_origins_alone(site: Site) -> None:
    told = await site.get("/hls/cam/index.m3u8", method="OPTIONS", origin=ORIGIN)
    assert told.status == 204
    assert "authorization" in told.headers["access-control-allow-headers"]
    other = await site.get("/hls/cam/index.m3u8", method="OPTIONS", origin="null")
    assert "access-control-allow-origin" not in other.headers
    assert (await site.get("/hls/cam/index.m3u8", method="POST")).status == 405


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        ("bytes=0-3", 206, f"bytes 0-3/{len(BODY)}"),
        ("bytes=1000-", 206, f"bytes 1000-1023/{len(BODY)}"),
        ("bytes=-24", 206, f"bytes 1000-1023/{len(BODY)}"),
        ("bytes=-5000", 206, f"bytes 0-1023/{len(BODY)}"),
        ("bytes=5000-", 416, f"bytes */{len(BODY)}"),
        ("bytes=0-1,3-4", 200, None),
        ("bytes=" + ",".join("0-1" for _ in range(10_000)), 200, None),
        ("bytes=9-3", 200, None),
        ("bytes=-", 200, None),
    ],
)
async def test_T01_one_range_or_the_whole(
    site: Site, given: str, status: int, told: str | None
) -> None:
    answer = await site.get("/hls/cam/seg-7.m4s", authorization="Bearer good", range=given)
    assert (answer.status, answer.headers.get("content-range")) == (status, told)
    if status == 206 and told is not None:
        low, high = (int(item) for item in re.findall(r"(\d+)-(\d+)", told)[0])
        assert answer.body == BODY[low : high + 1]


async def test_a_playlist_and_a_part_are_waited_for(site: Site) -> None:
    window, answers = site.channel.window, list[SimpleNamespace]()

    async def ask(path: str) -> None:
        answers.append(await site.get(path, authorization="Bearer good"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "/hls/cam/index.m3u8?_HLS_msn=9&_HLS_part=1")
        tasks.start_soon(ask, "/hls/cam/part-9.1.m4s")
        await anyio.wait_all_tasks_blocked()
        assert not answers
        window.add(Part(b"next", 0.5, independent=False))
    assert [answer.status for answer in answers] == [200, 200]
    assert any(b"part-9.1.m4s" in answer.body for answer in answers)
    assert b"next" in [answer.body for answer in answers]


@pytest.mark.parametrize(
    "query", ["_HLS_msn=99", "_HLS_msn=x", "_HLS_part=1", "_HLS_msn=-1", "_HLS_msn=1&_HLS_part="]
)
async def test_a_wish_out_of_form_or_too_far_ahead_is_refused(site: Site, query: str) -> None:
    answer = await site.get(f"/hls/cam/index.m3u8?{query}", authorization="Bearer good")
    assert answer.status in (400, 200 if query.endswith("part=") else 400)


@pytest.mark.parametrize(
    "path",
    ["/hls/cam", "/hls/cam/", "/hls/cam/x.ts", "/hls/cam/seg-1.m4s", "/hls/cam/part-99.1.m4s",
     "/hls/../etc/index.m3u8", "/hls/cam/seg-99999999999999999999.m4s", "/hls/none/index.m3u8"],
)  # fmt: skip
async def test_what_is_not_there_is_404(site: Site, path: str) -> None:
    assert (await site.get(path, authorization="Bearer good")).status == 404


async def test_a_large_segment_leaves_in_pieces_and_head_without_them(site: Site) -> None:
    site.channel.window.add(Part(bytes(200_000), 0.5, independent=False))
    answer = await site.get("/hls/cam/part-9.1.m4s", authorization="Bearer good")
    assert [len(message.get("body", b"")) for message in answer.sent[1:]] == [
        65536, 65536, 65536, 3392, 0,
    ]  # fmt: skip
    head = await site.get("/hls/cam/part-9.1.m4s", method="HEAD", authorization="Bearer good")
    assert (head.headers["content-length"], head.body) == ("200000", b"")


async def test_T03_who_takes_nothing_is_left(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "TAKEN_S", 0.01)
    sent = list[int]()

    async def send(message: Any) -> None:
        if message.get("body"):
            sent.append(len(message["body"]))
            await anyio.sleep(60)

    headers = [(b"authorization", b"Bearer good")]
    scope = {"type": "http", "method": "GET", "path": "/hls/cam/seg-7.m4s", "headers": headers}
    with pytest.raises(DeadlineExceeded):
        await site.hls(cast("Any", scope), cast("Any", None), send)
    assert sent == [len(BODY)]


def test_a_pass_that_nobody_shows_is_forgotten() -> None:
    clock = ManualClock()
    passes = Passes(clock)
    caller = Caller("ada", "ada", "main", (Grant("*", ALL),))
    secret = passes.make(Guest(ADA, caller), "cam")
    headers = [(b"cookie", f"{COOKIE}={secret}".encode())]
    assert passes.find(headers, "cam") is not None
    clock.advance(601)
    assert passes.find(headers, "cam") is None
