"""Bounds on streams form a lattice in which nobody can climb."""

from __future__ import annotations

import re
import time
from itertools import chain, combinations, product

import pytest

from downstage.auth.patterns import covers, may_bound, scopes_of, whole
from downstage.auth.principal import STREAM_RIGHTS, StreamBound
from downstage.auth.scopes import SCOPES

pytestmark = pytest.mark.unit

PATTERNS = ["".join(letters) for size in (1, 2, 3) for letters in product("ab*", repeat=size)]
NAMES = ["".join(letters) for size in range(1, 6) for letters in product("abc", repeat=size)]
"""One letter more than patterns have: what only a star can take in."""
RIGHTS = [
    frozenset(chosen)
    for size in range(1, len(STREAM_RIGHTS) + 1)
    for chosen in combinations(STREAM_RIGHTS, size)
]


def names_of(pattern: str) -> frozenset[str]:
    found = re.compile(re.escape(pattern).replace(r"\*", ".*") + r"\Z")
    return frozenset(name for name in NAMES if found.match(name))


MEANT = {pattern: names_of(pattern) for pattern in PATTERNS}


def test_A06_a_pattern_covers_another_if_and_only_if_it_means_all_of_its_names() -> None:
    for wide, narrow in product(PATTERNS, repeat=2):
        assert covers(wide, narrow) == (MEANT[narrow] <= MEANT[wide]), (wide, narrow)


def test_C09_a_pattern_of_many_stars_is_told_at_once() -> None:
    name = "a" * 127
    began = time.process_time()
    for pattern in ("*a" * 63 + "*b", "a*" * 63 + "b", "*aa" * 40 + "*ba"):
        assert not covers(pattern, name)
        assert whole(pattern.replace("b", "a")).match(name)
    assert time.process_time() - began < 1  # thousands of years, where each star is tried again


def held_by(bounds: tuple[StreamBound, ...]) -> frozenset[tuple[str, str]]:
    """Every name and right; admin is all rights."""
    return frozenset(
        (name, right)
        for bound in bounds
        for name in MEANT[bound.pattern]
        for right in (STREAM_RIGHTS if "admin" in bound.rights else bound.rights)
    )


def test_A06_a_bounded_token_makes_no_wider_one() -> None:
    few = ["a", "b", "*", "a*", "*b", "a*b", "**"]
    singles = [StreamBound(pattern, rights) for pattern in few for rights in RIGHTS]
    reach = {bound: held_by((bound,)) for bound in singles}
    granted = 0
    for held, wanted in product(singles, repeat=2):
        allowed = may_bound((held,), (wanted,))
        assert allowed == (reach[wanted] <= reach[held]), (held, wanted)
        granted += allowed
    assert granted > len(singles)


def test_A06_two_bounds_give_no_third_that_is_wider() -> None:
    pairs = [
        (StreamBound(first, frozenset({one})), StreamBound(second, frozenset({two})))
        for (first, second), (one, two) in product(
            combinations(["a", "a*", "*b", "*"], 2), product(("read", "write"), repeat=2)
        )
    ]
    wanted = [StreamBound(p, r) for p in ("a", "ab", "a*", "*") for r in RIGHTS]
    for held, bound in product(pairs, wanted):
        if may_bound(held, (bound,)):
            assert held_by((bound,)) <= held_by(held), (held, bound)


def test_without_bounds_any_may_be_given_and_with_some_none_without() -> None:
    everything = StreamBound("*", frozenset({"admin"}))
    assert may_bound(None, (everything,))
    assert not may_bound((), (everything,))
    assert may_bound((everything,), ())


def test_bounds_need_the_scopes_of_their_rights() -> None:
    needed = scopes_of(StreamBound("a", rights) for rights in RIGHTS)
    assert needed == {f"streams:{right}" for right in STREAM_RIGHTS} <= SCOPES.keys()
    assert scopes_of(()) == frozenset()
    assert set(chain(scopes_of([StreamBound("a", frozenset({"read"}))]))) == {"streams:read"}
