"""Objects of a description as `TypedDict` classes."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from downstage.services.description.arguments import properties
from downstage.services.description.names import clean_text
from downstage.services.description.references import References, sequence
from downstage.services.description.stubs.naming import Names, docstring, pascal
from downstage.services.description.types import Types, literal

__all__ = ["Models"]

MAX_MODELS = 20_000
INLINE_DEPTH = 8
"""Objects within objects that get a name of their own; deeper ones are any mapping."""


@dataclass(slots=True)
class _Model:
    name: str
    schema: Mapping[str, Any]
    depth: int
    fields: dict[str, str]
    """Field → its type."""


class Models:
    """Names objects as types ask for them, and writes their classes in the end."""

    def __init__(self, references: References, names: Names) -> None:
        self._references = references
        self._names = names
        self._models = dict[int, _Model]()
        self._aliases = dict[int, tuple[str, str]]()
        self._waiting = list[_Model]()
        self._hint = ""
        self._depth = 0
        self.given = Types(references, self._named, given=True)
        """Of what callers give."""
        self.answered = Types(references, self._named, given=False)
        """Of what answers hold."""

    def hint(self, name: str) -> None:
        """What objects without a name of their own are called from now on."""
        self._hint, self._depth = name, 0

    def _named(self, schema: Mapping[str, Any], referred: str | None) -> str | None:
        key = id(schema)
        if key in self._models:
            return self._models[key].name
        if key in self._aliases:
            return self._aliases[key][0]
        if referred is not None and "enum" in schema:
            choices = literal(sequence(schema["enum"]))
            if choices is not None:
                name = self._names.take(pascal(referred))
                self._aliases[key] = (name, choices)
                return name
        return self._object(schema, referred)

    def _object(self, schema: Mapping[str, Any], referred: str | None) -> str | None:
        has_fields = "properties" in schema or len(sequence(schema.get("allOf"))) > 1
        depth = 0 if referred is not None else self._depth
        if not has_fields or depth > INLINE_DEPTH or len(self._models) >= MAX_MODELS:
            return None
        if not any(properties(schema, self._references)[0]):
            return None
        wanted = pascal(referred) if referred is not None else self._hint
        model = _Model(self._names.take(wanted), schema, depth, {})
        self._models[id(schema)] = model
        self._waiting.append(model)
        return model.name

    def finish(self) -> None:
        """Find the types of all fields; nothing may be named afterwards."""
        while self._waiting:
            model = self._waiting.pop()
            known, needed = properties(model.schema, self._references)
            for field, form in known.items():
                if not field:
                    continue  # no key of a TypedDict
                self._hint, self._depth = pascal(model.name, field), model.depth + 1
                text = self.answered.text(form)
                model.fields[field] = text if field in needed else f"NotRequired[{text}]"

    def lines(self) -> list[str]:
        """The classes, by name."""
        found = [
            (name, [f"{name}: TypeAlias = {text}", ""]) for name, text in self._aliases.values()
        ]
        found += [(model.name, self._class(model)) for model in self._models.values()]
        return [line for _, lines in sorted(found, key=lambda pair: pair[0]) for line in lines]

    def _class(self, model: _Model) -> list[str]:
        if any(not self._is_plain(field) for field in model.fields):
            members = [f"        {field!a}: {text}," for field, text in model.fields.items()]
            return [
                f"{model.name} = TypedDict(",
                f'    "{model.name}",',
                "    {",
                *members,
                "    },",
                ")",
                "",
            ]
        lines = [f"class {model.name}(TypedDict):"]
        text = clean_text(model.schema.get("description"), 2000)
        if text:
            lines += [f"    {docstring(text, '    ')}", ""]
        return [*lines, *(f"    {field}: {text}" for field, text in model.fields.items()), ""]

    def _is_plain(self, field: str) -> bool:
        """Whether *field* can be written in a class, where it hides no type that is named there."""
        return (
            field.isidentifier()
            and not field.startswith("__")
            and field not in self._names.taken
            and unicodedata.normalize("NFKC", field) == field
        )
