"""The ways in which one verb of one path can be called, as ``__call__`` of its class."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from downstage.services.description.arguments import Argument
from downstage.services.description.names import keyword_name
from downstage.services.description.operation import Operation
from downstage.services.description.stubs.models import Models
from downstage.services.description.stubs.naming import docstring, pascal
from downstage.services.description.stubs.preamble import OPTIONS

__all__ = ["Call", "Form", "call_lines", "forms"]

LINE = 120


@dataclass(frozen=True, slots=True)
class Call:
    """An operation, and the parameters of its path that a caller must still give."""

    operation: Operation
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """One signature."""

    positional: tuple[str, ...]
    keywords: tuple[str, ...]
    answer: str
    doc: str


def forms(call: Call, models: Models, own: Operation | None) -> list[Form]:
    """The signatures of *call*; *own* is the operation of the path itself, which comes first."""
    operation = call.operation
    title = pascal(operation.path, operation.method.lower())
    models.hint(title + "Answer")
    answer = operation.answer(models.answered)
    shape = operation.arguments
    given = [item for item in shape.items if item.where != "path"]
    apart = [item for item in given if item.where != "body"]
    used = {item.name for item in given} | {"self"}
    segments = _segments(call, models, used)
    models.hint(title + "Body")
    body = operation.body(models.given) if shape.media is not None else None
    doc = operation.doc
    models.hint(title)
    found = list[Form]()
    if body is None or shape.is_object:
        found.append(Form(segments, _keywords(given, models), answer, doc))
    if body is not None:
        default = "" if shape.body_required or shape.is_object else " = ..."
        wide = body if body == "Any" else f"{body} | Model"
        word = _free("body", used | {text.partition(":")[0] for text in segments})
        positional = (*segments, f"{word}: {wide}{default}")
        found.append(Form(positional, _keywords(apart, models), answer, doc))
    if call.parameters and _can_be_keywords(call, used, own) and (body is None or shape.is_object):
        named = [f"{name}: {_segment_type(call, name, models)}" for name in call.parameters]
        found.append(Form((), (*named, *_keywords(given, models)), answer, doc))
    return found


def _segments(call: Call, models: Models, used: set[str]) -> tuple[str, ...]:
    texts, taken = list[str](), set(used)
    for name in call.parameters:
        word = _free(keyword_name(name or "segment"), taken)
        taken.add(word)
        texts.append(f"{word}: {_segment_type(call, name, models)}")
    return tuple(texts)


def _free(name: str, used: Iterable[str]) -> str:
    while name in used:
        name += "_"
    return name


def _segment_type(call: Call, name: str, models: Models) -> str:
    for item in call.operation.arguments.items:
        if item.where == "path" and item.wire == name:
            text = models.given.text(item.schema)
            return "str | int" if text in ("Any", "None") else text
    return "str | int"


def _can_be_keywords(call: Call, used: set[str], own: Operation | None) -> bool:
    """Whether the path's parameters may be given by name: no other place must know the name."""
    names = call.parameters
    return len(set(names)) == len(names) and all(
        keyword_name(name) == name
        and name not in used
        and name not in OPTIONS
        and not (own is not None and own.knows(name))
        for name in names
    )


def _keywords(items: list[Argument], models: Models) -> tuple[str, ...]:
    ordered = sorted(items, key=lambda item: not item.required)
    texts = [
        f"{item.name}: {models.given.text(item.schema)}" + ("" if item.required else " = ...")
        for item in ordered
        if item.name not in OPTIONS
    ]
    return tuple(texts)


def call_lines(found: list[Form], *, is_async: bool) -> list[str]:
    """``__call__`` with the signatures *found*, without repetitions."""
    distinct = list({(form.positional, form.keywords): form for form in reversed(found)}.values())
    distinct.reverse()
    lines = list[str]()
    told = set[str]()
    for form in distinct:
        if len(distinct) > 1:
            lines.append("    @overload")
        lines += _head(form, "async def" if is_async else "def")
        if form.doc in told:
            lines[-1] += " ..."
        else:
            told.add(form.doc)
            lines.append(f"        {docstring(form.doc, ' ' * 8)}")
    return [*lines, ""]


def _head(form: Form, define: str) -> list[str]:
    used = {text.partition(":")[0] for text in (*form.positional, *form.keywords)}
    given = ["self", *form.positional]
    given += ["/"] if form.positional else []
    given += ["*", *form.keywords] if form.keywords else []
    given.append(f"**{_free('options', used)}: Unpack[Options]")
    start, end = f"    {define} __call__(", f") -> {form.answer}:"
    line = start + ", ".join(given) + end
    if len(line) <= LINE:
        return [line]
    return [start, *(f"        {one}," for one in given), f"    {end}"]
