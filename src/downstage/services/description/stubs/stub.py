"""Writes the stub: a class for each place of the tree, another for each verb there."""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from downstage.services.description.lazy import LazyObject
from downstage.services.description.names import attribute_name, clean_text, is_attribute
from downstage.services.description.operation import Operation
from downstage.services.description.references import References, mapping
from downstage.services.description.stubs.calls import Call, Form, call_lines, forms
from downstage.services.description.stubs.models import Models
from downstage.services.description.stubs.naming import IMPORTED, Names, docstring, pascal
from downstage.services.description.stubs.preamble import BASES, OUR_NAMES, RESERVED
from downstage.services.description.template import Template, split_path
from downstage.services.description.tree import Description

__all__ = ["write_stub"]

VERBS = ("get", "post", "put", "delete", "patch")
SUFFIXES = frozenset({"curl", "download", "pages", "stream", "upload"})
SOCKET = "ws"
COMMENTS = (
    "# Ids and bodies may both be given in one place; not every import is needed by every service.",
    "# pyright: reportOverlappingOverload=false, reportUnusedImport=false",
    "# ruff: noqa",
)
MAX_CHAIN = 4
"""Parameters that one call may still be given, one after another."""


@dataclass(slots=True)
class _Place:
    path: str = ""
    literals: dict[str, _Place] = field(default_factory=dict[str, "_Place"])
    parameter: _Place | None = None
    operations: dict[str, Operation] = field(default_factory=dict[str, Operation])
    """By verb."""
    name: str = ""
    verbs: dict[str, str] = field(default_factory=dict[str, str])
    """Verb → its class."""
    forms: dict[str, list[Form]] = field(default_factory=dict[str, "list[Form]"])
    """Verb → its signatures, its own and those of the parameters next below."""

    def attributes(self) -> dict[str, _Place]:
        """Literals that an attribute reaches: where two are alike, the exact one alone."""
        groups = dict[str, list[str]]()
        for part in self.literals:
            groups.setdefault(attribute_name(part), []).append(part)
        found = dict[str, _Place]()
        for name, parts in groups.items():
            meant = name if name in parts else parts[0] if len(parts) == 1 else None
            if meant is not None and is_attribute(name) and name not in RESERVED:
                found[name] = self.literals[meant]
        return found

    def below(self) -> Iterator[_Place]:
        """Places next below, in the order of the document."""
        yield from self.literals.values()
        if self.parameter is not None:
            yield self.parameter

    def calls(self, verb: str) -> Iterator[Call]:
        """What *verb* does here, and with one parameter more, and two."""
        names, at = (), self
        for _ in range(MAX_CHAIN + 1):
            operation = at.operations.get(verb)
            if operation is not None:
                parts = split_path(operation.path.rstrip("/") or "/") or []
                yield Call(operation, tuple(_names(parts[len(parts) - len(names) :])))
            if at.parameter is None:
                return
            names, at = (*names, ""), at.parameter


def _names(parts: list[str]) -> Iterator[str]:
    for part in parts:
        template = Template.of(part)
        # A segment with two parameters, or with text around one, is given as it is to be sent.
        yield template.names[0] if template is not None and template.is_whole else ""


def write_stub(document: Mapping[str, Any], *, name: str = "Client") -> str:
    """The text of a ``.pyi`` with the classes *name* and ``Async`` + *name* for *document*.

    It declares and does nothing else, whatever the document says. The same document gives the
    same text.

    Raises:
        ValueError: *name* cannot be the name of a class.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii():
        raise ValueError(f"{name!r} cannot be the name of a class")
    if isinstance(document, LazyObject):
        document = document.plain()  # models are told apart by identity
    description = Description.from_document(document)
    root = _planted(description)
    places = list(_walk(root))
    attributes = {name for place in places for name in place.attributes()}
    names = Names([*attributes, *OUR_NAMES, name, f"Async{name}"])
    models = Models(References(document), names)
    for place in places:
        _name(place, names)
        for verb in place.verbs:
            for call in place.calls(verb):
                own = place.operations.get(verb)
                place.forms.setdefault(verb, []).extend(forms(call, models, own))
    models.finish()
    lines = [*_head(document), *BASES, *models.lines()]
    for prefix in ("Async", ""):
        for place in reversed(places):
            lines += _verb_classes(place, prefix)
            lines += _resource(place, prefix, client=name if place is root else None)
    return "\n".join(lines).rstrip() + "\n"


def _planted(description: Description) -> _Place:
    root = _Place()
    for operation in description.operations:
        verb = operation.method.lower()
        parts = split_path(operation.path)
        if verb not in VERBS or parts is None:
            continue
        place = root
        for part in parts[:-1] if parts and parts[-1] == "" else parts:
            path = f"{place.path}/{part}"
            if Template.of(part) is None:
                place = place.literals.setdefault(part, _Place(path))
            else:
                place.parameter = place.parameter or _Place(path)
                place = place.parameter
        place.operations.setdefault(verb, operation)
    return root


def _walk(root: _Place) -> Iterator[_Place]:
    waiting = [root]
    while waiting:
        place = waiting.pop()
        yield place
        waiting.extend(reversed(list(place.below())))


def _name(place: _Place, names: Names) -> None:
    """Class names, in their blocking form; the others have `Async` before."""
    place.name = _taken(names, pascal(place.path) + "Resource")
    for verb in VERBS:
        if any(True for _ in place.calls(verb)):
            place.verbs[verb] = _taken(names, pascal(place.path, verb))


def _taken(names: Names, wanted: str) -> str:
    name = names.take(wanted)
    while f"Async{name}" in names.taken:
        name = names.take(wanted)
    names.taken.add(f"Async{name}")
    return name


def _head(document: Mapping[str, Any]) -> list[str]:
    info = mapping(document.get("info"))
    title = clean_text(info.get("title"), 200).replace("\n", " ") or "a service"
    version = clean_text(info.get("version"), 50).replace("\n", " ")
    text = (
        f"Types of {title} {version}".rstrip() + ".\n\nWritten by `downstage stubs`: write it anew."
    )
    lines = [docstring(text, ""), "", *COMMENTS, ""]
    for module, imported in IMPORTED.items():
        lines.append(f"from {module} import {', '.join(imported)}")
    return [*lines, ""]


def _verb_classes(place: _Place, prefix: str) -> Iterator[str]:
    attributes = place.attributes()
    for verb, name in place.verbs.items():
        under = attributes.get(verb)
        bases = list[str]()
        if under is None or not SUFFIXES & under.attributes().keys():
            bases.append(f"{prefix}Verb")
        if under is not None:
            bases.append(prefix + under.name)
        yield f"class {prefix}{name}({', '.join(bases)}):"
        yield from call_lines(place.forms[verb], is_async=prefix != "")


def _resource(place: _Place, prefix: str, *, client: str | None) -> list[str]:
    attributes = place.attributes()
    if client is not None:
        base = f"({prefix}Base)"
    else:
        base = "" if SOCKET in attributes else f"({prefix}Resource)"
    lines = [f"class {prefix}{client or place.name}{base}:"]
    lines.append(f"    {docstring(place.path or '/', '    ')}")
    reached = {id(below): name for name, below in attributes.items()}
    for verb, name in place.verbs.items():
        lines.append(f"    {verb}: {prefix}{name}")
    for name, below in attributes.items():
        if name not in place.verbs and not (client is not None and name in ("stop", "stop_async")):
            lines.append(f"    {name}: {prefix}{below.name}")
    lines += _items(place, prefix, reached)
    return [*lines, ""]


def _items(place: _Place, prefix: str, reached: Mapping[int, str]) -> list[str]:
    """``__getitem__``: for what no attribute reaches, and for ids."""
    signatures = [
        f"(self, segment: Literal[{part!a}], /) -> {prefix}{below.name}: ..."
        for part, below in place.literals.items()
        if place.parameter is not None or id(below) not in reached
    ]
    if place.parameter is not None:
        signatures.append(f"(self, segment: Segment, /) -> {prefix}{place.parameter.name}: ...")
    lines = list[str]()
    for signature in signatures:
        if len(signatures) > 1:
            lines.append("    @overload")
        lines.append(f"    def __getitem__{signature}")
    return lines
