"""Order of start, and why somebody cannot start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from downstage.services.extensions.manifest import Manifest, dependency_of
from downstage.services.extensions.order import arrange, dependents

pytestmark = pytest.mark.unit

NAMES = "abcdefgh"


def extension(name: str, *needs: str, version: str = "1.0") -> Manifest:
    parts = [need.rstrip("?").partition(" ") for need in needs]
    return Manifest(
        name,
        Version(version),
        dependencies=tuple(
            dependency_of(part[0], part[2], optional=need.endswith("?"))
            for part, need in zip(parts, needs, strict=True)
        ),
    )


graphs = st.dictionaries(
    st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES + "z"), max_size=3), max_size=8
)


@given(graphs)
def test_everybody_is_in_the_order_or_blocked_and_needs_come_first(
    graph: dict[str, set[str]],
) -> None:
    order = arrange([extension(name, *sorted(needs)) for name, needs in graph.items()])
    assert set(order.sequence) | set(order.blocked) == set(graph)
    assert not set(order.sequence) & set(order.blocked)
    for place, name in enumerate(order.sequence):
        assert graph[name] <= set(order.sequence[:place])
    for name in order.blocked:
        needs = graph[name]
        reachable, front = set[str](), set(needs)
        while front:
            reachable |= front
            front = {n for f in front for n in graph.get(f, set())} - reachable
        bad = reachable - set(graph) or {n for n in reachable | {name} if n in order.blocked}
        assert bad, f"{name} was blocked for nothing"


def test_without_dependencies_the_order_is_as_given() -> None:
    assert arrange([extension(name) for name in "cab"]).sequence == tuple("cab")


def test_only_the_circle_and_who_needs_it_are_blocked() -> None:
    order = arrange([extension("a", "b"), extension("b", "a"), extension("c", "a"), extension("d")])
    assert order.sequence == ("d",)
    assert order.blocked["a"] in (
        "each needs the next: a-1.0 → b-1.0 → a-1.0",
        "each needs the next: b-1.0 → a-1.0 → b-1.0",
    )
    assert order.blocked["c"] == "c-1.0 needs a, which cannot start"


def test_one_that_needs_itself_is_a_circle() -> None:
    assert arrange([extension("a", "a")]).blocked == {"a": "each needs the next: a-1.0 → a-1.0"}


@pytest.mark.parametrize(
    ("wanted", "fits", "too_old", "too_new"),
    [
        ("1.2", "1.9", "1.1", "2.0"),
        ("0.2", "0.2.9", "0.1.9", "0.3"),
        (">=1.0,<3", "2.5", "0.9", "3.0"),
        ("~=1.4", "1.9", "1.3", "2.0"),
    ],
)
def test_versions(wanted: str, fits: str, too_old: str, too_new: str) -> None:
    needing = extension("a", f"b {wanted}")
    assert arrange([needing, extension("b", version=fits)]).sequence == ("b", "a")
    for version in (too_old, too_new):
        blocked = arrange([needing, extension("b", version=version)]).blocked
        assert blocked == {"a": f"a-1.0 needs b {wanted}, but b-{version} is what is here"}


def test_an_optional_one_may_be_absent_but_not_of_another_version() -> None:
    assert arrange([extension("a", "z?")]).sequence == ("a",)
    assert arrange([extension("a", "b >=2?"), extension("b")]).blocked.keys() == {"a"}


def test_provided_names_are_there_in_any_version() -> None:
    order = arrange([extension("a", "omni.services.core 9.9")], {"omni.services.core"})
    assert order.sequence == ("a",)


def test_dependents_are_found_through_others() -> None:
    everyone = [extension("a"), extension("b", "a"), extension("c", "b"), extension("d", "a?")]
    assert dependents("a", everyone) == {"b", "c", "d"}
    assert dependents("a", everyone, optional=False) == {"b", "c"}
