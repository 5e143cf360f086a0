"""`Client`: the blocking twin of `AsyncClient`, for scripts, notebooks and threads.

Its calls run in an event loop of their own, in one thread for all clients of a process: so it may
be used where no loop runs, beside one that does, and from several threads. ``local://``
applications are run in that loop, too.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, Self, TypeVar, cast

from downstage.services.client.authorization import Authorization, Authorize
from downstage.services.client.catalog import DescriptionChoice
from downstage.services.client.client import Schemes, read_auth, read_retries
from downstage.services.client.curl import to_curl
from downstage.services.client.engine import Engine, Options
from downstage.services.client.events import Event
from downstage.services.client.hooks import Hook
from downstage.services.client.node import CACHED_NODES, Node, names_below
from downstage.services.client.pages import iterate_pages
from downstage.services.client.portal import Portal, Session, let_go, take
from downstage.services.client.retry import Retry
from downstage.services.client.sockets import CallSocket
from downstage.services.client.streaming import CallStream
from downstage.services.client.target import Target
from downstage.services.client.transfer import download, upload
from downstage.services.description import Description
from downstage.services.transports import SocketClosed

__all__ = ["BlockingSocket", "BlockingStream", "Client"]

T = TypeVar("T")
_END = object()


class Client(metaclass=Schemes):
    """Calls one service and waits for the answer; arguments as of `AsyncClient`.

    Where that gives something to await, this gives the result; where that gives something to
    enter or to iterate over asynchronously, this gives the same without ``async``. `stop` ends
    the thread with the last client; a later call starts it again.
    """

    def __init__(
        self,
        uri: str,
        app: Any = None,
        api_version: str | None = None,
        persist_connections: bool = True,
        raise_for_status: bool = True,
        *,
        timeout_s: float | None = 60.0,
        read_timeout_s: float | None = 60.0,
        token: str | Authorize | None = None,
        auth: Authorization | None = None,
        headers: Mapping[str, str] | None = None,
        retries: int | Retry = 2,
        hooks: Sequence[Hook] = (),
        description: DescriptionChoice = "auto",
    ) -> None:
        del api_version, persist_connections
        options = Options(
            raise_for_status, timeout_s, read_timeout_s, read_retries(retries), headers,
            (*read_auth(token, auth), *hooks),
        )  # fmt: skip
        self._performer = Performer(Engine(uri, app, options, description))
        self._root = Node(self._performer, Target(()))

    def __getattr__(self, name: str) -> Node:
        if name.startswith("_"):
            raise AttributeError(name)
        node = cast("Node", getattr(self._root, name))
        if len(self.__dict__) < CACHED_NODES:
            vars(self)[name] = node
        return node

    def __getitem__(self, segment: object) -> Node:
        return self._root[segment]

    def __call__(self, /, *arguments: object, **keywords: Any) -> Any:
        """A call of the address itself, without a verb."""
        return self._root(*arguments, **keywords)

    def __repr__(self) -> str:
        return self._performer.shown

    def __dir__(self) -> list[str]:
        return sorted({*names_below(self._performer, Target(())), "stop"})

    def __reduce_ex__(self, protocol: object) -> str:
        # Nothing in it belongs to one user: a copy is the client itself. It cannot be pickled.
        return repr(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let go of the thread; with the last client it ends. Safe to repeat."""
        self._performer.lease.end()


class Lease:
    """One client's share in the process's portal, taken when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._portal: Portal | None = None
        self._end: weakref.finalize[Any, Any] | None = None

    def portal(self) -> Portal:
        """The portal; taken, if it is not yet."""
        with self._lock:
            if self._portal is None or not self._portal.is_here:
                if self._end is not None:
                    self._end.detach()
                self._portal = take()
                self._end = weakref.finalize(self, let_go, self._portal)
                self._end.atexit = False
            return self._portal

    def end(self) -> None:
        """Give it back."""
        with self._lock:
            end, self._portal, self._end = self._end, None, None
        if end is not None:
            end()


class Performer:
    """Makes a node's call in the portal and waits for it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.lease = Lease()

    @property
    def shown(self) -> str:
        """The client as `repr` shows it."""
        return f"Client({self.engine.shown_uri})"

    def perform(  # noqa: PLR0911 - a table of suffixes
        self, target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]
    ) -> Any:
        """Make the call."""
        call = (self.engine, target, arguments, keywords)
        match target.suffix:
            case None:
                return self.run(lambda: self.engine.request(target, arguments, keywords))
            case "curl":
                return to_curl(*call)
            case "stream":
                return BlockingStream(self.lease, CallStream(*call))
            case "ws":
                return BlockingSocket(self.lease, CallSocket(*call))
            case "pages":
                return _iterate(self.run, iterate_pages(*call))
            case "upload":
                return self.run(lambda: upload(*call))
            case _:
                return self.run(lambda: download(*call))

    def known_description(self) -> Description | None:
        """What `dir` and help may draw on."""
        return self.engine.catalog.current

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run *function* in the portal."""
        return self.lease.portal().run(function)


class BlockingStream:
    """A call whose answer is read piece by piece; see `CallStream`."""

    def __init__(self, lease: Lease, stream: CallStream) -> None:
        self._lease = lease  # the portal is ours for as long as we are, whoever forgets the client
        self._stream = stream
        self._session = Session(lease.portal(), stream)

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return self._stream.status

    @property
    def headers(self) -> dict[str, str]:
        """Header fields of the answer, names in lower case."""
        return self._stream.headers

    def __enter__(self) -> Self:
        self._session.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._session.leave()

    def __iter__(self) -> Iterator[bytes]:
        return _iterate(self._session.run, aiter(self._stream))

    def read(self) -> bytes:
        """All that is left."""
        return self._session.run(self._stream.read)

    def lines(self) -> Iterator[str]:
        """Lines of text without their ends."""
        return _iterate(self._session.run, self._stream.lines())

    def ndjson(self) -> Iterator[Any]:
        """One object a line."""
        return _iterate(self._session.run, self._stream.ndjson())

    def events(self, *, reconnect: bool = False) -> Iterator[Event]:
        """Server-sent events."""
        return _iterate(self._session.run, self._stream.events(reconnect=reconnect))


class BlockingSocket:
    """A WebSocket on a path; one thread may receive while another sends."""

    def __init__(self, lease: Lease, socket: CallSocket) -> None:
        self._lease = lease
        self._portal = lease.portal()
        self._socket = socket
        self._session = Session(self._portal, socket)

    @property
    def subprotocol(self) -> str | None:
        """What the service chose of ``__subprotocols__``."""
        return self._socket.subprotocol

    def __enter__(self) -> Self:
        self._session.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._session.leave()

    def send(self, message: str | bytes) -> None:
        """Send one message; raises `SocketClosed` after the close."""
        self._portal.run(lambda: self._socket.send(message))

    def send_json(self, value: object) -> None:
        """Send *value* as a text message."""
        self._portal.run(lambda: self._socket.send_json(value))

    def receive(self) -> str | bytes:
        """The next message; raises `SocketClosed` when there is none any more."""
        return self._portal.run(self._socket.receive)

    def receive_json(self) -> Any:
        """The next message as an object."""
        return self._portal.run(self._socket.receive_json)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it; safe to repeat."""
        self._portal.run(lambda: self._socket.close(code, reason))

    def __iter__(self) -> Iterator[str | bytes]:
        while True:
            try:
                yield self.receive()
            except SocketClosed as closed:
                if not self._socket.is_good_end(closed):
                    raise
                return


def _iterate(
    run: Callable[[Callable[[], Awaitable[Any]]], Any], items: AsyncGenerator[T] | Any
) -> Generator[T]:
    try:
        while (item := run(lambda: anext(items, _END))) is not _END:
            yield item
    finally:
        if hasattr(items, "aclose"):
            run(items.aclose)
