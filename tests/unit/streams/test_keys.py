"""No key of one tenant can be spelled by another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import InvalidField
from downstage.streams import names
from downstage.streams.keys import Keys

pytestmark = pytest.mark.unit
tenants = st.text(min_size=1, max_size=12)
stream_names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.:@=-]{0,8}", fullmatch=True).filter(
    names.is_name
)


@given(st.tuples(tenants, stream_names), st.tuples(tenants, stream_names))
def test_C10_keys_are_equal_only_for_the_same(one: tuple[str, str], other: tuple[str, str]) -> None:
    keys = Keys(b"{1}")
    assert (keys.stream(*one) == keys.stream(*other)) == (one == other)


@given(tenants, stream_names, st.text(max_size=12))
def test_C10_kinds_of_keys_never_meet(tenant: str, name: str, word: str) -> None:
    keys = Keys()
    made = [
        keys.stream(tenant, name),
        keys.made(tenant),
        keys.specs(tenant),
        keys.consumers(tenant),
        keys.version(tenant),
        keys.push(tenant, name, word),
        keys.tenants(),
        keys.marker(name, "main"),
        keys.bell(name),
        keys.lease("trim"),
    ]
    assert len(set(made)) == len(made)


@given(tenants, stream_names)
def test_a_tag_is_the_only_one_in_its_key(tenant: str, name: str) -> None:
    """So that all keys of a part fall into one slot, whatever people call things."""
    assert Keys(b"{7}").stream(tenant, name).count(b"{") == 1


@pytest.mark.parametrize("name", ["", "*", "a/b", "../a", "a b", "{x}", "a\n"])
def test_C10_what_is_no_name_makes_no_key(name: str) -> None:
    with pytest.raises(InvalidField):
        Keys().stream("tenant", name)
    with pytest.raises(InvalidField):
        Keys().push("tenant", name, "key")
