"""`AsyncClient`: a service's paths as attributes, the same in this process and across a network.

``await client.session_service.session.get(limit=10)`` is ``GET /session-service/session?limit=10``;
``client.v1.sessions[session_id]`` and ``getattr(client.session, session_id)`` name one segment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

from downstage.services.client.authorization import (
    Authorization,
    Authorize,
    Bearer,
    TokenFunction,
)
from downstage.services.client.catalog import DescriptionChoice
from downstage.services.client.curl import to_curl
from downstage.services.client.engine import Engine, Options
from downstage.services.client.hooks import Hook
from downstage.services.client.node import CACHED_NODES, Node, names_below
from downstage.services.client.pages import iterate_pages
from downstage.services.client.retry import Retry
from downstage.services.client.sockets import CallSocket
from downstage.services.client.streaming import CallStream
from downstage.services.client.target import Target
from downstage.services.client.transfer import download, upload
from downstage.services.description import Description
from downstage.services.transports import known_schemes, register, unregister

__all__ = ["AsyncClient", "Schemes", "describe_async", "read_auth", "read_retries"]

_OPERATIONS: dict[str, Callable[..., Any]] = {
    "curl": to_curl,
    "download": download,
    "pages": iterate_pages,
    "stream": CallStream,
    "upload": upload,
    "ws": CallSocket,
}


class Schemes(type):
    """What the class of a client offers beside its instances, whose attributes are paths."""

    def register(cls, scheme: str, factory: Any, is_async: bool = True) -> None:
        """Use *factory* for URIs of *scheme*; see `downstage.services.transports`."""
        del is_async
        register(scheme, factory)

    def unregister(cls, scheme: str, is_async: bool = True) -> None:
        """Forget what `register` said."""
        del is_async
        unregister(scheme)

    def get_available_transports(cls, is_async: bool = True) -> list[str]:
        """Schemes that clients know, sorted."""
        del is_async
        return known_schemes()


class AsyncClient(metaclass=Schemes):
    """Calls one service.

    Args:
        uri: ``local://name``, ``http(s)://host[:port][/base]`` or any registered scheme.
        app: for ``local://``: the ASGI application; None is the one registered by name.
        api_version: accepted, of no effect.
        persist_connections: accepted; connections always persist, one pool for each loop.
        raise_for_status: False returns error answers, dicts gaining ``__http_status__``.
        timeout_s: for each call as a whole, with its retries; None is for ever.
        read_timeout_s: longest silence within an answer.
        token: bearer token, or a coroutine function that gives the present one.
        auth: another way to show who calls, such as `ApiKey` or `OidcClientCredentials`.
        headers: to be sent with each call.
        retries: how often a call is tried again at most, or how (`Retry`); 0 is never.
        hooks: called around each attempt.
        description: the service's OpenAPI: ``"auto"`` fetches it when a call could need it, None
            goes without, a document is taken as it is.

    Raises:
        ValueError: no scheme, or (`TransportNotFoundError`) an unknown one.
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
        self._engine = Engine(uri, app, options, description)
        self._root = Node(_Performer(self._engine), Target(()))

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
        return f"AsyncClient({self._engine.shown_uri})"

    def __dir__(self) -> list[str]:
        performer = _Performer(self._engine)
        return sorted({*names_below(performer, Target(())), "stop", "stop_async"})

    def __reduce_ex__(self, protocol: object) -> str:
        # Nothing in it belongs to one user: a copy is the client itself. It cannot be pickled.
        return repr(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_async()

    def stop(self) -> None:
        """Nothing to do: the pool belongs to the loop, not to this client."""

    async def stop_async(self) -> None:
        """The same as `stop`."""


class _Performer:
    """Makes of a node's call what an asynchronous caller awaits, enters or iterates over."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def shown(self) -> str:
        return f"AsyncClient({self._engine.shown_uri})"

    def perform(
        self, target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]
    ) -> Any:
        if target.suffix is None:
            return self._engine.request(target, arguments, keywords)
        return _OPERATIONS[target.suffix](self._engine, target, arguments, keywords)

    def known_description(self) -> Description | None:
        return self._engine.catalog.current


def read_retries(retries: int | Retry) -> Retry:
    """*retries* as a policy: a number counts the attempts after the first."""
    return retries if isinstance(retries, Retry) else Retry(attempts=1 + max(0, retries))


def read_auth(token: str | Authorize | None, auth: Authorization | None) -> list[Hook]:
    """The one authorisation of a client, from either of its two arguments."""
    if token is not None and auth is not None:
        raise ValueError("give either a token or an auth")
    if isinstance(token, str):
        return [Bearer(token)]
    if token is not None:
        return [TokenFunction(token)]
    return [] if auth is None else [auth]


async def describe_async(client: AsyncClient) -> Description | None:
    """What the service says of itself, fetched if it is not there yet; None: nothing usable."""
    engine: Engine = vars(client)["_engine"]  # its attributes are paths
    return await engine.describe()
