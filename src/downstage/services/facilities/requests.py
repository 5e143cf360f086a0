"""Counting what an application answers, by route template: exact, bounded, a few microseconds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from threading import Lock
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from downstage.services.facilities.injection import OWNER, ROUTE

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["BOUNDS", "Meter", "RequestMetrics", "collect"]

BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the durations that are counted together, in seconds."""
MAX_SERIES = 4096
"""Different routes, methods and statuses of one application; more are counted as one."""
NO_ROUTE = "(none)"
"""Stands for every path that no route serves: never a path that somebody made up."""
MOUNTED = "(mounted)"
OTHER = "(other)"
METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})

Key = tuple[str, str, str, str]
"""Service ("" is the application's own), method, route, status class."""


class _Series:
    """Durations of the requests of one kind."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.buckets = [0] * (len(BOUNDS) + 1)


class Meter:
    """What one application has answered and what it is answering.

    Attributes:
        service: label of what no extension owns.
        in_flight: requests that are being answered.
        sockets: WebSockets that are open, or being opened.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self.in_flight = 0
        self.sockets = 0
        self._series: dict[Key, _Series] = {}
        self._lock = Lock()
        """An application may be called from several loops, each in its thread."""

    def move(self, requests: int, sockets: int) -> None:
        """Count what begins (1) and what has ended (-1)."""
        with self._lock:
            self.in_flight += requests
            self.sockets += sockets

    def count(self, key: Key, seconds: float) -> None:
        """One request of that kind has ended."""
        series = self._series.get(key) or self._new(key)
        with self._lock:
            series.seconds += seconds
            series.buckets[bisect_left(BOUNDS, seconds)] += 1

    def forget(self, service: str) -> None:
        """Drop what the extension *service* has answered: it has gone."""
        with self._lock:
            for key in [key for key in self._series if key[0] == service]:
                del self._series[key]

    def rows(self) -> list[tuple[Key, list[int], float]]:
        """What has been answered: labels, numbers by duration, seconds in all."""
        with self._lock:
            return [
                ((key[0] or self.service, *key[1:]), list(item.buckets), item.seconds)
                for key, item in self._series.items()
            ]

    def _new(self, key: Key) -> _Series:
        with self._lock:
            if len(self._series) >= MAX_SERIES:
                key = ("", OTHER, OTHER, OTHER)
            return self._series.setdefault(key, _Series())


def collect(
    meters: Iterable[Meter], label: Callable[[str], str] = lambda owner: owner
) -> Iterable[Metric]:
    """Requests, durations, requests and sockets in flight, of several applications together.

    Args:
        meters: of the applications.
        label: the label ``service`` of an extension's id.
    """
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    meters = list(meters)
    for name, text, attribute in (
        ("downstage_requests_in_flight", "Requests being answered.", "in_flight"),
        ("downstage_sockets_open", "WebSockets that are open.", "sockets"),
    ):
        gauge = GaugeMetricFamily(name, text, labels=["service"])
        for service in dict.fromkeys(meter.service for meter in meters):
            those = (getattr(meter, attribute) for meter in meters if meter.service == service)
            gauge.add_metric([service], sum(those))
        yield gauge
    labels = ["service", "method", "route", "status"]
    total = CounterMetricFamily("downstage_requests", "Requests answered.", labels=labels)
    spans = HistogramMetricFamily(
        "downstage_request_duration_seconds",
        "Time until requests were answered whole.",
        labels=labels,
    )
    for values, (buckets, seconds) in _summed(meters, label).items():
        total.add_metric(values, sum(buckets))
        spans.add_metric(values, _cumulated(buckets), seconds)
    yield total
    yield spans


def _summed(
    meters: Iterable[Meter], label: Callable[[str], str]
) -> dict[Key, tuple[list[int], float]]:
    """A service may be answering on its own application and on the public one."""
    found = dict[Key, tuple[list[int], float]]()
    for (owner, *rest), buckets, seconds in (row for meter in meters for row in meter.rows()):
        key: Any = (label(owner), *rest)
        before, spent = found.get(key, ([0] * len(buckets), 0.0))
        found[key] = [a + b for a, b in zip(before, buckets, strict=True)], spent + seconds
    return found


class RequestMetrics:
    """ASGI middleware: the outermost one, so that it sees what is really answered."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; look at the status as it goes by."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if status == 0 and message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        meter, root = self._meter, scope.get("root_path", "")
        meter.move(1, 0)
        began = perf_counter()
        try:
            await self._app(scope, receive, watched)
        except Exception:
            status = status or 500
            raise
        finally:
            seconds = perf_counter() - began
            meter.move(-1, 0)
            method = scope["method"] if scope["method"] in METHODS else OTHER
            kind = CLASSES[status // 100] if status < 600 else OTHER  # noqa: PLR2004 - HTTP
            meter.count((scope.get(OWNER) or "", method, _template(scope, root), kind), seconds)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        self._meter.move(0, 1)
        try:
            await self._app(scope, receive, send)
        finally:
            self._meter.move(0, -1)


CLASSES = ("cancelled", "1xx", "2xx", "3xx", "4xx", "5xx")
"""By the status' first digit; 0 is a request whose caller left before an answer began."""


def _template(scope: Scope, root: str) -> str:
    """The route's path as it was declared, with the prefix under which it is served."""
    known = cast("str | None", scope.get(ROUTE))
    if known is not None:
        return known
    # An application with FastAPI's own routing: what a route is served as stands beside it.
    inner = cast("dict[str, Any]", scope.get("fastapi") or {}).get("effective_route_context")
    path = getattr(inner, "path", None) or getattr(scope.get("route"), "path", None)
    if scope.get("root_path", "") != root:
        return MOUNTED + (path or "")
    return path or NO_ROUTE


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    total, found = 0, list[tuple[str, float]]()
    for bound, number in zip((*BOUNDS, "+Inf"), buckets, strict=True):
        total += number
        found.append((str(bound), total))
    return found
