"""Bounds on streams, and who may hand on which: patterns form a lattice, as scopes do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from downstage.auth.principal import STREAM_RIGHTS, StreamBound

__all__ = ["covers", "may_bound", "scopes_of", "whole"]

ALL = frozenset(STREAM_RIGHTS)


def covers(wide: str, narrow: str) -> bool:
    """Whether every name that the pattern *narrow* stands for is one of *wide*'s.

    A star of *narrow* stands for anything, so that only a star of *wide* takes it in.
    """
    return whole(wide).match(narrow) is not None


def whole(pattern: str) -> re.Pattern[str]:
    """Finds whole names that *pattern* stands for, in time that any pattern and name allow.

    What stands between two stars is looked for once, from the left: where it is found first is as
    good as any later place, so nothing is tried again. Without that a pattern of many stars takes
    hours to say no to a name of a hundred letters.
    """
    first, *rest = (re.escape(part) for part in re.sub(r"\*+", "*", pattern).split("*"))
    if not rest:
        return re.compile(first + r"\Z")
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(f"{first}{middle}.*{rest[-1]}\\Z")


def may_bound(held: Sequence[StreamBound] | None, wanted: Iterable[StreamBound]) -> bool:
    """Whether a token with the bounds *held* (None: none) may make one with *wanted*.

    Each of them has to lie within one that is held: nobody gives more than they have.
    """
    return held is None or all(_is_within(held, bound) for bound in wanted)


def scopes_of(bounds: Iterable[StreamBound]) -> frozenset[str]:
    """Scopes without which *bounds* would allow less than they say."""
    return frozenset(f"streams:{right}" for bound in bounds for right in bound.rights)


def _is_within(held: Sequence[StreamBound], wanted: StreamBound) -> bool:
    around = [bound for bound in held if covers(bound.pattern, wanted.pattern)]
    reach = frozenset[str]().union(*(_reach(bound) for bound in around))
    return _reach(wanted) <= reach


def _reach(bound: StreamBound) -> frozenset[str]:
    return ALL if "admin" in bound.rights else bound.rights
