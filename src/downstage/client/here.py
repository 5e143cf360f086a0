"""Short operations on files of this machine, without a way to the client's own loop and back.

The way costs ten times what the file does. Whoever blocks has a thread to do it in; whoever awaits
has a loop, on which all that one turn of it asks for shares one hop to a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakKeyDictionary

from downstage.client.base_urls import has_aliases
from downstage.client.types import FileStatus

if TYPE_CHECKING:
    from downstage.client.client import Client
    from downstage.client.places import Place
    from downstage.client.providers.file import FileProvider
    from downstage.client.providers.provider import Progress

__all__ = ["Here", "is_here"]

R = TypeVar("R")
SHORT = frozenset(
    f"downstage.client.operations.{name}"
    for name in ("listing.stat", "listing.list_", "listing.read_file", "writing.write_file")
) | {"downstage.client.operations.writing.write_file_ex"}
_names: dict[Callable[..., Any], bool] = {}


def is_here(operation: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether *operation* with *args* is short and asks for a file of this machine alone."""
    is_short = _names.get(operation)
    if is_short is None:
        name = f"{operation.__module__}.{operation.__name__}"
        is_short = _names[operation] = name in SHORT
    if not is_short or not args or has_aliases():
        return False
    url = args[0]
    if not isinstance(url, str):
        return False
    return (url.startswith("/") and not url.startswith("//")) or url[:5] == "file:"


class Here:
    """What such an operation sees in place of the whole client.

    Args:
        client: the whole.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._blocking: _Seen | None = None
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Seen] = WeakKeyDictionary()

    def run(self, operation: Callable[..., Coroutine[Any, Any, R]], args: Any, kwargs: Any) -> R:
        """Do *operation* in this thread."""
        if self._blocking is None:
            from downstage.client.providers.file import BlockingFiles

            self._blocking = _Seen(self._client, BlockingFiles())
        work = operation(self._blocking, *args, **kwargs)
        try:
            work.send(None)
        except StopIteration as ended:
            return cast("R", ended.value)
        work.close()
        raise RuntimeError("an operation on files of this machine waited for a loop")

    def begun(
        self, operation: Callable[..., Coroutine[Any, Any, R]], args: Any, kwargs: Any
    ) -> Coroutine[Any, Any, R]:
        """*operation*, to be awaited on the loop that runs here."""
        loop = asyncio.get_running_loop()
        seen = self._by_loop.get(loop)
        if seen is None:
            from downstage.client.providers.file import FileProvider

            seen = self._by_loop[loop] = _Seen(self._client, FileProvider())
        return operation(seen, *args, **kwargs)


class _Seen:
    """As much of a client as those operations use."""

    def __init__(self, client: Client, files: FileProvider) -> None:
        self.place = client.place
        self._progress = client.progress
        self._files = files

    async def provider(self, _: Place) -> FileProvider:
        """Files of this machine; whoever asks has looked that it is those."""
        return self._files

    def progress(self, url: str, status: FileStatus) -> Progress:
        """As `Client.progress`."""
        return self._progress(url, status)
