"""Metrics: shared where they agree, refused where they differ, gone with their extension."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Mount
from structlog.testing import capture_logs

from downstage.kernel.errors import Conflict, InvalidInput
from downstage.services import ServiceAPIRouter
from downstage.services.facilities import MetricsFacility, MetricsHub, instruments, requests
from downstage.services.facilities.requests import Meter, RequestMetrics
from downstage.services.registry import create_app, register_router
from downstage.services.transports import Answer, Call, create

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def samples(
    hub: MetricsHub, accept: str = "", lines: Any = ()
) -> dict[str, dict[tuple[str, ...], float]]:
    """Sample name → label values → value, as a scraper reads them."""
    text, kind = hub.render(accept, lines=lines)
    parse = open_families if "openmetrics" in kind else text_string_to_metric_families
    found = dict[str, dict[tuple[str, ...], float]]()
    for family in parse(text.decode()):
        for sample in family.samples:
            values = tuple(v for _, v in sorted(sample.labels.items()))
            assert values not in found.get(sample.name, {}), sample
            found.setdefault(sample.name, {})[values] = sample.value
    return found


@pytest.fixture
def hub() -> MetricsHub:
    return MetricsHub()


@pytest.fixture
def metrics(hub: MetricsHub) -> MetricsFacility:
    return MetricsFacility(hub=hub, owner="a-1")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_every_kind_is_told(hub: MetricsHub, metrics: MetricsFacility, accept: str) -> None:
    metrics.counter("cakes", "Baked.", ["kind"]).labels("plum").inc(3)
    metrics.gauge("oven", "Heat.", unit="celsius").set(180)
    metrics.histogram("wait", "Queue.", unit="seconds", buckets=(1, 5)).observe(2)
    metrics.summary("weight", "Of cakes.").observe(4)
    metrics.summaries("price", "Of cakes.").observe(2)
    told = samples(hub, accept)
    assert told["cakes_total"] == {("plum",): 3}
    assert told["oven_celsius"] == {(): 180}
    assert told["wait_seconds_bucket"] == {("1.0",): 0, ("5.0",): 1, ("+Inf",): 1}
    assert told["wait_seconds_count"] == {(): 1}
    assert (told["weight_sum"], told["price_sum"]) == ({(): 4}, {(): 2})


def test_who_asks_for_the_same_shares_it(hub: MetricsHub, metrics: MetricsFacility) -> None:
    other = MetricsFacility(hub=hub, owner="b-1")
    one = metrics.counter("cakes", "Baked.", ["kind"])
    assert other.counter("cakes_total", "Baked cakes.", ("kind",)) is one
    one.labels("plum").inc()
    metrics.stop()
    assert samples(hub)["cakes_total"] == {("plum",): 1}
    other.stop()
    assert "cakes_total" not in samples(hub)
    assert metrics.gauge("cakes", "Now a gauge.") is not None


@pytest.mark.parametrize(
    "ask",
    [
        lambda m: m.counter("cakes", "Baked.", ["size"]),
        lambda m: m.counter("cakes", "Baked."),
        lambda m: m.gauge("cakes", "Baked.", ["kind"]),
        lambda m: m.histogram("queue", "Wait.", buckets=(1, 2)),
    ],
)
def test_who_asks_for_another_of_that_name_is_refused(
    hub: MetricsHub, metrics: MetricsFacility, ask: Any
) -> None:
    metrics.counter("cakes", "Baked.", ["kind"])
    metrics.histogram("queue", "Wait.", buckets=(1, 5))
    with pytest.raises(Conflict, match=r"exists already as .*for a-1; b-1 asks for"):
        ask(MetricsFacility(hub=hub, owner="b-1"))


def test_bad_names_are_refused(metrics: MetricsFacility) -> None:
    for name, labels in (("no name", []), ("good", ["__bad"]), ("good", ["le le"])):
        with pytest.raises(InvalidInput, match="cannot be made"):
            metrics.counter(name, "Text.", labels)


def test_labels_are_bounded(
    hub: MetricsHub, metrics: MetricsFacility, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instruments, "MAX_SERIES", 3)
    counter = metrics.counter("visits", "By user.", ["user"])
    with capture_logs() as logs:
        for number in range(10):
            counter.labels(str(number)).inc()
            counter.labels("0").inc()
    assert samples(hub)["visits_total"] == {("0",): 11, ("1",): 1, ("2",): 1, ("(other)",): 7}
    assert [log["event"] for log in logs] == ["metrics.too_many_series"]
    by_name = metrics.gauge("rooms", "By name.", ["a", "b"])
    for number in range(5):
        by_name.labels(b=number, a="x").set(number)
    assert len(samples(hub)["rooms"]) == 4
    by_name.labels("x", "0").set(7)
    assert samples(hub)["rooms"]["x", "0"] == 7, "the same series, however it is named"
    by_name.remove("x", "1")
    by_name.labels("x", "9").set(9)
    assert samples(hub)["rooms"]["x", "9"] == 9, "a place was free again"
    by_name.clear()
    assert "rooms" not in samples(hub)
    for wrong in (lambda: by_name.labels("x"), lambda: by_name.labels(a="x", c="y")):
        with pytest.raises(ValueError, match="Incorrect label"):
            wrong()


def test_what_contradicts_or_crashes_is_left_out_and_the_rest_told(
    hub: MetricsHub, metrics: MetricsFacility
) -> None:
    lines = list[tuple[str, Any]]()
    metrics.gauge("cakes", "On the table.").set(1)
    lines.append(("gateway", lambda: ["# TYPE viewers gauge", "viewers 2"]))
    lines.append(("copy", lambda: ["# TYPE viewers gauge", 'viewers{a="b"} 5', "viewers 3"]))
    lines.append(("other", lambda: ["# TYPE cakes counter", "cakes 9"]))
    lines.append(("garbage", lambda: ["this is no { metric"]))

    def crash() -> list[str]:
        raise ValueError("no figures")

    lines.append(("crash", crash))
    with capture_logs() as logs:
        for _ in range(2):
            told = samples(hub, lines=lines)
    assert told["cakes"] == {(): 1}
    assert told["viewers"] == {(): 2, ("b",): 5}
    events = [(log["event"], log["owner"]) for log in logs]
    assert events.count(("metrics.contradicted", "copy")) == 1
    assert events.count(("metrics.contradicted", "other")) == 1
    assert {owner for event, owner in events if event == "metrics.source_failed"} == {
        "garbage",
        "crash",
    }
    del lines[0]
    assert samples(hub, lines=lines)["viewers"] == {(): 3, ("b",): 5}


def build() -> FastAPI:
    app = create_app("Shop")

    @app.get("/plain/{item}")
    async def plain(item: str) -> str:
        return item

    @app.get("/fails")
    async def fails() -> None:
        raise ValueError("a defect")

    @app.get("/status-of/{code}")
    async def status_of(code: int) -> Response:
        return Response(status_code=code)

    inner = ServiceAPIRouter(prefix="/inner")

    @inner.get("/{number}")
    async def number(number: int) -> int:
        return number

    outer = ServiceAPIRouter(prefix="/outer")
    outer.include_router(inner)
    register_router(outer, "/v1", app=app)
    mounted = FastAPI()

    @mounted.get("/leaf/{leaf}")
    async def leaf(leaf: str) -> str:
        return leaf

    app.router.routes.append(Mount("/tree", app=mounted))
    return app


async def ask(app: FastAPI, path: str, method: str = "GET") -> Answer:
    return await create("local://", app).request(Call(method, path))


def counted(app: FastAPI) -> dict[tuple[str, ...], float]:
    """(method, route, status) → number."""
    hub = MetricsHub()
    hub.watch(app.state.meter)
    told = samples(hub)["downstage_requests_total"]
    return {(m, r, s): n for (m, r, _, s), n in told.items()}


async def test_requests_are_counted_by_template() -> None:
    app = build()
    for number in range(3):
        await ask(app, f"/plain/cake-{number}")
        await ask(app, f"/v1/outer/inner/{number}")
    for path in ("/v1/outer/inner/x", "/tree/leaf/oak", f"/made/up/path-{number}"):
        await ask(app, path)
    await ask(app, "/plain/x", "POST")
    for code in (204, 302, 404):
        await ask(app, f"/status-of/{code}")
    with capture_logs():
        assert (await ask(app, "/fails")).status == 500
    found = counted(app)
    assert not [route for _, route, _ in found if "cake" in route or "path-" in route]
    assert found["GET", "/plain/{item}", "2xx"] == 3
    assert found["GET", "/v1/outer/inner/{number}", "2xx"] == 3
    assert found["GET", "/v1/outer/inner/{number}", "4xx"] == 1
    assert found["GET", "(none)", "4xx"] == 1
    assert found["GET", "/fails", "5xx"] == 1
    for status in ("2xx", "3xx", "4xx"):
        assert found["GET", "/status-of/{code}", status] == 1
    assert sum(n for (m, _, _), n in found.items() if m == "POST") == 1
    assert sum(n for (_, r, _), n in found.items() if "oak" in r) == 0
    assert sum(found.values()) == 14


async def test_a_caller_who_leaves_is_counted_as_such() -> None:
    app, begun = create_app("Shop"), anyio.Event()

    @app.get("/slow")
    async def slow() -> None:
        begun.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, app, "/slow")
        with anyio.fail_after(2):
            await begun.wait()
        assert app.state.meter.in_flight == 1
        tasks.cancel_scope.cancel()
    assert app.state.meter.in_flight == 0
    assert counted(app) == {("GET", "/slow", "cancelled"): 1}


async def test_strange_methods_share_a_label() -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})

    async def send(message: Any) -> None:
        assert message["status"] == 299

    meter = Meter("x")
    app: Any = RequestMetrics(answer, meter)
    for method in ("GET", "BREW", "x" * 99):
        await app({"type": "http", "method": method}, None, send)
    assert [key[1] for key, *_ in meter.rows()] == ["GET", "(other)"]


def test_routes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_SERIES", 2)
    meter = Meter("x")
    for number in range(5):
        meter.count(("", "GET", f"/{number}", "2xx"), 0.01)
    rows = {key[2]: sum(buckets) for key, buckets, _ in meter.rows()}
    assert rows == {"/0": 1, "/1": 1, "(other)": 3}


def test_meters_of_one_service_are_added(hub: MetricsHub) -> None:
    for _ in range(2):
        meter = Meter("public")
        meter.count(("a-1", "GET", "/x", "2xx"), 0.003)
        meter.count(("", "GET", "/x", "2xx"), 0.3)
        meter.move(1, 2)
        hub.watch(meter)
        hub.watch(meter)
    told = samples(hub)
    assert told["downstage_requests_total"] == {
        ("GET", "/x", "a-1", "2xx"): 2,
        ("GET", "/x", "public", "2xx"): 2,
    }
    assert told["downstage_requests_in_flight"] == {("public",): 2}
    assert told["downstage_sockets_open"] == {("public",): 4}
    buckets = told["downstage_request_duration_seconds_bucket"]
    assert buckets["0.001", "GET", "/x", "a-1", "2xx"] == 0
    assert buckets["0.005", "GET", "/x", "a-1", "2xx"] == 2
    assert buckets["+Inf", "GET", "/x", "a-1", "2xx"] == 2
    assert told["downstage_request_duration_seconds_sum"]["GET", "/x", "public", "2xx"] == 0.6
    hub.forget("a-1")
    assert samples(hub)["downstage_requests_total"] == {("GET", "/x", "public", "2xx"): 2}
    hub.unwatch(meter)
    hub.unwatch(meter)
    assert samples(hub)["downstage_requests_total"] == {("GET", "/x", "public", "2xx"): 1}


def test_the_facility_alone_counts_an_application() -> None:
    app = create_app("Shop")
    metrics = MetricsFacility(app)
    app.state.meter.count(("", "GET", "/x", "2xx"), 0.1)
    assert samples(metrics.hub)["downstage_requests_total"] == {("GET", "/x", "Shop", "2xx"): 1}


def test_nothing_goes_to_the_process_wide_registry(metrics: MetricsFacility) -> None:
    from prometheus_client import REGISTRY

    assert isinstance(REGISTRY, CollectorRegistry)
    metrics.counter("downstage_secret_cakes", "Baked.")
    assert "downstage_secret_cakes" not in {family.name for family in REGISTRY.collect()}
