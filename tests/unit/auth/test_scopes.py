"""Scopes form a lattice in which nobody can climb."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downstage.auth.principal import Principal
from downstage.auth.scopes import (
    ADMINS,
    DELEGATES,
    IMPLIES,
    ROLES,
    SCOPES,
    SERVICES,
    acting_scopes,
    expand,
    may_grant,
    role_scopes,
)

pytestmark = pytest.mark.unit


def _families() -> list[frozenset[str]]:
    """Scopes that imply one another, together; those of different families know no other."""
    families = list[frozenset[str]]()
    for scope in SCOPES:
        family = expand({scope})
        touched = [known for known in families if known & family]
        families = [known for known in families if not known & family]
        families.append(family.union(*touched))
    return families


def _subsets(items: frozenset[str]) -> Iterator[frozenset[str]]:
    for size in range(len(items) + 1):
        yield from map(frozenset, combinations(sorted(items), size))


def _reaches() -> list[frozenset[str]]:
    """What any set of scopes comes to: one choice of each family."""
    found = [frozenset[str]()]
    for family in _families():
        choices = {expand(chosen) for chosen in _subsets(family)}
        found = [have | choice for have in found for choice in choices]
    return found


SETS = _reaches()
"""Every set of scopes there is, up to what is implied: all that the rules can tell apart."""

ANY = st.frozensets(st.sampled_from(sorted(SCOPES)))


@settings(max_examples=2000)
@given(ANY, ANY)
def test_A06_what_a_set_implies_is_what_its_scopes_imply(
    one: frozenset[str], two: frozenset[str]
) -> None:
    assert expand(one | two) == expand(one) | expand(two)
    assert (
        may_grant(one, two) == may_grant(expand(one), expand(two)) == (expand(two) <= expand(one))
    )
    for service in SERVICES.values():
        assert acting_scopes(service, one) == acting_scopes(service, expand(one))


def test_every_choice_of_a_family_comes_to_one_of_the_sets() -> None:
    known = set(SETS)
    assert len(known) == len(SETS) > 2**15
    for family in _families():
        for chosen in _subsets(family):
            assert expand(chosen) in known


def test_every_scope_named_anywhere_is_documented() -> None:
    named = set().union(*ROLES.values(), *SERVICES.values(), *DELEGATES.values(), *IMPLIES.values())
    assert named | DELEGATES.keys() | IMPLIES.keys() <= SCOPES.keys()
    assert all(line and line[0].islower() for line in SCOPES.values())


def test_implications_are_closed() -> None:
    for scope, implied in IMPLIES.items():
        assert expand(implied) == implied, scope
        assert scope not in implied


def test_A06_nobody_grants_more_than_they_hold_in_the_whole_lattice() -> None:
    for held in SETS:
        reach = expand(held)
        assert held <= reach == expand(reach)
        for scope in SCOPES:
            allowed = may_grant(held, {scope})
            assert allowed == (scope in reach and IMPLIES.get(scope, frozenset()) <= reach)
            # What was granted can grant nothing that the giver could not.
            if allowed:
                assert expand({scope}) <= reach


def test_A06_no_single_scope_brings_the_role_admin() -> None:
    for held in SETS:
        if held >= ROLES["admin"]:
            continue
        missing = ROLES["admin"] - expand(held)
        assert may_grant(held, ROLES["admin"]) == (not missing)
    assert not may_grant({"users:write"}, role_scopes([ADMINS]))
    assert not may_grant(ROLES["user"] | {"users:write"}, role_scopes([ADMINS]))


def test_A06_a_service_that_acts_holds_no_more_than_itself_or_was_lent() -> None:
    for service in SERVICES.values():
        for person in SETS:
            acting = acting_scopes(service, person)
            lent = expand(person).union(*(DELEGATES.get(s, frozenset()) for s in expand(person)))
            assert acting <= expand(service)
            assert acting <= lent
        assert acting_scopes(service, ()) == frozenset()


def test_the_gateway_may_start_instances_for_an_ordinary_user() -> None:
    assert "instances:write" in acting_scopes(SERVICES["gateway"], ROLES["user"])
    assert acting_scopes(SERVICES["gateway"], {"sessions:read"}) == {"instances:read"}
    assert "instances:write" not in expand(ROLES["user"])


def test_roles_by_group() -> None:
    assert role_scopes([]) == role_scopes(["designers"]) == ROLES["user"]
    assert role_scopes(["designers", ADMINS]) == frozenset(SCOPES)


def test_a_principal_may_what_its_scopes_imply() -> None:
    caller = Principal("ada", "ada", "user", scopes=frozenset({"sessions:write"}))
    assert caller.may("sessions:read")
    assert not caller.may("sessions:admin")
    assert not caller.may("nonsense")
