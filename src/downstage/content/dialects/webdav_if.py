"""The If header of WebDAV: lists of lock tokens and etags, of which one must hold."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from downstage.kernel.errors import InvalidInput

__all__ = ["Alternative", "State", "StateOf", "holds", "read_if", "tokens_of"]

MAX_IF = 8192
"""Characters of the header."""
MAX_CONDITIONS = 64
WORD = re.compile(
    r"\s*(?:(?P<open>\()|(?P<close>\))|(?P<not>Not\b)|<(?P<angle>[^<>\s]+)>"
    r"|\[(?P<etag>(?:W/)?\"[^\"]*\")\])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One condition: a lock token, or an etag with its quotes; or that it does not hold."""

    value: str
    is_etag: bool
    negated: bool


@dataclass(frozen=True, slots=True)
class Alternative:
    """Conditions that must all hold for *resource*; empty: what the request names."""

    resource: str
    wanted: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class State:
    """What conditions are held against; an empty etag: nothing is there."""

    etag: str
    tokens: frozenset[str]


StateOf = Callable[[str], Awaitable[State]]


def read_if(header: str) -> list[Alternative]:
    """The alternatives of an If header; none where there is no header.

    Raises:
        InvalidInput: it is out of form.
    """
    if not header.strip():
        return []
    if len(header) > MAX_IF:
        raise InvalidInput(f"An If header has at most {MAX_IF} characters.")
    found: list[Alternative] = []
    resource, place = "", 0
    while header[place:].strip():
        word = _word(header, place)
        place = word.end()
        if word["angle"]:
            resource = word["angle"]
        elif word["open"]:
            wanted, place = _read_list(header, place)
            found.append(Alternative(resource, wanted))
        else:
            raise _bad()
    if not found or sum(len(item.wanted) for item in found) > MAX_CONDITIONS:
        raise _bad()
    return found


def _read_list(header: str, place: int) -> tuple[tuple[Wanted, ...], int]:
    wanted: list[Wanted] = []
    negated = False
    while True:
        word = _word(header, place)
        place = word.end()
        if word["not"] and not negated:
            negated = True
        elif word["angle"] or word["etag"]:
            value = word["angle"] or word["etag"]
            wanted.append(Wanted(value, is_etag=bool(word["etag"]), negated=negated))
            negated = False
        elif word["close"] and wanted and not negated:
            return tuple(wanted), place
        else:
            raise _bad()


def _word(header: str, place: int) -> re.Match[str]:
    found = WORD.match(header, place)
    if found is None:
        raise _bad()
    return found


def _bad() -> InvalidInput:
    return InvalidInput("The If header is out of form.")


def tokens_of(alternatives: list[Alternative]) -> frozenset[str]:
    """Every lock token that the header submits."""
    return frozenset(
        wanted.value
        for alternative in alternatives
        for wanted in alternative.wanted
        if not wanted.is_etag
    )


async def holds(alternatives: list[Alternative], state_of: StateOf) -> bool:
    """Whether one of *alternatives* holds, or there is none."""
    states: dict[str, State] = {}
    for alternative in alternatives:
        name = alternative.resource
        if name not in states:
            states[name] = await state_of(name)
        if all(_fits(wanted, states[name]) for wanted in alternative.wanted):
            return True
    return not alternatives


def _fits(wanted: Wanted, state: State) -> bool:
    if wanted.is_etag:
        found = bool(state.etag) and wanted.value == f'"{state.etag}"'
    else:
        found = wanted.value in state.tokens
    return found != wanted.negated
