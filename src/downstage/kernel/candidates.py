"""Which of a stranger's ICE candidates may be tried, by where that stranger stands.

A candidate is an address that a viewer says it can be reached at, and the streamer sends datagrams
there: without a rule anybody who may watch can have our machines knock at the doors behind them.
Leaving one out seldom costs a path: a viewer's own checks tell its address, too.

==============  ===================================================================================
``PUBLIC``      addresses of the public internet
``PRIVATE``     those, and private ones: the viewer itself came from one
``LOOPBACK``    any address of a single host: the viewer sits on this machine
==============  ===================================================================================

Never tried, whoever names them: names (a ``.local`` one would have to be asked for in our network),
multicast, broadcast and unspecified addresses, services by which clouds tell their secrets, and
TCP other than *active* (the others ask us to connect).
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from downstage.kernel.net import inner_address, is_public

__all__ = ["MAX_CANDIDATES", "Reach", "is_sound", "may_try", "reach_of", "sift"]

MAX_CANDIDATES = 64
"""Candidates that one side of a peer connection may name."""

_PRIVATE = tuple(
    ip_network(network)
    for network in (
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers', and overlay networks
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "fec0::/10",
    )
)
_LINK = (ip_network("169.254.0.0/16"), ip_network("fe80::/10"))
_METADATA = frozenset(
    ip_address(address)
    for address in (
        "100.100.100.200",
        "168.63.129.16",
        "169.254.169.123",
        "169.254.169.253",
        "169.254.169.254",
        "169.254.170.2",
        "192.0.0.192",
        "fd00:ec2::23",
        "fd00:ec2::253",
        "fd00:ec2::254",
        "fd20:ce::254",
    )
)
_RESERVED = (ip_network("0.0.0.0/8"), ip_network("240.0.0.0/4"))
_LINE = "a=candidate:"


class Reach(IntEnum):
    """How near to this machine somebody stands."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2


def reach_of(address: str | None) -> Reach:
    """Where somebody stands who connected from *address*; None and what is none: far away."""
    found = _parsed(address or "")
    if found is None:
        return Reach.PUBLIC
    if found.is_loopback:
        return Reach.LOOPBACK
    return Reach.PRIVATE if _is_among(found, (*_PRIVATE, *_LINK)) else Reach.PUBLIC


def is_sound(candidate: str) -> bool:
    """Whether a candidate names one host by its address, and no connection is asked of us.

    Args:
        candidate: as it stands in a message: ``candidate:1 1 udp 2130706431 192.0.2.1 5000 typ …``.
    """
    return _least_reach(candidate) is not None


def may_try(candidate: str, reach: Reach) -> bool:
    """Whether a *candidate* of somebody who stands at *reach* may be tried."""
    least = _least_reach(candidate)
    return least is not None and reach >= least


def sift(sdp: str, reach: Reach) -> tuple[str, int]:
    """A description without the candidates that may not be tried, and how many were looked at.

    Beyond `MAX_CANDIDATES` none is looked at, or kept.
    """
    if _LINE not in sdp:
        return sdp, 0
    kept: list[str] = []
    seen = 0
    for line in sdp.splitlines(keepends=True):
        if line.startswith(_LINE):
            seen += 1
            if seen > MAX_CANDIDATES or not may_try(line.removeprefix("a="), reach):
                continue
        kept.append(line)
    return "".join(kept), min(seen, MAX_CANDIDATES)


def _least_reach(candidate: str) -> Reach | None:
    """Where somebody must stand who may name *candidate*; None: nobody may."""
    words = candidate.removeprefix("candidate:").split()
    if len(words) < 8 or not _is_datagram(words):  # noqa: PLR2004 - up to the type
        return None
    return _least_reach_of(words[4])


@lru_cache(maxsize=1024)  # a peer names each of its few addresses again and again
def _least_reach_of(address: str) -> Reach | None:
    found = _parsed(address)
    if found is None or found in _METADATA or found.is_multicast or found.is_unspecified:
        return None
    if _is_among(found, _RESERVED):
        return None
    if is_public(str(found)):
        return Reach.PUBLIC
    return Reach.PRIVATE if _is_among(found, _PRIVATE) else Reach.LOOPBACK


def _is_datagram(words: list[str]) -> bool:
    if words[2].lower() == "udp":
        return True
    further = dict(zip(words[8::2], words[9::2], strict=False))
    return words[2].lower() == "tcp" and further.get("tcptype") == "active"


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An address; an IPv4 one that an IPv6 one leads to stands for it."""
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv4Address):
        return found
    return None if found.scope_id is not None else inner_address(found) or found


def _is_among(
    address: IPv4Address | IPv6Address, networks: tuple[IPv4Network | IPv6Network, ...]
) -> bool:
    return any(address in network for network in networks)
