"""Retries, redirects, deadlines, hooks, the circuit breaker: what happens around an attempt."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from downstage.kernel.clock import ManualClock
from downstage.services import (
    AsyncClient,
    BaseServiceError,
    CircuitBreaker,
    Hook,
    Retry,
    ServiceTimeoutError,
    ServiceUnavailableError,
    deadline,
    register,
)
from downstage.services.client import Authorization, traced
from downstage.services.client.propagation import handling
from downstage.services.client.redirects import resolve
from downstage.services.transports import Answer, Call

pytestmark = [pytest.mark.unit, pytest.mark.anyio, pytest.mark.usefixtures("leaping_clock")]

OK = Answer(200, {"content-type": "application/json"}, b'"OK"')
QUICK = Retry(attempts=3, first_s=0.001, longest_s=0.01)
Reply = Answer | Exception | Callable[[Call], Any]


class Script:
    """A transport that answers by a script; the last line is repeated."""

    replies: list[Reply]
    calls: list[Call]
    uris: list[str]

    def __init__(self, uri: str, app: Any = None) -> None:
        self._uri = uri

    async def request(self, call: Call) -> Answer:
        kind = type(self)
        kind.calls.append(Call(call.method, call.path, call.query, dict(call.headers), call.body,
                               call.timeout_s, call.read_timeout_s))  # fmt: skip
        kind.uris.append(self._uri)
        reply = kind.replies.pop(0) if len(kind.replies) > 1 else kind.replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply(call) if callable(reply) else reply


@pytest.fixture(autouse=True)
def _fresh() -> None:
    Script.calls, Script.uris, Script.replies = [], [], [OK]
    register("script", Script)


@pytest.fixture
def web() -> Any:
    """Script stands for HTTP, too, for what depends on origins."""
    from downstage.services import unregister

    register("http", Script)
    yield
    unregister("http")


def status(code: int, **headers: str) -> Answer:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return Answer(code, {"content-type": "text/plain", **named}, b"no")


def client(**options: Any) -> AsyncClient:
    return AsyncClient("script://h", **{"description": None, "retries": QUICK, **options})


@pytest.mark.parametrize("verb", ["get", "put", "delete"])
@pytest.mark.parametrize(
    "failure", [ServiceUnavailableError("x"), status(502), status(503), status(504)]
)
async def test_idempotent_verbs_are_repeated(verb: str, failure: Reply) -> None:
    Script.replies = [failure, failure, OK]
    assert await getattr(client().a, verb)() == "OK"
    assert len(Script.calls) == 3


async def test_attempts_are_bounded() -> None:
    Script.replies = [ServiceUnavailableError("down")]
    with pytest.raises(ServiceUnavailableError, match="down"):
        await client().a.get()
    assert len(Script.calls) == 3
    Script.replies = [status(503)]
    with pytest.raises(ServiceUnavailableError, match="503"):
        await client(retries=0).a.get()
    assert len(Script.calls) == 4


@pytest.mark.parametrize("verb", ["post", "patch"])
@pytest.mark.parametrize("failure", [ServiceUnavailableError("x"), status(502), status(503)])
async def test_other_verbs_are_not(verb: str, failure: Reply) -> None:
    Script.replies = [failure, OK]
    with pytest.raises(BaseServiceError):
        await getattr(client().a, verb)()
    assert len(Script.calls) == 1


@pytest.mark.parametrize("code", [400, 401, 404, 409, 500])
async def test_answers_that_would_be_the_same_again_are_not_asked_for(code: int) -> None:
    Script.replies = [status(code), OK]
    with pytest.raises(BaseServiceError):
        await client().a.get()
    assert len(Script.calls) == 1


@pytest.mark.parametrize("code", [429, 503])
async def test_a_service_that_asks_to_wait_is_asked_again_by_any_verb(code: int) -> None:
    Script.replies = [status(code, retry_after="0"), OK]
    assert await client().a.post(x=1) == "OK"
    first, second = Script.calls
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body == b'{"x":1}'


async def test_a_long_retry_after_is_not_waited_for() -> None:
    Script.replies = [status(503, retry_after="7"), OK]
    with pytest.raises(ServiceUnavailableError) as caught:
        await client().a.get()
    assert caught.value.retry_after == 7
    assert len(Script.calls) == 1


async def test_a_pause_that_ends_after_the_deadline_is_not_begun() -> None:
    Script.replies = [status(503, retry_after="2"), OK]
    with pytest.raises(ServiceUnavailableError), anyio.fail_after(1):
        await client(retries=Retry(longest_s=9), timeout_s=1).a.get()
    assert len(Script.calls) == 1


async def test_a_key_of_the_callers_makes_a_post_repeatable() -> None:
    Script.replies = [ServiceUnavailableError("x"), OK]
    assert await client().a.post(x=1, __idempotency_key__="mine") == "OK"
    assert [call.headers["idempotency-key"] for call in Script.calls] == ["mine", "mine"]


async def test_keys_are_made_for_posts_that_may_be_repeated_alone() -> None:
    await client().a.post()
    await client().a.post()
    assert len({call.headers["idempotency-key"] for call in Script.calls}) == 2
    await client(retries=0).a.post()
    await client().a.get()
    assert all("idempotency-key" not in call.headers for call in Script.calls[2:])


async def test_a_body_that_can_be_read_once_is_sent_once() -> None:
    async def pieces() -> Any:
        yield b"x"

    Script.replies = [status(503, retry_after="0"), OK]
    with pytest.raises(ServiceUnavailableError):
        await client().a.put(pieces())
    assert len(Script.calls) == 1


async def test_the_time_out_spans_all_attempts() -> None:
    Script.replies = [ServiceUnavailableError("x"), OK]
    await client(timeout_s=5).a.get()
    first, second = (call.timeout_s for call in Script.calls)
    assert first == pytest.approx(5)
    assert second is not None
    assert 4.9 < second < 5
    await client().a.get(__timeout__=2)
    assert Script.calls[-1].headers["x-request-timeout-ms"] == "2000"
    await client().a.get(__timeout__=None)
    assert Script.calls[-1].timeout_s is None
    assert "x-request-timeout-ms" not in Script.calls[-1].headers


async def test_a_form_of_call_that_is_known_has_no_more_time() -> None:
    """Calls made before take a shorter way; their first attempt counts as any other."""
    known = client(timeout_s=0.2, retries=QUICK)
    for verb in ("get", "put"):
        await getattr(known.a, verb)(x=1)
        waited = list[float | None]()

        def late(call: Call) -> Answer:
            time.sleep(0.25)
            waited.append(call.timeout_s)  # noqa: B023 - called in this turn
            raise ServiceTimeoutError("late")

        Script.replies = [late]
        with pytest.raises(ServiceTimeoutError, match="late"):
            await getattr(known.a, verb)(x=1)
        assert waited == [pytest.approx(0.2)]
        Script.replies = [ServiceUnavailableError("x"), status(503), OK]
        Script.calls.clear()
        assert await getattr(known.a, verb)(x=1) == "OK"
        sent = [(call.query, call.body) for call in Script.calls]
        assert "idempotency-key" not in Script.calls[0].headers
        assert sent == [sent[0]] * 3
        Script.replies = [OK]
    await known.a.post(x=1)
    Script.calls.clear()
    Script.replies = [status(429, retry_after="0"), OK]
    await known.a.post(x=1)
    assert len({call.headers["idempotency-key"] for call in Script.calls}) == 1
    assert len(Script.calls) == 2


async def test_a_form_of_call_that_is_known_carries_on_the_same() -> None:
    known = client(timeout_s=2)
    await known.a.get()
    await known.a.get()
    with handling(request_id="r-1"):
        await known.a.get()
    with traced():
        await known.a.get()
    names = ("x-request-timeout-ms", "x-request-id", "traceparent")
    carried = [[name for name in names if name in call.headers] for call in Script.calls[1:]]
    assert carried == [[names[0]], [*names[:2]], [names[0], names[2]]]
    assert Script.calls[2].headers["x-request-id"] == "r-1"


async def test_a_deadline_bounds_every_call_inside() -> None:
    with deadline(3):
        with deadline(60):
            await client().a.get()
        assert Script.calls[-1].timeout_s == pytest.approx(3)
        await client(timeout_s=1).a.get()
        assert Script.calls[-1].timeout_s == pytest.approx(1)
    known = client()
    await known.a.get()
    with deadline(3):
        await known.a.get()
    assert Script.calls[-1].timeout_s == pytest.approx(3)
    Script.calls[2:] = []
    with deadline(0), pytest.raises(ServiceTimeoutError, match="before it was sent"):
        await client().a.get()
    assert len(Script.calls) == 2


async def test_traces_are_carried_on_or_begun() -> None:
    await client().a.get()
    assert "traceparent" not in Script.calls[-1].headers
    with traced():
        await client().a.get()
    version, trace, span, flags = Script.calls[-1].headers["traceparent"].split("-")
    assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")
    # As a service binds it when it handles a request.
    with handling(trace_id="a" * 32, trace_flags="00"):
        await client().a.get()
    assert Script.calls[-1].headers["traceparent"].startswith(f"00-{'a' * 32}-")
    assert Script.calls[-1].headers["traceparent"].endswith("-00")
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with traced(parent):
        await client().a.get()
    version, trace, span, flags = Script.calls[-1].headers["traceparent"].split("-")
    assert (trace, flags) == ("0af7651916cd43dd8448eb211c80319c", "01")
    assert span != "b7ad6b7169203331"
    with traced("nonsense\r\n"):
        await client().a.get()
    assert "traceparent" not in Script.calls[-1].headers
    await client().a.get(__headers__={"TraceParent": parent})
    assert Script.calls[-1].headers["TraceParent"] == parent
    assert "traceparent" not in Script.calls[-1].headers


@pytest.mark.parametrize(
    ("location", "path", "query", "uri"),
    [
        ("/base/b?x=1&y=", "/b", (("x", "1"), ("y", "")), "http://h/base"),
        ("http://h/base/b%20c", "/b%20c", (), "http://h/base"),
        ("http://h:80/base", "", (), "http://h/base"),
        ("b/", "/b/", (), "http://h/base"),
        ("/elsewhere", "/elsewhere", (), "http://h"),
        ("/based", "/based", (), "http://h"),
    ],
)
async def test_redirects_are_followed_on_the_same_origin(
    web: None, location: str, path: str, query: Any, uri: str
) -> None:
    Script.replies = [status(307, location=location), OK]
    http = AsyncClient("http://h/base", token="t0ken", description=None)
    assert await http.a.get() == "OK"
    assert (Script.calls[-1].path, Script.calls[-1].query) == (path, query)
    assert Script.calls[-1].headers["authorization"] == "Bearer t0ken"
    assert Script.uris[-1] == uri


@pytest.mark.parametrize(
    ("uri", "location", "hop"),
    [
        ("unix:///run/s.sock:/v1", "http://localhost/v1/b/", (None, "/b/")),
        ("unix:///run/s.sock:/v1", "/other", ("unix:///run/s.sock", "/other")),
        ("unix:///run/s.sock", "/b/", (None, "/b/")),
        ("unix:///run/s.sock:/v1", "http://evil/v1/b", None),
        ("nats://h:4222/svc/v1", "http://svc/v1/b/", (None, "/b/")),
        ("nats://h:4222/svc/v1", "/other", ("nats://h:4222/svc", "/other")),
        ("nats://h:4222/svc", "b", (None, "/b")),
        ("nats://h:4222/svc", "http://h:4222/b", None),
        ("local://svc/v1", "http://svc/v1/b", (None, "/b")),
        ("local://svc/v1", "/other", ("local://svc", "/other")),
        ("local://svc/v1", "http://other/v1/b", None),
    ],
)
def test_redirects_beside_http(uri: str, location: str, hop: Any) -> None:
    found = resolve(uri, "/a", location)
    assert (found and (found.base, found.path)) == hop


@pytest.mark.parametrize(
    "location",
    [
        "http://evil/a", "https://h/a", "http://h:8080/a", "//evil/a", "http://h@evil/a",
        "http://u:p@h/base/a", "http://[/a", "ftp://h/a", "/base/%2e%2e/admin", "http://evil",
    ],
)  # fmt: skip
async def test_A17_redirects_elsewhere_are_errors_that_say_where(web: None, location: str) -> None:
    Script.replies = [status(302, location=location), OK]
    with pytest.raises(BaseServiceError, match="answered 302: it points to"):
        await AsyncClient("http://h/base", description=None).a.get()
    assert len(Script.calls) == 1


async def test_redirects_of_other_verbs_and_without_end_are_errors(web: None) -> None:
    Script.replies = [status(308, location="/b")]
    with pytest.raises(BaseServiceError, match="308"):
        await AsyncClient("http://h", description=None).a.post()
    assert len(Script.calls) == 1
    with pytest.raises(BaseServiceError, match="308"):
        await AsyncClient("http://h", description=None).a.get()
    assert len(Script.calls) == 1 + 6


async def test_a_redirect_says_where_without_secrets() -> None:
    Script.replies = [status(302, location="https://u:s3cret@evil/x?token=s3cret")]
    with pytest.raises(BaseServiceError, match="https://evil/x") as caught:
        await client().a.get()
    assert "s3cret" not in str(caught.value)


class Watch(Hook):
    """Writes down what it is told."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name, self.seen = name, seen

    async def before(self, request: Any) -> None:
        request.headers[f"x-{self.name}"] = str(request.attempt)
        self.seen.append(f"{self.name}>{request.method} {request.path}")

    async def after(self, request: Any, answer: Any) -> bool:
        self.seen.append(f"{self.name}<{answer.status}")
        return False

    async def error(self, request: Any, error: BaseServiceError) -> None:
        self.seen.append(f"{self.name}!{error}")


async def test_hooks_see_every_attempt_in_order() -> None:
    seen: list[str] = []
    Script.replies = [ServiceUnavailableError("x"), status(503), OK]
    hooked = client(hooks=[Watch("a", seen), Watch("b", seen)])
    assert await hooked.p.get() == "OK"
    assert seen == [
        "a>GET /p", "b>GET /p", "b!x", "a!x",
        "a>GET /p", "b>GET /p", "b<503", "a<503",
        "a>GET /p", "b>GET /p", "b<200", "a<200",
    ]  # fmt: skip
    assert [call.headers["x-a"] for call in Script.calls] == ["1", "2", "3"]


@pytest.mark.parametrize("place", ["before", "after"])
async def test_a_hook_has_no_more_time_than_its_call(place: str) -> None:
    class Slow(Hook):
        async def before(self, request: Any) -> None:
            if place == "before":
                await anyio.sleep_forever()

        async def after(self, request: Any, answer: Any) -> bool:
            await anyio.sleep_forever()
            return True

    hooked = client(hooks=[Slow()], timeout_s=0.05)
    with anyio.fail_after(2):
        if place == "before":
            with pytest.raises(ServiceTimeoutError, match="before it was sent"):
                await hooked.a.get()
            assert Script.calls == []
        else:
            assert await hooked.a.get() == "OK"
            assert len(Script.calls) == 1


async def test_a_request_shows_hooks_no_secret() -> None:
    shown: list[str] = []

    class Show(Hook):
        async def before(self, request: Any) -> None:
            shown.append(repr(request))

    hooked = client(hooks=[Show()], token="s3cret", headers={"x-y": "s3cret"})
    await hooked.a.get(access_token="s3cret")
    assert shown[0].startswith("Outgoing(method='GET', path='/a'")
    assert "s3cret" not in shown[0]


class Rotating(Authorization):
    """Gives a new token after each refusal."""

    number = 0

    async def value(self) -> str:
        return f"Bearer t{self.number}"

    async def refused(self, value: str) -> bool:
        self.number += 1
        return True


async def test_a_401_is_tried_once_more_with_a_fresh_token() -> None:
    Script.replies = [status(401), OK]
    assert await client(auth=Rotating(), retries=0).a.post(x=1) == "OK"
    assert [c.headers["authorization"] for c in Script.calls] == ["Bearer t0", "Bearer t1"]
    Script.replies = [status(401)]
    with pytest.raises(BaseServiceError, match="401"):
        await client(auth=Rotating()).a.get()
    assert len(Script.calls) == 4


async def test_a_token_of_the_calls_own_is_not_replaced() -> None:
    Script.replies = [status(401), OK]
    with pytest.raises(BaseServiceError, match="401"):
        await client(auth=Rotating()).a.get(__headers__={"Authorization": "Own t"})
    assert Script.calls[-1].headers["Authorization"] == "Own t"
    assert len(Script.calls) == 1


async def test_a_token_with_a_line_break_is_no_token() -> None:
    with pytest.raises(ValueError, match="header"):
        client(token="t\r\nx: y")

    async def token() -> str:
        return "t\r\nx: y"

    with pytest.raises(ValueError, match="header"):
        await client(token=token).a.get()
    assert Script.calls == []


async def test_the_circuit_opens_probes_and_closes() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(failures=2, open_s=10, clock=clock.monotonic)
    broken = client(hooks=[breaker], retries=0)
    Script.replies = [status(500)]
    for _ in range(2):
        with pytest.raises(BaseServiceError, match="500"):
            await broken.a.get()
    assert breaker.is_open
    with pytest.raises(ServiceUnavailableError, match="the circuit is open"):
        await broken.a.get()
    assert len(Script.calls) == 2
    clock.advance(11)
    with pytest.raises(BaseServiceError, match="500"):
        await broken.a.get()  # the probe fails: open again
    with pytest.raises(ServiceUnavailableError, match="circuit"):
        await broken.a.get()
    clock.advance(11)
    Script.replies = [OK]
    assert await broken.a.get() == "OK"
    assert not breaker.is_open
    assert await broken.a.get() == "OK"


async def test_one_probe_at_a_time() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(failures=1, open_s=10, clock=clock.monotonic)
    broken = client(hooks=[breaker], retries=0)
    Script.replies = [ServiceUnavailableError("down")]
    with pytest.raises(ServiceUnavailableError, match="down"):
        await broken.a.get()
    clock.advance(11)
    inside: list[str] = []

    class Second(Hook):
        async def before(self, request: Any) -> None:
            try:
                await breaker.before(request)
            except ServiceUnavailableError as error:
                inside.append(str(error))

    Script.replies = [OK]
    assert await client(hooks=[breaker, Second()], retries=0).a.get() == "OK"
    assert "circuit" in inside[0]


async def test_cancellation_during_a_pause_is_no_error() -> None:
    Script.replies = [status(503)]
    slow = client(retries=Retry(attempts=3, first_s=60, longest_s=60))
    with anyio.move_on_after(0.05) as scope:
        await slow.a.get()
    assert scope.cancelled_caught
    assert len(Script.calls) == 1
