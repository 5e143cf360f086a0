"""What can be done to a live document: five ops, their values opaque bytes."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Create", "Kind", "Op", "Order", "Remove", "Sample", "Set"]

Kind = Literal["layer", "prim", "attribute", "relationship", "variants", "variant"]
"""Of a spec; ``variants`` is a variant set, ``layer`` the root."""


class Create(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """Make a spec, with these fields; on one of the same kind (and type): set them.

    An attribute of another type, or a relationship in its place, is replaced: the last wins.
    """

    path: str
    kind: Kind
    fields: dict[str, bytes] = {}


class Set(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """Give a field a value; None takes it away."""

    path: str
    field: str
    value: bytes | None
    guard: bytes | None = None
    """Type that the attribute must have, else nothing happens: its value fits no other."""


class Sample(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """Give an attribute a value at a time; None takes it away."""

    path: str
    time: float
    value: bytes | None
    guard: bytes | None = None


class Remove(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    """Take a spec away, and all below it."""

    path: str


class Order(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """Put a spec's child prims in this order; those not named follow, as they stood."""

    path: str
    names: list[str]


Op = Create | Set | Sample | Remove | Order
