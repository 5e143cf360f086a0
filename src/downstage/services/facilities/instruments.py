"""Prometheus' instruments with a bound on their labels; importing this imports the engine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import prometheus_client

from downstage.kernel.logging import get_logger

__all__ = ["MAX_SERIES", "make", "name_of"]

MAX_SERIES = 1000
"""Combinations of label values of one metric."""
OTHER = "(other)"
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
"""What every scraper takes; newer ones take any text."""
LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
log = get_logger(__name__)


class _Bounded:
    """Counts combinations that are new beyond the bound as one: a label must not fill memory."""

    order: tuple[str, ...] = ()
    """Names of the labels, set by `make`."""

    def labels(self, *labelvalues: object, **labelkwargs: object) -> Any:
        """The series of these label values."""
        engine = cast("Any", super())
        if labelkwargs or len(labelvalues) != len(self.order):
            if labelvalues or set(labelkwargs) != set(self.order):
                return engine.labels(*labelvalues, **labelkwargs)  # it says what is wrong
            labelvalues = tuple(labelkwargs[name] for name in self.order)
        values, known = tuple(str(value) for value in labelvalues), self._known()
        if values not in known:
            if len(known) >= MAX_SERIES:
                self._warn()
                return engine.labels(*(OTHER for _ in self.order))
            known.add(values)
        return engine.labels(*values)

    def remove(self, *labelvalues: object) -> None:
        """Drop one series; its place is free again."""
        cast("Any", super()).remove(*labelvalues)
        self._known().discard(tuple(str(value) for value in labelvalues))

    def clear(self) -> None:
        """Drop all series."""
        cast("Any", super()).clear()
        self._known().clear()

    def _known(self) -> set[tuple[str, ...]]:
        return self.__dict__.setdefault("_seen", set[tuple[str, ...]]())

    def _warn(self) -> None:
        if not self.__dict__.get("_warned"):
            self.__dict__["_warned"] = True
            log.warning("metrics.too_many_series", metric=name_of(self), limit=MAX_SERIES)


class _Counter(_Bounded, prometheus_client.Counter):
    pass


class _Gauge(_Bounded, prometheus_client.Gauge):
    pass


class _Histogram(_Bounded, prometheus_client.Histogram):
    pass


class _Summary(_Bounded, prometheus_client.Summary):
    pass


KINDS: Mapping[str, Any] = {
    "counter": _Counter,
    "gauge": _Gauge,
    "histogram": _Histogram,
    "summary": _Summary,
}


def make(  # noqa: PLR0917 - a metric is that much
    kind: str, name: str, text: str, labels: Sequence[str], unit: str, options: Mapping[str, Any]
) -> Any:
    """An instrument that no registry knows.

    Raises:
        ValueError: name, labels or options are not allowed.
    """
    if not NAME.fullmatch(name):
        raise ValueError("a name consists of letters, digits, _ and :")
    if not all(LABEL.fullmatch(label) for label in labels):
        raise ValueError("a label's name consists of letters, digits and _, and begins with no __")
    made = KINDS[kind](name, text, tuple(labels), unit=unit, registry=None, **options)
    made.order = tuple(labels)
    return made


def name_of(instrument: Any) -> str:
    """The full name, unit included, as it is told."""
    return next(iter(instrument.describe())).name
