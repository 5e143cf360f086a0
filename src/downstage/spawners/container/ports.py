"""Ports of this machine on which instances' own are published."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from typing import Any

from downstage.spawners.container.body import Published

__all__ = ["NoPort", "choose"]


class NoPort(Exception):
    """Every port of the range is taken."""


def choose(wishes: Sequence[dict[str, Any]], span: tuple[int, int], host: str) -> list[Published]:
    """A free port of *span* for each wish; number 0 becomes the published one.

    They are free now; the engine binds them a moment later and says so if somebody was quicker.

    Raises:
        NoPort: there are too few.
    """
    found = list[Published]()
    taken = set[int]()
    for wish in wishes:
        published = _free(span, str(wish["type"]), taken)
        taken.add(published)
        found.append(
            {
                "name": wish["name"],
                "number": wish["number"] or published,
                "type": wish["type"],
                "host": host,
                "published": published,
            }
        )
    return found


def _free(span: tuple[int, int], kind: str, taken: set[int]) -> int:
    first, last = span
    count = last - first + 1
    start = secrets.randbelow(count)
    for step in range(count):
        port = first + (start + step) % count
        if port not in taken and _is_free(port, kind):
            return port
    raise NoPort(f"every {kind} port from {first} to {last} is taken (manager.user_ports)")


def _is_free(port: int, kind: str) -> bool:
    with socket.socket(socket.AF_INET, _KINDS[kind]) as probe:
        if kind == "TCP":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - what the engine will do
        except OSError:
            return False
    return True


_KINDS = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
