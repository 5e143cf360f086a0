"""One operation of a description: where its arguments go, what it is called with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from downstage.services.description.arguments import (
    FORMS,
    Argument,
    Arguments,
    is_json,
    json_schema,
    read_arguments,
)
from downstage.services.description.names import clean_text, keyword_name
from downstage.services.description.references import NOTHING, References, mapping
from downstage.services.description.types import Types, union

__all__ = ["Match", "Operation", "Placed", "Step"]

NO_REFERENCES = References(NOTHING)
MAX_DOC = 16_000
MAX_ANSWERS = 32


@dataclass(frozen=True, slots=True)
class Step:
    """One segment as the caller wrote it."""

    text: str
    literal: bool
    """From ``client["a_b"]`` or a positional argument: taken verbatim, no dashes put in."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Keyword arguments of a call, sorted by where they go. Values are as the caller gave them."""

    query: dict[str, Any] = field(default_factory=dict[str, Any])
    headers: dict[str, Any] = field(default_factory=dict[str, Any])
    cookies: dict[str, Any] = field(default_factory=dict[str, Any])
    body: dict[str, Any] = field(default_factory=dict[str, Any])


class _Words(str):
    """A type's text, shown in a signature without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    """Upper case."""
    path: str
    """Template, for example ``/v1/sessions/{session_id}``."""
    summary: str
    description: str
    raw: Mapping[str, Any]
    """The operation object with its path's parameters, references resolved where needed."""
    references: References = field(default=NO_REFERENCES, repr=False, compare=False)
    """Where the references in `raw` lead."""
    _arguments: Arguments | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def arguments(self) -> Arguments:
        """What it can be called with; read at first use."""
        if self._arguments is None:
            found = read_arguments(self.raw, self.references)
            object.__setattr__(self, "_arguments", found)
            return found
        return self._arguments

    @property
    def media(self) -> str | None:
        """Content type of the body; None where the operation names none."""
        return self.arguments.media

    def knows(self, keyword: str) -> bool:
        """Whether *keyword* is a query, header or cookie parameter or a field of the body."""
        return keyword in self.arguments.by_keyword

    def place(self, keywords: Mapping[str, Any]) -> Placed:
        """Sort *keywords* into query, headers, cookies and body.

        A header parameter ``X-Mark`` is given as ``x_mark``; a name that the operation does not
        know goes to the query for GET (and HEAD), to the body else.
        """
        placed = Placed()
        boxes = {
            "query": placed.query,
            "header": placed.headers,
            "cookie": placed.cookies,
            "body": placed.body,
        }
        else_ = placed.query if self.method in ("GET", "HEAD") else placed.body
        known = self.arguments.by_keyword
        for name, value in keywords.items():
            argument = known.get(name)
            if argument is None:
                else_[name] = value
            else:
                boxes[argument.where][argument.wire] = value
        return placed

    def signature(self) -> inspect.Signature:
        """For IPython: keyword parameters with types and defaults."""
        types = Types(self.references, _object_name, given=True)
        shape = self.arguments
        parameters = list[inspect.Parameter]()
        if shape.media is not None and not shape.is_object:
            default = inspect.Parameter.empty if shape.body_required else None
            parameters.append(
                inspect.Parameter(
                    "body",
                    inspect.Parameter.POSITIONAL_ONLY,
                    annotation=_Words(self.body(types)),
                    default=default,
                )
            )
        given = [item for item in shape.items if item.where != "path"]
        parameters += [
            self._parameter(item, types) for item in sorted(given, key=lambda i: not i.required)
        ]
        answered = Types(self.references, _object_name, given=False)
        return inspect.Signature(parameters, return_annotation=_Words(self.answer(answered)))

    def _parameter(self, item: Argument, types: Types) -> inspect.Parameter:
        default: Any = inspect.Parameter.empty
        if not item.required:
            default = self.references.resolve(item.schema).get("default")
            if not isinstance(default, str | int | float | bool | None):
                default = _Words("...")
        return inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=_Words(types.text(item.schema)),
            default=default,
        )

    def body(self, types: Types) -> str:
        """The type of the body, in words."""
        media = (self.media or "").partition(";")[0].strip().lower()
        if is_json(media) or media in FORMS or "*" in media:
            return types.text(self.arguments.body)
        return "str" if media.startswith("text/") else "bytes"

    def answer(self, types: Types) -> str:
        """The type of a good answer, in words."""
        found = list[str]()
        for status, entry in list(mapping(self.raw.get("responses")).items())[:MAX_ANSWERS]:
            if str(status).startswith("2"):
                content = mapping(self.references.resolve(entry).get("content"))
                found.append(_answer_type(str(status), content, types))
        return union(found)

    @property
    def doc(self) -> str:
        """Docstring: summary, description, parameters, answers."""
        parts = [clean_text(self.summary, 500) or f"{self.method} {clean_text(self.path, 500)}"]
        text = clean_text(self.description)
        if text and text != parts[0]:
            parts.append(text)
        if clean_text(self.summary, 500):
            parts.append(f"{self.method} {clean_text(self.path, 500)}")
        lines = [self._line(item) for item in self.arguments.items]
        if lines:
            parts.append("\n".join(["Args:", *lines]))
        answers = self._answers()
        if answers:
            parts.append("\n".join(["Answers:", *answers]))
        return clean_text("\n\n".join(parts), MAX_DOC)

    def _line(self, item: Argument) -> str:
        where = "" if item.where == "body" else f"{item.where}, "
        need = "required" if item.required else "optional"
        text = " ".join(item.description.split())
        return f"    {item.name} ({where}{need})" + (f": {text}" if text else "")

    def _answers(self) -> list[str]:
        lines = list[str]()
        for status, entry in list(mapping(self.raw.get("responses")).items())[:MAX_ANSWERS]:
            text = clean_text(self.references.resolve(entry).get("description"), 300)
            lines.append(f"    {clean_text(str(status), 10)}: {' '.join(text.split())}")
        return lines


def _object_name(schema: Mapping[str, Any], referred: str | None) -> str | None:
    """Objects by the name that the document has for them: signatures stay short."""
    return keyword_name(referred) if referred and "properties" in schema else None


def _answer_type(status: str, content: Mapping[str, Any], types: Types) -> str:
    schema = json_schema(content)
    if schema is not None:
        return types.text(schema)
    if not content:
        return "None" if status in ("204", "205") else "Any"
    media = next(iter(content)).partition(";")[0].strip().lower()
    if media == "application/octet-stream":
        return "bytes"
    return "str" if media.startswith("text/") else "Any"


@dataclass(frozen=True, slots=True)
class Match:
    """What a call means."""

    method: str
    """Upper case."""
    segments: tuple[str, ...]
    """Of the URL, not yet percent-encoded. An empty last one is the described path's slash."""
    operation: Operation | None
    """None: the description does not know it, the plain rules hold."""
    path_keywords: frozenset[str] = frozenset()
    """Keywords of the call that became segments."""
