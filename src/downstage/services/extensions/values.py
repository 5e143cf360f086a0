"""Values of settings: text from variables and command lines becomes what its default is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from downstage.kernel.errors import SetupError

__all__ = ["ABSENT", "Text", "as_texts", "convert", "convert_all"]

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
Tree = dict[str, Any]
ABSENT = object()
"""Stands for a default that there is not."""


class Text(str):
    """A value that came as text and still has to become what its default is."""

    __slots__ = ()


def as_texts(tree: Mapping[str, Any]) -> Tree:
    """*tree* with each plain value as a `Text`."""
    return {
        key: as_texts(cast("Tree", value)) if isinstance(value, dict) else Text(value)
        for key, value in tree.items()
    }


def convert(value: object, like: object) -> Any:
    """*value* as the kind that *like* is; text of variables and command lines is read.

    Raises:
        ValueError: it is no such thing; says what it should be.
    """
    if not isinstance(value, Text):
        return _checked(value, like)
    text = str(value)
    match like:
        case bool():
            read: object = _truth(text)
        case int():
            read = _number(text, int, "a whole number")
        case float():
            read = _number(text, float, "a number")
        case str():
            read = text
        case list() | dict():
            read = _from_json(text, cast("list[object] | dict[str, object]", like))
        case _:
            read = _guessed(text)
    return read


def _guessed(text: str) -> object:
    try:
        return cast("object", json.loads(text))
    except ValueError:
        return text


def _checked(value: object, like: object) -> object:
    """Refuse a value of another kind; a whole number may stand for a number."""
    if like is None or like is ABSENT:
        return value
    if isinstance(like, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    same = isinstance(value, type(like)) and isinstance(value, bool) == isinstance(like, bool)
    if not same:
        raise ValueError(f"must be {_KINDS.get(type(like), 'of another kind')}")
    return value


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}


def _truth(text: str) -> bool:
    if text.strip().lower() in TRUE | FALSE:
        return text.strip().lower() in TRUE
    raise ValueError("must be true or false")


def _number(text: str, kind: type[int] | type[float], what: str) -> float:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"must be {what}") from None


def _from_json(text: str, like: list[object] | dict[str, object]) -> object:
    try:
        found = cast("object", json.loads(text))
    except ValueError:
        found = [item.strip() for item in text.split(",") if item.strip()]
    return _checked(found, like)


def convert_all(
    tree: Mapping[str, Any], like: object, place: str, source: str, *, strict: bool = True
) -> Tree:
    """*tree* with each value as the kind of its default.

    Raises:
        SetupError: where *strict*, a value is of another kind.
    """
    table = cast("Tree", like) if isinstance(like, dict) else Tree()
    done = Tree()
    for key, value in tree.items():
        default: object = table.get(key, ABSENT)
        if isinstance(value, dict) and (default is ABSENT or isinstance(default, dict)):
            inner = cast("Tree", value)
            done[key] = convert_all(inner, table.get(key), f"{place}.{key}", source, strict=strict)
            continue
        try:
            done[key] = convert(cast("object", value), default)
        except ValueError as error:
            if strict:
                raise SetupError(f"{place}.{key} {error} ({source}).") from error
    return done
