"""What an operation can be called with: its parameters, and the fields of its body."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from downstage.services.description.names import clean_text, keyword_name
from downstage.services.description.references import References, mapping, sequence

__all__ = [
    "FORMS",
    "Argument",
    "Arguments",
    "Where",
    "is_json",
    "json_schema",
    "properties",
    "read_arguments",
]

Where = Literal["path", "query", "header", "cookie", "body"]

MAX_ARGUMENTS = 512
MAX_SCHEMAS = 256
"""Parts of ``allOf`` and its like, within which fields are looked for."""
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
OURS = re.compile(
    "accept(-encoding)?|authorization|connection|content-(encoding|length|type)|cookie|expect"
    "|forwarded|host|keep-alive|origin|proxy-.*|referer|te|trailer|transfer-encoding|upgrade|via",
    re.IGNORECASE,
)
"""Headers that a description has no say in: they frame the request or carry who is asking."""
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


@dataclass(frozen=True, slots=True)
class Argument:
    """One thing that a caller may give."""

    name: str
    """As a keyword argument of Python."""
    wire: str
    """As the request has it."""
    where: Where
    schema: Mapping[str, Any]
    required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """All that an operation may be called with."""

    items: tuple[Argument, ...]
    """Names are unique, except that a path's may come again in the body."""
    media: str | None
    """Content type of the body; None: it takes none."""
    body: Mapping[str, Any]
    """Schema of the body; empty where unknown."""
    body_required: bool
    by_keyword: Mapping[str, Argument] = field(default_factory=dict[str, Argument])
    """Every spelling that is understood; path parameters are not among them."""

    @property
    def is_object(self) -> bool:
        """Whether the body has fields that can be given as keywords."""
        return any(item.where == "body" for item in self.items)


def read_arguments(raw: Mapping[str, Any], references: References) -> Arguments:
    """Read the parameters and the body of operation object *raw*; out of form is left out."""
    found = list(_parameters(raw, references))
    media, schema, required = _body(raw, references)
    found += _fields(schema, references, required=required)
    items = tuple(_unique(found[:MAX_ARGUMENTS]))
    return Arguments(items, media, schema, required, _spellings(items))


def _parameters(raw: Mapping[str, Any], references: References) -> Iterator[Argument]:
    seen = set[tuple[str, str]]()
    for entry in sequence(raw.get("parameters"))[: 2 * MAX_ARGUMENTS]:
        parameter = references.resolve(entry)
        wire, where = parameter.get("name"), parameter.get("in")
        if not isinstance(wire, str) or where not in ("path", "query", "header", "cookie"):
            continue
        if where in ("header", "cookie") and not _is_ours_to_send(wire, where):
            continue
        if (wire, where) in seen:
            continue
        seen.add((wire, where))
        yield Argument(
            keyword_name(wire.lower() if where == "header" else wire),
            wire,
            where,
            _schema_of(parameter),
            where == "path" or parameter.get("required") is True,
            clean_text(parameter.get("description"), 500),
        )


def _is_ours_to_send(wire: str, where: str) -> bool:
    """A name that ends a header and begins another, or that frames the request, is none."""
    return TOKEN.fullmatch(wire) is not None and not (where == "header" and OURS.fullmatch(wire))


def _schema_of(parameter: Mapping[str, Any]) -> Mapping[str, Any]:
    schema = mapping(parameter.get("schema"))
    if schema or "content" not in parameter:
        return schema or parameter  # version 2 has the type on the parameter itself
    first = next(iter(mapping(parameter["content"]).values()), None)
    return mapping(mapping(first).get("schema"))


def _body(
    raw: Mapping[str, Any], references: References
) -> tuple[str | None, Mapping[str, Any], bool]:
    request = references.resolve(raw.get("requestBody"))
    content = mapping(request.get("content"))
    media = _preferred(content)
    if media is None:
        return None, {}, False
    schema = mapping(mapping(content[media]).get("schema"))
    return media, schema, request.get("required") is True


def _preferred(content: Mapping[str, Any]) -> str | None:
    """JSON before forms before anything else."""
    names = [name for name in content if isinstance(name, str)]  # pyright: ignore[reportUnnecessaryIsInstance]
    return min(names, key=_rank, default=None)


def _rank(name: str) -> int:
    media = name.partition(";")[0].strip().lower()
    return 0 if is_json(media) else 1 if "*" in media else 2 if media in FORMS else 3


def is_json(media: str) -> bool:
    """Whether a media type, in lower case and without parameters, is JSON."""
    return media == "application/json" or media.endswith("+json")


def json_schema(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of the JSON form of *content*; None where it has none."""
    for name, form in content.items():
        if is_json(str(name).partition(";")[0].strip().lower()):
            return mapping(mapping(form).get("schema"))
    return None


def _fields(
    schema: Mapping[str, Any], references: References, *, required: bool
) -> Iterator[Argument]:
    known, needed = properties(schema, references)
    for wire, form in known.items():
        text = clean_text(references.resolve(form).get("description"), 500)
        yield Argument(keyword_name(wire), wire, "body", form, required and wire in needed, text)


def properties(
    schema: Mapping[str, Any], references: References
) -> tuple[dict[str, Mapping[str, Any]], set[str]]:
    """Fields of an object schema and which it demands, ``allOf`` and unions taken together."""
    found, needed = dict[str, Mapping[str, Any]](), set[str]()
    waiting = deque[tuple[object, bool]]([(schema, True)])
    for _ in range(MAX_SCHEMAS):
        if not waiting or len(found) > MAX_ARGUMENTS:
            break
        given, counts = waiting.popleft()
        at = references.resolve(given)
        for name, form in mapping(at.get("properties")).items():
            found.setdefault(str(name), mapping(form))
        if counts:
            needed |= {name for name in sequence(at.get("required")) if isinstance(name, str)}
        for key, still_counts in (("allOf", counts), ("anyOf", False), ("oneOf", False)):
            waiting.extend((part, still_counts) for part in sequence(at.get(key))[:MAX_SCHEMAS])
    return dict(list(found.items())[:MAX_ARGUMENTS]), needed


def _unique(found: list[Argument]) -> Iterator[Argument]:
    """One keyword, one place: names that Python spells alike gain a number."""
    placed = dict[str, Argument]()
    for item in found:
        if item.where == "path":
            yield item
        else:
            placed.setdefault(item.wire, item)  # a parameter comes before the body's field
    taken = {item.name for item in placed.values() if item.name == item.wire}
    for item in placed.values():
        name, number = item.name, 2
        while name != item.wire and name in taken:
            name, number = f"{item.name}_{number}", number + 1
        taken.add(name)
        yield replace(item, name=name)


def _spellings(items: tuple[Argument, ...]) -> dict[str, Argument]:
    placed = [item for item in items if item.where != "path"]
    known = {item.wire: item for item in placed}
    for item in placed:
        known.setdefault(item.name, item)
    return known
