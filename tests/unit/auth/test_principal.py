"""Who a principal is."""

from __future__ import annotations

import pytest

from downstage.auth.principal import Kind, Principal

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("kind", "act", "person"),
    [("user", None, "anna"), ("token", None, "anna"), ("service", "bert", "bert"),
     ("service", None, None)],
)  # fmt: skip
def test_the_person_behind_a_call(kind: Kind, act: str | None, person: str | None) -> None:
    assert Principal("anna", "Anna", kind, act=act).person == person
