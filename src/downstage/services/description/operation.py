"""One operation of a description: where its arguments go, what it is called with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Match", "Operation", "Placed", "Step"]


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
    """The operation object, references resolved where they are needed."""

    def place(self, keywords: Mapping[str, Any]) -> Placed:
        """Sort *keywords* into query, headers, cookies and body.

        A header parameter ``X-Mark`` is given as ``x_mark``; a name that the operation does not
        know goes to the query for GET (and HEAD), to the body else.
        """
        raise NotImplementedError

    def signature(self) -> inspect.Signature:
        """For IPython: keyword parameters with types and defaults."""
        raise NotImplementedError

    @property
    def doc(self) -> str:
        """Docstring: summary, description, parameters, answers."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Match:
    """What a call means."""

    method: str
    """Upper case."""
    segments: tuple[str, ...]
    """Of the URL, not yet percent-encoded."""
    operation: Operation | None
    """None: the description does not know it, the plain rules hold."""
    path_keywords: frozenset[str] = frozenset()
    """Keywords of the call that became segments."""
