"""Schemas as Python's types, in words: for signatures and for stubs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from downstage.services.description.references import References, mapping, sequence

__all__ = ["Types", "union"]

MAX_DEPTH = 12
MAX_SCHEMAS = 256
"""In one type: references let a small document say a large one."""
MAX_CHOICES = 64
"""Of an enumeration or a union; more are shown as the type that they have in common, or as any."""
MAX_TEXT = 2000
SCALARS = {"integer": "int", "number": "float", "boolean": "bool", "null": "None", "file": "bytes"}
GIVEN = {
    "date-time": "datetime | str",
    "date": "date | str",
    "uuid": "UUID | str",
    "binary": "bytes",
}
"""Formats of strings that a caller may give as Python has them; answers hold them as text."""

Named = Callable[[Mapping[str, Any], str | None], str | None]
"""Schema object and the name it is referred to by → its type's name; None: spell it out."""


def union(types: list[str]) -> str:
    """``A | B | None`` without repetitions; Any swallows the others."""
    parts = dict.fromkeys(part for text in types for part in _split(text))
    if not parts or "Any" in parts:
        return "Any"
    if "None" in parts:
        del parts["None"]
        return " | ".join([*parts, "None"])
    return " | ".join(parts)


def _split(text: str) -> list[str]:
    """The members of a union: brackets and strings are not cut."""
    parts, depth, start = list[str](), 0, 0
    if "'" in text or '"' in text:
        return [text]
    for at, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if character == "|" and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


class Types:
    """Writes types of one document.

    Args:
        references: where ``$ref`` leads.
        named: gives objects with fields their name.
        given: for what callers give (wide: `datetime`, `Sequence`), else for answers.
    """

    def __init__(self, references: References, named: Named, *, given: bool) -> None:
        self._references = references
        self._named = named
        self._given = given
        self._left = MAX_SCHEMAS

    def text(self, schema: object, depth: int = 0) -> str:
        """The type of *schema*; Any where it says nothing, or nothing that we understand."""
        self._left = MAX_SCHEMAS if depth == 0 else self._left - 1
        at = self._references.resolve(schema)
        if not at or depth > MAX_DEPTH or self._left < 0:
            return "Any"
        name = self._named(at, _referred(schema))
        text = name if name is not None else self._spelt(at, depth)
        if at.get("nullable") is True:
            text = union([text, "None"])
        return text if len(text) <= MAX_TEXT else "Any"

    def _spelt(self, at: Mapping[str, Any], depth: int) -> str:
        if "const" in at:
            return literal([at["const"]]) or "Any"
        if "enum" in at:
            return literal(sequence(at["enum"])) or self._by_type(at, depth)
        for key in ("anyOf", "oneOf"):
            parts = sequence(at.get(key))
            if len(parts) > MAX_CHOICES:
                return "Any"
            if parts:
                return union([self.text(part, depth + 1) for part in parts])
        parts = sequence(at.get("allOf"))
        if len(parts) == 1:
            return self.text(parts[0], depth + 1)
        return self._by_type(at, depth)

    def _by_type(self, at: Mapping[str, Any], depth: int) -> str:
        kind = at.get("type")
        if isinstance(kind, list):
            kinds = [one for one in sequence(at["type"])[:MAX_CHOICES] if isinstance(one, str)]
            return union([self._by_type({**at, "type": one}, depth + 1) for one in kinds])
        if not isinstance(kind, str):
            kind = _guessed(at)
        if kind == "string":
            form = at.get("format")
            return GIVEN.get(form, "str") if self._given and isinstance(form, str) else "str"
        if kind == "array":
            inner = self.text(at.get("items"), depth + 1)
            return f"Sequence[{inner}]" if self._given else f"list[{inner}]"
        if kind == "object":
            inner = self.text(at.get("additionalProperties"), depth + 1)
            return f"Mapping[str, {inner}]" if self._given else f"dict[str, {inner}]"
        return SCALARS.get(kind, "Any")


def _referred(schema: object) -> str | None:
    pointer = mapping(schema).get("$ref")
    return pointer.rpartition("/")[2] if isinstance(pointer, str) else None


def _guessed(at: Mapping[str, Any]) -> str:
    if "properties" in at or "additionalProperties" in at:
        return "object"
    return "array" if "items" in at else ""


def literal(values: list[Any]) -> str | None:
    """``Literal[...]`` of *values*; None where Python has none for them."""
    texts = list[str]()
    for value in values[: MAX_CHOICES + 1]:
        if isinstance(value, bool | None) or (isinstance(value, int) and abs(value) < 1 << 63):
            texts.append(repr(value))
        elif isinstance(value, str) and len(value) <= 100:  # noqa: PLR2004 - a name, not a text
            texts.append(ascii(value))
        else:
            return None
    if not texts or len(values) > MAX_CHOICES:
        return None
    return f"Literal[{', '.join(dict.fromkeys(texts))}]"
