"""The score of regions, as docs/concepts/regions.md describes it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.gateway.regions.score import (
    Place,
    Wish,
    distance_km,
    latency_by_distance,
    rank,
)
from downstage.gateway.regions.sights import RegionFacts

pytestmark = pytest.mark.unit

BERLIN, NEW_YORK, TOKYO = Place(52.52, 13.40), Place(40.71, -74.01), Place(35.68, 139.69)
PARIS = Place(48.86, 2.35)


def region(name: str, place: Place | None = None, free: int = 3, *, up: bool = True) -> RegionFacts:
    return RegionFacts(
        name,
        answering=up,
        free=free,
        capacity=4,
        latitude=place.latitude if place else None,
        longitude=place.longitude if place else None,
        why=None if up else "its agents have said nothing for 9 s",
    )


WORLD = [region("eu", BERLIN), region("us", NEW_YORK), region("asia", TOKYO)]
numbers = st.floats(0, 500)
places = st.builds(Place, st.floats(-90, 90), st.floats(-180, 180))
regions = st.lists(
    st.builds(
        region,
        st.sampled_from("abcdef"),
        st.none() | places,
        st.integers(0, 4),
        up=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda item: item.name,
)
wishes = st.builds(
    Wish,
    rtt_ms=st.dictionaries(st.sampled_from("abcdefz"), st.floats(), max_size=5),
    near=st.none() | st.sampled_from("abcdefz"),
)


@pytest.mark.parametrize(
    ("one", "other", "km"), [(BERLIN, NEW_YORK, 6385), (BERLIN, BERLIN, 0), (BERLIN, TOKYO, 8919)]
)
def test_distances_are_those_of_an_atlas(one: Place, other: Place, km: float) -> None:
    assert distance_km(one, other) == pytest.approx(km, abs=15)


@given(places, places)
def test_distances_are_symmetric_and_at_most_half_round(one: Place, other: Place) -> None:
    there = distance_km(one, other)
    assert math.isclose(there, distance_km(other, one), abs_tol=1e-6)
    assert 0 <= there <= 20_016


def test_a_stock_client_gets_the_nearest_region_with_a_free_place() -> None:
    ranking = rank(WORLD, Wish(), PARIS)
    assert ranking is not None
    assert ranking.regions == ("eu", "us", "asia")
    full = [region("eu", BERLIN, 0), *WORLD[1:]]
    ranking = rank(full, Wish(), PARIS)
    assert ranking is not None
    assert ranking.regions == ("us", "asia")
    assert "eu: 18 ms by 877 km, full" in ranking.reason


@given(regions, places)
def test_the_nearest_is_never_beaten_by_load(found: list[RegionFacts], place: Place) -> None:
    ranking = rank(found, Wish(), place)
    free = [item for item in found if item.answering and item.free]
    if ranking is None or not free:
        return

    def far(item: RegionFacts) -> float:
        if item.latitude is None or item.longitude is None:
            return 150.0
        return latency_by_distance(distance_km(place, Place(item.latitude, item.longitude)))

    by_name = {item.name: item for item in free}
    assert far(by_name[ranking.best]) == min(far(item) for item in free)


def test_what_was_measured_beats_what_the_map_says() -> None:
    ranking = rank(WORLD, Wish(rtt_ms={"us": 20, "eu": 90}), PARIS)
    assert ranking is not None
    assert ranking.best == "us"
    assert ranking.reason.startswith("us (us: 20 ms measured, 3 of 4 free, score 22; ")


def test_near_decides_between_equals_and_not_against_an_ocean() -> None:
    both = [region("a"), region("b")]
    ranking = rank(both, Wish(near="b", rtt_ms={"a": 20, "b": 30}), None)
    assert ranking is not None
    assert ranking.best == "b"
    ranking = rank(both, Wish(near="b", rtt_ms={"a": 20, "b": 90}), None)
    assert ranking is not None
    assert ranking.best == "a"


def test_without_any_figure_the_emptiest_is_taken() -> None:
    ranking = rank([region("a", free=1), region("b", free=2)], Wish(), None)
    assert ranking is not None
    assert ranking.best == "b"
    assert "distance unknown" in ranking.reason


def test_where_all_are_full_the_best_of_them_is_waited_for() -> None:
    ranking = rank([region("a", BERLIN, 0), region("b", TOKYO, 0)], Wish(), PARIS)
    assert ranking is not None
    assert ranking.regions == ("a",)
    assert "all regions are full" in ranking.reason


def test_nobody_answers() -> None:
    assert rank([], Wish(), None) is None
    assert rank([region("a", up=False)], Wish(rtt_ms={"a": 1}), None) is None


@given(regions, wishes, st.none() | places)
def test_only_regions_that_answer_are_offered(
    found: list[RegionFacts], wish: Wish, place: Place | None
) -> None:
    """Whatever a caller measured: not a number, less than nothing, regions that are none."""
    ranking = rank(found, wish, place)
    answering = {item.name for item in found if item.answering}
    if not answering:
        assert ranking is None
        return
    assert ranking is not None
    assert ranking.regions
    assert set(ranking.regions) <= answering
    free = {item.name for item in found if item.answering and item.free}
    assert set(ranking.regions) == free or (not free and len(ranking.regions) == 1)
    assert ranking.reason.startswith(ranking.best)
    assert all(item.name in ranking.reason for item in found)
    again = rank(list(reversed(found)), wish, place)
    assert again is not None
    assert again.regions == ranking.regions, "the order in which they are known plays no part"


@given(regions, numbers, numbers, st.none() | places)
def test_a_shorter_way_never_makes_a_region_worse(
    found: list[RegionFacts], one: float, other: float, place: Place | None
) -> None:
    near, far = sorted((one, other))
    before = rank(found, Wish(rtt_ms={"a": far, "b": 40}), place)
    after = rank(found, Wish(rtt_ms={"a": near, "b": 40}), place)
    if before is None or after is None or "a" not in before.regions:
        return
    assert after.regions.index("a") <= before.regions.index("a")
