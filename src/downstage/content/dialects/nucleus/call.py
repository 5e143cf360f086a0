"""One command on its way: who asks, with what, and what may be answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from downstage.content.dialects.nucleus.desk import Desk
from downstage.content.model import Caller
from downstage.content.service import Content
from downstage.kernel.errors import InvalidField

__all__ = ["Answer", "Call", "Command", "Stream"]

MAX_ITEMS = 1000
"""Paths in one command."""
MAX_TEXT = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """One frame of an answer."""

    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    status: str = "OK"
    blob: bytes | None = None
    is_last: bool = False
    """Of a stream: nothing follows."""


@dataclass(frozen=True, slots=True)
class Call:
    """One command of a session that has authorised itself."""

    desk: Desk
    caller: Caller
    token: str
    """The caller's own access token: identity is asked with it."""
    base: str
    """``http(s)://host:port`` as this client dialled us."""
    arguments: dict[str, Any]
    blob: bytes | None = None

    @property
    def content(self) -> Content:
        """The domain."""
        return self.desk.content

    def get(self, name: str) -> object:
        """An argument; None where it is absent."""
        return self.arguments.get(name)

    def text(self, name: str) -> str:
        """A text; empty where it is absent.

        Raises:
            InvalidField: it is something else, or longer than 4096 characters.
        """
        value = self.arguments.get(name)
        if value is None:
            return ""
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise InvalidField(name, f"{name}: a text of at most {MAX_TEXT} characters.")
        return value

    def flag(self, name: str) -> bool:
        """A switch; off where it is absent."""
        return self.arguments.get(name) is True

    def items(self, name: str) -> Sequence[object]:
        """A list.

        Raises:
            InvalidField: it is none, or too long.
        """
        value = self.arguments.get(name)
        if not isinstance(value, list) or len(cast("list[object]", value)) > MAX_ITEMS:
            raise InvalidField(name, f"{name}: a list of at most {MAX_ITEMS}.")
        return cast("list[object]", value)

    def objects(self, name: str) -> list[dict[str, Any]]:
        """A list of objects.

        Raises:
            InvalidField: something in it is none.
        """
        found = self.items(name)
        if not all(isinstance(item, dict) for item in found):
            raise InvalidField(name, f"{name}: a list of objects.")
        return cast("list[dict[str, Any]]", list(found))


Command = Callable[[Call], Awaitable[Answer]]
Stream = Callable[[Call], AsyncIterator[Answer]]
