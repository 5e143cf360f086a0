"""Metrics in Prometheus' form: one host's, gathered from services and extensions."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import anyio.to_thread

from downstage.kernel.errors import Conflict, InvalidInput
from downstage.kernel.logging import get_logger
from downstage.services.facilities.injection import Facility, FacilityParts
from downstage.services.facilities.requests import Meter, collect

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram, Metric, Summary

__all__ = ["MetricsFacility", "MetricsHub"]

PUSH_S = 10.0
Source = Callable[[], Iterable["Metric"]]
Lines = Callable[[], Iterable[str]]
log = get_logger(__name__)


@dataclass(slots=True)
class _Held:
    """One metric and who uses it."""

    asked: tuple[object, ...]
    instrument: Any
    owners: set[str] = field(default_factory=set[str])


class MetricsHub:
    """All that one host has to tell; each owner's part goes with it."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        self._sources: list[tuple[str, Source]] = []
        self._meters: list[Meter] = []
        self._names: dict[str, str] = {}
        """Owner → the label ``service``: an id has a version, which would begin new series."""
        self._told = set[tuple[str, str]]()

    def watch(self, meter: Meter, owner: str = "") -> None:
        """Count what the application of *meter* answers among the host's.

        Args:
            meter: of an application.
            owner: id of the extension that the application is; it is told by the meter's name.
        """
        if owner:
            self._names[owner] = meter.service
        if meter not in self._meters:
            self._meters.append(meter)

    def unwatch(self, meter: Meter) -> None:
        """The inverse of `watch`; absent is fine."""
        if meter in self._meters:
            self._meters.remove(meter)

    def label(self, owner: str) -> str:
        """The label ``service`` of *owner*."""
        return self._names.get(owner, owner)

    def add_source(self, owner: str, source: Source) -> None:
        """Ask *source* for metrics at every scrape, until `forget`."""
        self._sources.append((owner, source))

    def instrument(self, owner: str, kind: str, name: str, asked: Sequence[Any]) -> Any:
        """The metric of that name, made now or shared with those who asked for the same.

        Raises:
            Conflict: it exists with other labels, of another kind, or in another unit.
            InvalidInput: name or labels are not allowed.
        """
        from downstage.services.facilities import instruments

        text, labels, unit, options = asked
        try:
            made = instruments.make(kind, name, text, labels, unit, options)
        except ValueError as error:
            raise InvalidInput(f"The metric {name!r} cannot be made: {error}.") from error
        full = instruments.name_of(made)
        same = (kind, tuple(labels), unit, tuple(sorted(options.items())))
        held = self._held.setdefault(full, _Held(same, made))
        if held.asked != same:
            raise Conflict(
                f"The metric {full} exists already as {_described(held.asked)}, for "
                f"{', '.join(sorted(held.owners))}; {owner} asks for {_described(same)}.",
                name=full,
            )
        held.owners.add(owner)
        return held.instrument

    def forget(self, owner: str) -> None:
        """Drop all that nobody but *owner* has here."""
        self._sources = [(who, source) for who, source in self._sources if who != owner]
        for name, held in list(self._held.items()):
            held.owners.discard(owner)
            if not held.owners:
                del self._held[name]
        for meter in self._meters:
            meter.forget(owner)
        self._names.pop(owner, None)

    def collect(self, lines: Iterable[tuple[str, Lines]] = ()) -> list[Metric]:
        """Everything, each metric once; what contradicts an earlier one is left out and logged.

        Args:
            lines: owners, and what tells their lines of text in Prometheus' form.
        """
        joined = _Joined()
        for owner, source in (*self._all_sources(), *_sources_of(lines)):
            try:
                families = list(source())
            except Exception:  # somebody's code at a scrape: the others' figures still count
                log.exception("metrics.source_failed", owner=owner)
                continue
            for family in families:
                if not joined.add(family) and (owner, family.name) not in self._told:
                    self._told.add((owner, family.name))
                    log.warning("metrics.contradicted", owner=owner, metric=family.name)
        return joined.families()

    def render(
        self, accept: str = "", *, lines: Iterable[tuple[str, Lines]] = ()
    ) -> tuple[bytes, str]:
        """The text for a scraper that accepts *accept*, and its media type."""
        from prometheus_client.exposition import choose_encoder

        encode, kind = choose_encoder(accept)
        return encode(cast("Any", _Snapshot(self.collect(lines)))), kind

    async def push(self, address: str, job: str) -> None:
        """Send everything to the Pushgateway at *address*, as *job*, in place of what it had.

        Raises:
            OSError: it cannot be reached, or refuses.
        """
        import prometheus_client

        send = cast("Any", prometheus_client).push_to_gateway
        snapshot = _Snapshot(self.collect())
        await anyio.to_thread.run_sync(
            lambda: send(address, job, snapshot, timeout=PUSH_S), abandon_on_cancel=True
        )

    def _all_sources(self) -> Iterable[tuple[str, Source]]:
        yield "process", _process
        yield "requests", lambda: collect(self._meters, self.label)
        for held in list(self._held.values()):
            yield ", ".join(sorted(held.owners)), held.instrument.collect
        yield from list(self._sources)


class MetricsFacility(Facility):
    """Counters, gauges, histograms and summaries of one extension, gone when it stops.

    Who asks for a metric that exists with the same labels shares it. A metric has at most
    `downstage.services.facilities.instruments.MAX_SERIES` combinations of label values; later ones
    are counted together as ``(other)``. Labels are for small fixed sets: a route, a codec, never
    an id.

    Args:
        app: whose answers to count too, where there is no host that does.
        hub: the host's; without one a new one.
        owner: id of the extension.
    """

    facility_name: ClassVar[str] = "metrics"

    def __init__(self, app: Any = None, *, hub: MetricsHub | None = None, owner: str = "") -> None:
        self.hub = hub or MetricsHub()
        self._owner = owner
        meter = getattr(app.state, "meter", None) if app is not None else None
        if isinstance(meter, Meter):
            self.hub.watch(meter)

    @classmethod
    def make(cls, parts: FacilityParts) -> Self:
        """On the host's hub."""
        return cls(hub=parts.metrics, owner=parts.owner)

    def counter(
        self, name: str, documentation: str, labelnames: Sequence[str] = (), unit: str = ""
    ) -> Counter:
        """What only grows; ``_total`` is put behind its name."""
        return self._get("counter", name, documentation, labelnames, unit)

    def gauge(
        self, name: str, documentation: str, labelnames: Sequence[str] = (), unit: str = ""
    ) -> Gauge:
        """What goes up and down."""
        return self._get("gauge", name, documentation, labelnames, unit)

    def histogram(
        self,
        name: str,
        documentation: str,
        labelnames: Sequence[str] = (),
        unit: str = "",
        *,
        buckets: Sequence[float] = (),
    ) -> Histogram:
        """How often values fell below each bound of *buckets*; none given: 5 ms to 10 s."""
        options = {"buckets": tuple(buckets)} if buckets else {}
        return self._get("histogram", name, documentation, labelnames, unit, **options)

    def summary(
        self, name: str, documentation: str, labelnames: Sequence[str] = (), unit: str = ""
    ) -> Summary:
        """Number and sum of values."""
        return self._get("summary", name, documentation, labelnames, unit)

    def summaries(
        self, name: str, documentation: str, labelnames: Sequence[str] = (), unit: str = ""
    ) -> Summary:
        """The same as `summary`, by the name that the original has for it."""
        return self.summary(name, documentation, labelnames, unit)

    def stop(self) -> None:
        """Take this extension's metrics off the host's."""
        self.hub.forget(self._owner)

    def _get(
        self, kind: str, name: str, text: str, labels: Sequence[str], unit: str, **options: Any
    ) -> Any:
        return self.hub.instrument(self._owner, kind, name, (text, labels, unit, options))


class _Joined:
    """Families of several sources; equal names of equal types become one."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._series: dict[str, tuple[str, set[object]]] = {}
        """Name of a sample → its family and the labels that have come."""

    def add(self, family: Metric) -> bool:
        """Take *family*; False if anything of it had to be left out."""
        from prometheus_client.metrics_core import Metric

        held = self._families.get(family.name)
        if held is None:
            held = Metric(family.name, family.documentation, family.type, family.unit)
        elif held.type != family.type:
            return False
        is_whole = True
        for sample in family.samples:
            owner, seen = self._series.setdefault(sample.name, (family.name, set()))
            labels = frozenset(sample.labels.items())
            if owner != family.name or labels in seen:
                is_whole = False
                continue
            seen.add(labels)
            held.samples.append(sample)
        if held.samples or is_whole:
            self._families[family.name] = held
        return is_whole

    def families(self) -> list[Metric]:
        return list(self._families.values())


class _Snapshot:
    """What the encoders take for a registry."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _sources_of(lines: Iterable[tuple[str, Lines]]) -> Iterable[tuple[str, Source]]:
    for owner, tell in lines:
        yield owner, lambda tell=tell: _parsed(tell())


def _process() -> Iterable[Metric]:
    """CPU, memory and descriptors of this process; the peak, which the engine has not."""
    from prometheus_client import ProcessCollector
    from prometheus_client.core import GaugeMetricFamily

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    name = "process_resident_memory_max_bytes"
    return [
        *ProcessCollector(registry=None).collect(),
        GaugeMetricFamily(name, "Resident memory at its highest.", value=peak),
    ]


def _parsed(lines: Iterable[str]) -> Iterable[Metric]:
    from prometheus_client.parser import text_string_to_metric_families

    return text_string_to_metric_families("\n".join(lines) + "\n")


def _described(asked: tuple[object, ...]) -> str:
    kind, labels, unit, options = asked
    parts = [f"{kind} with the labels {cast('tuple[str, ...]', labels) or 'none'}"]
    parts += [f"unit {unit}"] if unit else []
    parts += [f"options {options}"] if options else []
    return ", ".join(parts)
