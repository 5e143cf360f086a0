"""Connections to one door: so many in all, and so many of one address, whoever they are."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address

__all__ = ["Crowd", "Visit"]

HOST_BITS = 64
"""Of an IPv6 address: one customer has at least so many of them to choose from."""


class Crowd:
    """Counts who is there; nothing here waits.

    Args:
        most: connections in all.
        most_of_one: of them from one address, or one network of IPv6 addresses.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._of = Counter[str]()

    def __len__(self) -> int:
        return self._of.total()

    def enter(self, address: str) -> Visit | None:
        """Let one more of *address* in; None: there are as many as may be, or as many of it."""
        who = _whose(address)
        if len(self) >= self._most or self._of[who] >= self._most_of_one:
            return None
        self._of[who] += 1
        return Visit(self._of, who)


class Visit:
    """One connection, as long as it is there."""

    def __init__(self, of: Counter[str], who: str) -> None:
        self._of, self._who = of, who
        self._is_over = False

    def leave(self) -> None:
        """It has gone; safe to repeat."""
        if self._is_over:
            return
        self._is_over = True
        self._of[self._who] -= 1
        if not self._of[self._who]:
            del self._of[self._who]


def _whose(address: str) -> str:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(int(found) >> HOST_BITS)
