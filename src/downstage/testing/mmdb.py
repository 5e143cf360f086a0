"""Writes a small file of places in MaxMind's format (2.0): tests need none from elsewhere."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, cast

__all__ = ["write_mmdb"]

MARK = b"\xab\xcd\xefMaxMind.com"
GAP = 16
"""Zero bytes between tree and data."""
TEXT, DOUBLE, UINT16, UINT32, MAP, UINT64, ARRAY = 2, 3, 5, 6, 7, 9, 11
"""Kinds of values."""
MAPPED = 96
"""Bits before an IPv4 address in a tree of IPv6 addresses."""

Node = list[Any]
"""Two branches, each another node, the number of a record, or None."""


def write_mmdb(path: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write *records*, by network (``203.0.113.0/24``, ``2001:db8::/32``), to *path*.

    Values are text, whole numbers from 0, doubles, and mappings of them.
    """
    root: Node = [None, None]
    data, offsets = bytearray(), list[int]()
    for text, record in records.items():
        offsets.append(len(data))
        data += _encode(dict(record))
        _grow(root, ip_network(text), len(offsets) - 1)
    nodes = _number(root)
    tree = bytearray()
    for node in nodes:
        for branch in node:
            tree += _pointer(branch, nodes, offsets).to_bytes(3, "big")
    path.write_bytes(bytes(tree) + bytes(GAP) + bytes(data) + MARK + _facts(len(nodes)))


def _facts(nodes: int) -> bytes:
    """What stands at the end; readers are particular about the widths of its numbers."""
    fields: dict[str, bytes] = {
        "node_count": _whole(UINT32, nodes),
        "record_size": _whole(UINT16, 24),
        "ip_version": _whole(UINT16, 6),
        "database_type": _encode("Downstage-Test"),
        "languages": _head(ARRAY, 0),
        "description": _encode({}),
        "binary_format_major_version": _whole(UINT16, 2),
        "binary_format_minor_version": _whole(UINT16, 0),
        "build_epoch": _whole(UINT64, 1),
    }
    body = b"".join(_encode(key) + value for key, value in fields.items())
    return _head(MAP, len(fields)) + body


def _grow(root: Node, network: IPv4Network | IPv6Network, record: int) -> None:
    skipped = MAPPED if network.version == 4 else 0  # noqa: PLR2004 - IPv4
    length, width = skipped + network.prefixlen, skipped + network.max_prefixlen
    number, node = int(network.network_address), root
    for depth in range(length - 1):
        bit = number >> (width - 1 - depth) & 1
        if node[bit] is None:
            node[bit] = [None, None]
        node = cast("Node", node[bit])
    node[number >> (width - length) & 1] = record


def _number(root: Node) -> list[Node]:
    """All nodes, the root first."""
    nodes = [root]
    for node in nodes:
        nodes += [branch for branch in node if isinstance(branch, list)]
    return nodes


def _pointer(branch: object, nodes: list[Node], offsets: list[int]) -> int:
    if branch is None:
        return len(nodes)
    if isinstance(branch, int):
        return len(nodes) + GAP + offsets[branch]
    return next(index for index, node in enumerate(nodes) if node is branch)


def _encode(value: object) -> bytes:
    match value:
        case dict():
            items = cast("dict[str, object]", value).items()
            body = b"".join(_encode(key) + _encode(item) for key, item in items)
            return _head(MAP, len(items)) + body
        case str():
            raw = value.encode()
            return _head(TEXT, len(raw)) + raw
        case float():
            return _head(DOUBLE, 8) + struct.pack(">d", value)
        case int():
            return _whole(UINT32, value)
        case _:
            raise TypeError(f"{type(value).__name__} is not written")


def _whole(kind: int, value: int) -> bytes:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _head(kind, len(raw)) + raw


def _head(kind: int, size: int) -> bytes:
    """Kind and size; kinds above 7 stand in a byte of their own."""
    first = kind << 5 if kind <= 7 else 0  # noqa: PLR2004 - of the format
    more = b"" if first else bytes([kind - 7])
    if size > 28:  # noqa: PLR2004 - of the format: longer ones take more bytes
        return bytes([first | 29]) + more + bytes([size - 29])
    return bytes([first | size]) + more
