"""``$ref`` within one document: followed a bounded number of times, and never out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import unquote

__all__ = ["NOTHING", "References", "mapping", "sequence"]

MAX_HOPS = 16
NOTHING: Mapping[str, Any] = {}


def mapping(value: object) -> Mapping[str, Any]:
    """*value* where it is an object, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else NOTHING


def sequence(value: object) -> list[Any]:
    """*value* where it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


class References:
    """Looks references up in *document*. Another document's are never fetched: they are nothing."""

    __slots__ = ("_document",)

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def resolve(self, value: object) -> Mapping[str, Any]:
        """The object that *value* is or refers to; empty where it leads nowhere or round."""
        found = mapping(value)
        for _ in range(MAX_HOPS):
            pointer = found.get("$ref")
            if pointer is None:
                return found
            found = self._at(pointer)
        return NOTHING

    def _at(self, pointer: object) -> Mapping[str, Any]:
        if not isinstance(pointer, str) or not pointer.startswith("#/"):
            return NOTHING
        at: object = self._document
        for part in pointer[2:].split("/"):
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if not isinstance(at, Mapping) or key not in at:
                return NOTHING
            at = cast("Mapping[str, object]", at)[key]
        return mapping(at)
