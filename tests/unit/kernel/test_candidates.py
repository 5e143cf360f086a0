"""Whose candidates lead where: a stranger's never into our networks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.candidates import MAX_CANDIDATES, Reach, is_sound, may_try, reach_of, sift

pytestmark = pytest.mark.unit


def candidate(address: str, *, protocol: str = "udp", end: str = "typ host") -> str:
    return f"candidate:1 1 {protocol} 2130706431 {address} 5000 {end}"


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("127.0.0.1", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("192.168.1.7", Reach.PRIVATE),
        ("::ffff:10.1.2.3", Reach.PRIVATE),
        ("fd12::1", Reach.PRIVATE),
        ("fe80::1", Reach.PRIVATE),
        ("100.64.0.9", Reach.PRIVATE),
        ("9.9.9.9", Reach.PUBLIC),
        ("2620:fe::fe", Reach.PUBLIC),
        ("", Reach.PUBLIC),
        (None, Reach.PUBLIC),
        ("testclient", Reach.PUBLIC),
    ],
)
def test_where_somebody_stands(address: str | None, reach: Reach) -> None:
    assert reach_of(address) is reach


NEVER = [
    "0.0.0.0",
    "::",
    "224.0.0.251",
    "255.255.255.255",
    "ff02::fb",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "2002:a9fe:a9fe::1",
    "64:ff9b::a9fe:a9fe",
    "fe80::1%eth0",
    "3f0c8a2e-1c1f-4a0b-9d54-0d8a4d2b7a11.local",
    "metadata.google.internal",
    "localhost",
    "0x7f000001",
    "127.1",
    "2130706433",
]
INNER = ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.3.4", "fe80::1", "192.0.2.1"]
PRIVATE = ["10.0.0.5", "172.16.9.9", "192.168.1.1", "100.64.1.1", "fd12::9", "::ffff:10.0.0.1"]
PUBLIC = ["9.9.9.9", "2620:fe::fe"]


@pytest.mark.parametrize("reach", Reach)
def test_M05_whose_candidates_lead_where(reach: Reach) -> None:
    def tried(addresses: list[str]) -> list[str]:
        return [one for one in addresses if may_try(candidate(one), reach)]

    assert tried(NEVER) == []
    assert tried(INNER) == (INNER if reach is Reach.LOOPBACK else [])
    assert tried(PRIVATE) == (PRIVATE if reach >= Reach.PRIVATE else [])
    assert tried(PUBLIC) == PUBLIC


def test_M05_nobody_makes_us_connect() -> None:
    active = candidate("9.9.9.9", protocol="TCP", end="typ host tcptype active")
    passive = candidate("9.9.9.9", protocol="tcp", end="typ host tcptype passive")
    bare = candidate("9.9.9.9", protocol="tcp")
    assert [is_sound(one) for one in (active, passive, bare)] == [True, False, False]
    assert not is_sound(candidate("9.9.9.9", protocol="sctp"))


def test_M05_descriptions_are_sifted_too() -> None:
    lines = ["v=0", "c=IN IP4 10.0.0.1", *(f"a={candidate(one)}" for one in PRIVATE + PUBLIC)]
    sdp = "\r\n".join([*lines, "a=mid:0", ""])
    kept, seen = sift(sdp, Reach.PUBLIC)
    assert seen == len(PRIVATE + PUBLIC)
    assert [line.split()[4] for line in kept.splitlines() if "candidate" in line] == PUBLIC
    assert kept.endswith("a=mid:0\r\n")
    assert sift(sdp, Reach.PRIVATE)[0] == sdp


def test_M05_of_10000_candidates_64_are_looked_at() -> None:
    sdp = "".join(f"a=candidate:{n} 1 udp 1 9.9.9.9 {n} typ host\r\n" for n in range(1, 10_001))
    kept, seen = sift(sdp, Reach.LOOPBACK)
    assert kept.count("a=candidate:") == seen == MAX_CANDIDATES == 64


@given(st.text(max_size=200))
def test_M05_nothing_that_is_said_is_a_fault(text: str) -> None:
    for reach in Reach:
        may_try(text, reach)
        sift(text, reach)
        may_try(f"candidate:1 1 udp 1 {text} 1 typ host", reach)
