"""Scopes form a lattice in which nobody can climb."""

from __future__ import annotations

from itertools import combinations

import pytest

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

SETS = [
    frozenset(chosen) for size in range(len(SCOPES) + 1) for chosen in combinations(SCOPES, size)
]
"""Every set of scopes there is."""


def test_every_scope_named_anywhere_is_documented() -> None:
    named = set().union(*ROLES.values(), *SERVICES.values(), *DELEGATES.values(), *IMPLIES.values())
    assert named | DELEGATES.keys() | IMPLIES.keys() <= SCOPES.keys()
    assert all(line and line[0].islower() for line in SCOPES.values())


def test_implications_are_closed() -> None:
    for scope, implied in IMPLIES.items():
        assert expand(implied) == implied, scope
        assert scope not in implied


def test_A06_nobody_grants_more_than_they_hold_in_the_whole_lattice() -> None:
    assert len(SETS) == 2 ** len(SCOPES)
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
