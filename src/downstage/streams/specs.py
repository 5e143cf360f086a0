"""What streams are described as: changed, checked, written and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, cast

import msgspec

from downstage.kernel.errors import InvalidField
from downstage.streams.model import Durability, Retention, StreamSpec

__all__ = ["change", "dump", "load"]

MOST_BYTES = 64 * 1024
MOST_TEXT = 4096
MOST_AGE_S = 100 * 365 * 86400
MEDIA = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}( *; *[\w.+-]{1,64}=[^\s;]{1,128})*")
FIELDS = frozenset(field.name for field in fields(StreamSpec))
RETENTION = frozenset(field.name for field in fields(Retention))
FULL = ("discard-old", "refuse-new")


def dump(spec: StreamSpec) -> bytes:
    """*spec* as JSON.

    Raises:
        InvalidField: it is too large, or holds what JSON cannot.
    """
    try:
        text = msgspec.json.encode(spec)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidField("spec", "A description must be JSON.") from error
    if len(text) > MOST_BYTES:
        raise InvalidField("spec", f"A description takes at most {MOST_BYTES} bytes as JSON.")
    return text


def load(text: bytes) -> StreamSpec:
    """The inverse of `dump`."""
    return msgspec.json.decode(text, type=StreamSpec)


def change(spec: StreamSpec, changes: Mapping[str, Any], *, whole: bool) -> StreamSpec:
    """*spec* with *changes*; *whole*: what they do not name goes back to its default.

    Raises:
        InvalidField: one of them is out of form.
    """
    unknown = changes.keys() - FIELDS
    if unknown:
        raise InvalidField(min(unknown)[:64], "A description has no such field.")
    base = StreamSpec() if whole else spec
    made = replace(
        base,
        **{name: _CHECKS[name](base, value) for name, value in changes.items()},
    )
    dump(made)
    return made


def _content_type(base: StreamSpec, value: Any) -> str | None:
    del base
    if value is None or (isinstance(value, str) and MEDIA.fullmatch(value)):
        return value
    raise InvalidField("content_type", "Give a media type, such as image/jpeg.")


def _schema(base: StreamSpec, value: Any) -> Mapping[str, Any] | None:
    del base
    return None if value is None else _mapping("schema", value)


def _description(base: StreamSpec, value: Any) -> str:
    del base
    if isinstance(value, str) and len(value) <= MOST_TEXT:
        return value
    raise InvalidField("description", f"Give at most {MOST_TEXT} characters.")


def _durability(base: StreamSpec, value: Any) -> Durability:
    del base
    try:
        return Durability(value)
    except ValueError:
        words = ", ".join(word.value for word in Durability)
        raise InvalidField("durability", f"Say one of {words}.") from None


def _meta(base: StreamSpec, value: Any) -> Mapping[str, Any]:
    return {**base.meta, **_mapping("meta", value)}


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    raise InvalidField(name, "Give an object.")


def _retention(base: StreamSpec, value: Any) -> Retention:
    if isinstance(value, Retention):
        return value
    changes = dict(_mapping("retention", value))
    unknown = changes.keys() - RETENTION
    if unknown:
        raise InvalidField(f"retention.{min(unknown)[:64]}", "Retention has no such field.")
    for name in ("count", "bytes"):
        if name in changes:
            _check_whole(name, changes[name])
    if "age" in changes:
        changes["age"] = _age(changes["age"])
    if changes.get("when_full", FULL[0]) not in FULL:
        raise InvalidField("retention.when_full", "Say discard-old or refuse-new.")
    return replace(base.retention, **changes)


def _check_whole(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 1 << 53:
        raise InvalidField(f"retention.{name}", "Give a whole number above 0.")


def _age(value: Any) -> timedelta | None:
    if value is None or isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidField("retention.age", "Give seconds.")
    if not 0 < value <= MOST_AGE_S:
        raise InvalidField("retention.age", "Give seconds, above 0.")
    return timedelta(seconds=value)


_CHECKS = {
    "content_type": _content_type,
    "schema": _schema,
    "description": _description,
    "durability": _durability,
    "retention": _retention,
    "meta": _meta,
}
