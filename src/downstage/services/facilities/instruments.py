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

    def labels(self, *labelvalues: object, **labelkwargs: object) -> Any:
        """The series of these label values."""
        own = cast("Any", self)
        known = cast("set[object]", own.__dict__.setdefault("_known", set[object]()))
        values = tuple(str(v) for v in labelvalues) or tuple(
            sorted((name, str(v)) for name, v in labelkwargs.items())
        )
        if values not in known:
            if len(known) >= MAX_SERIES:
                self._warn(own)
                labelvalues = (OTHER,) * (len(labelvalues) or len(labelkwargs))
                labelkwargs = {}
            else:
                known.add(values)
        return cast("Any", super()).labels(*labelvalues, **labelkwargs)

    def _warn(self, own: Any) -> None:
        if not own.__dict__.get("_warned"):
            own.__dict__["_warned"] = True
            log.warning("metrics.too_many_series", metric=name_of(own), limit=MAX_SERIES)


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
    return KINDS[kind](name, text, tuple(labels), unit=unit, registry=None, **options)


def name_of(instrument: Any) -> str:
    """The full name, unit included, as it is told."""
    return next(iter(instrument.describe())).name
