"""Objects of a JSON document, decoded member by member when they are asked for.

A whole document decoded is a million Python objects: the garbage collector then stops the process
for a tenth of a second each time that it looks through them.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping
from typing import Any

import msgspec

__all__ = ["LazyObject", "wrap"]

LARGE = 16 * 1024
"""Bytes from which on an object remembers where its members are."""
_Raws = dict[str, msgspec.Raw]
_raws = msgspec.json.Decoder(_Raws)
_any = msgspec.json.Decoder()


def wrap(raw: msgspec.Raw | bytes) -> Any:
    """The value of *raw*: objects lazily, all else as Python has it.

    Raises:
        msgspec.DecodeError: it is no JSON.
    """
    is_object = bytes(memoryview(raw)[:1]) == b"{"
    return LazyObject(raw) if is_object else _any.decode(raw)


class LazyObject(Mapping[str, Any]):
    """A JSON object that keeps its bytes. Reading what is no JSON raises `msgspec.DecodeError`."""

    __slots__ = ("_members", "_raw")

    def __init__(self, raw: msgspec.Raw | bytes) -> None:
        self._raw = raw
        self._members: _Raws | None = None
        if len(memoryview(raw)) >= LARGE:
            self._members = _raws.decode(raw)

    def raws(self) -> _Raws:
        """The members, not decoded."""
        return _raws.decode(self._raw) if self._members is None else self._members

    def __getitem__(self, key: str) -> Any:
        return wrap(self.raws()[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self.raws())

    def __len__(self) -> int:
        return len(self.raws())

    def items(self) -> ItemsView[str, Any]:
        """Members, each decoded once."""
        return {key: wrap(raw) for key, raw in self.raws().items()}.items()

    def plain(self) -> dict[str, Any]:
        """All of it, decoded."""
        return _any.decode(self._raw)

    def __repr__(self) -> str:
        return f"<LazyObject of {len(memoryview(self._raw))} bytes>"
