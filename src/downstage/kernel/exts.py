"""Settings given for extensions, ``exts."name".key``, before anybody knows what they mean.

Which keys an extension has, and of what kind, stands in its own manifest. So these are kept as
they came, each source apart; all else in settings is checked here and now.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import BaseModel, ConfigDict

from downstage.kernel.errors import SetupError

__all__ = ["VARIABLE", "Exts", "gather_exts", "parse_assignment"]

VARIABLE = "DOWNSTAGE_EXTS"
"""All of them as JSON; ``DOWNSTAGE_EXTS__NAME__KEY`` is one of them."""

Tree = dict[str, Any]


class Exts(BaseModel):
    """What each source says, weakest first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: dict[str, Any] = {}
    """Extension → tree, from the settings file."""
    whole: dict[str, Any] = {}
    """Extension → tree, from the variable that holds all."""
    environment: dict[str, str] = {}
    """Variable → text: which extension and key it means is not known yet."""
    command_line: dict[str, Any] = {}
    """Extension → tree of texts."""


def gather_exts(
    in_file: object, environment: Mapping[str, str], assigned: Iterable[tuple[list[str], str]]
) -> Exts:
    """Bring together what the settings file, variables and the command line say.

    Raises:
        SetupError: something is not of the form ``exts."name".key``.
    """
    whole = environment.get(VARIABLE)
    command_line = Tree()
    for key, text in assigned:
        if len(key) < 2:  # noqa: PLR2004 - extension and key
            raise SetupError('--set exts needs an extension and a key: exts."name".key=value.')
        node = command_line
        for part in key[:-1]:
            below: object = node.setdefault(part, {})
            if not isinstance(below, dict):
                raise SetupError(f"--set exts.{'.'.join(key)} lies below a plain value.")
            node = cast("Tree", below)
        node[key[-1]] = text
    return Exts(
        file=_tables(in_file, "the settings file") if in_file else {},
        whole=_tables(_json(whole), f"the variable {VARIABLE}") if whole else {},
        environment={k: v for k, v in environment.items() if k.startswith(f"{VARIABLE}__")},
        command_line=command_line,
    )


def parse_assignment(text: str) -> tuple[list[str], str]:
    """Key and value of ``exts."a.b".c=value`` or ``/exts/a.b/c=value``.

    Raises:
        SetupError: it is neither.
    """
    key, equals, value = text.partition("=")
    hint = "write --set 'exts.\"name\".key=value', or --/exts/name/key=value"
    if not equals:
        raise SetupError(f"{text[:80]!r} sets nothing: {hint}.")
    if key.startswith("/"):
        parts = [part for part in key.split("/") if part]
    else:
        parts = _toml_key(key.strip(), hint)
    if not parts:
        raise SetupError(f"{text[:80]!r} sets nothing: {hint}.")
    return parts, _unquoted(value)


def _toml_key(key: str, hint: str) -> list[str]:
    try:
        node: object = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{key[:80]!r} is no key: {hint}.") from error
    parts = list[str]()
    while isinstance(node, dict):
        table = cast("dict[str, object]", node)
        part, node = next(iter(table.items()))
        parts.append(part)
    return parts


def _unquoted(value: str) -> str:
    """A quoted value without its quotes, as TOML has them."""
    if value[:1] not in ('"', "'"):
        return value
    try:
        return str(tomllib.loads(f"v = {value}")["v"])
    except tomllib.TOMLDecodeError:
        return value


def _json(text: str) -> object:
    try:
        return cast("object", json.loads(text))
    except ValueError as error:
        raise SetupError(f"The variable {VARIABLE} is not JSON: {error}.") from error


def _tables(found: object, source: str) -> Tree:
    if not isinstance(found, dict):
        raise SetupError(f"exts in {source} must be a table of tables.")
    tables = cast("dict[str, object]", found)
    for name, tree in tables.items():
        if not isinstance(tree, dict):
            raise SetupError(
                f'exts.{name} in {source} is no table. Names with dots need quotes: [exts."a.b"].'
            )
    return tables
