"""The middle of a client: builds requests, sends them as often as it takes, reads the answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import anyio

from downstage.services.client.asked import Asked, read_call
from downstage.services.client.authorization import Authorization, Fixed
from downstage.services.client.building import IDEMPOTENCY_KEY, build, find_operation, new_key
from downstage.services.client.catalog import Catalog, DescriptionChoice
from downstage.services.client.decoding import (
    decode,
    mask_query,
    shown_address,
    to_error,
    with_status,
)
from downstage.services.client.encoding import JSON, encode_json, encode_query, read_headers
from downstage.services.client.hooks import Answered, Hook
from downstage.services.client.outgoing import Outgoing
from downstage.services.client.propagation import TIMEOUT, carry_on, is_alone, remaining_s
from downstage.services.client.redirects import MOST_HOPS, next_hop
from downstage.services.client.retry import Retry
from downstage.services.client.target import Target
from downstage.services.description import Description, Operation
from downstage.services.errors import (
    BaseServiceError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from downstage.services.transports import Answer, Call, Transport, create

__all__ = ["Engine", "Options"]

NOT_FOUND = 404
GOOD = 300
USUAL_S = 60.0
A = TypeVar("A", bound=Answered)
Send = Callable[[Transport, Call], Awaitable[A]]


@dataclass(frozen=True, slots=True)
class Options:
    """How a client calls."""

    raises: bool = True
    timeout_s: float | None = USUAL_S
    read_timeout_s: float | None = 60.0
    retry: Retry = field(default_factory=Retry)
    headers: Mapping[str, str] | None = None
    hooks: tuple[Hook, ...] = ()


class Sink(Protocol):
    """Takes back an answer that nobody will read."""

    async def __call__(self) -> None:
        """Let it go."""
        ...


async def _nothing() -> None:
    """An answer that was read whole needs no letting go."""


async def _whole(transport: Transport, call: Call) -> Answer:
    return await transport.request(call)


class Engine:
    """Calls one service; nothing in it belongs to a single call.

    Args:
        uri: the service's address.
        app: for ``local://``: the application.
        options: how to call.
        description: see `Catalog`.
    """

    def __init__(
        self, uri: str, app: Any, options: Options, description: DescriptionChoice
    ) -> None:
        self.uri = uri
        self.shown_uri = shown_address(uri)
        self.options = options
        fixed = [hook for hook in options.hooks if isinstance(hook, Fixed)]
        self.hooks = tuple(hook for hook in options.hooks if hook not in fixed)
        self._app = app
        self._transport = create(uri, app)
        self.secret_names = frozenset(
            hook.header for hook in options.hooks if isinstance(hook, Authorization)
        )
        """Headers, in lower case, whose values say who is asking."""
        self._headers = {k.lower(): v for k, v in read_headers(options.headers or {}).items()}
        for hook in fixed:
            self._headers.update(hook.fields())
        self._is_keyed = options.retry.attempts > 1
        total = options.timeout_s
        # What everybody waits by default is worth no header.
        self._told = None if total is None or total == USUAL_S else str(int(total * 1000))
        self._quick_headers = {**self._headers, **({TIMEOUT: self._told} if self._told else {})}
        self._may_be_quick = not self.hooks
        self._reversed = tuple(reversed(self.hooks))
        self.catalog = Catalog(self._transport, uri, app, description, self._fetch_headers)

    async def request(
        self, target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]
    ) -> Any:
        """Make one call and read its answer whole.

        Raises:
            BaseServiceError: the answer was an error, or none came.
            ValueError, TypeError: the call cannot be sent as it is written.
        """
        first: Answer | ServiceUnavailableError | None = None
        call = None
        begun = time.monotonic()
        if self._may_be_quick:
            call = self._quick_call(target, arguments, keywords)
            if call is not None:
                try:
                    first = await self._transport.request(call)
                except ServiceUnavailableError as error:
                    first = error
                else:
                    if first.status < GOOD:
                        return decode(first)
        asked = await self.ask(target, arguments, keywords)
        asked.begun = begun
        if call is not None:
            asked.made_key = call.headers.get(IDEMPOTENCY_KEY)
        out, answer = await self.answer(asked, first)
        if answer.status < GOOD:
            return decode(answer)
        if not self.options.raises:
            return with_status(decode(answer), answer.status)
        raise self.failure(out, answer)

    async def ask(
        self, target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]
    ) -> Asked:
        """Read a call's arguments; fetch the description if it could change what they mean."""
        asked = read_call(target, arguments, keywords)
        if self._is_worth_knowing(asked):
            limit = asked.timeout_s if asked.has_timeout else self.options.timeout_s
            # The call itself shall have time left, however long this takes.
            half = None if limit is None else limit / 2
            if self.catalog.is_due(half):
                await self.catalog.load(half)
        return asked

    def _is_worth_knowing(self, asked: Asked) -> bool:
        target = asked.target
        is_doubtful = asked.keywords or target.is_doubtful or not (target.verb or asked.method)
        # At a keyboard the next thing is a question: `dir`, help, a tab.
        return bool(is_doubtful) or hasattr(sys, "ps1")

    def _quick_call(
        self, target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]
    ) -> Call | None:
        """The request for a call of a form that was made before, without looking at it anew."""
        description = self.catalog.current
        alone = is_alone()
        if target.known_to is not description or not (alone or remaining_s() is None):
            return None
        if arguments:
            # A model is a body, and what equals a word need not read like it: 1 and True.
            segment, *more = arguments
            if more or type(segment) is not str:
                return None
            plan = target.plans.get((segment, Ellipsis, *keywords))
        else:
            plan = target.plans.get(tuple(keywords))
        if plan is None or not plan.simply:
            return None
        if (description is not None or keywords or target.is_doubtful) and self.catalog.is_due():
            return None
        headers = self._quick_headers.copy()
        if not alone:
            carry_on(headers)
        if plan.is_keyed and self._is_keyed:
            headers[IDEMPOTENCY_KEY] = new_key()
        query, body = (), b""
        if plan.simply == "query":
            query = encode_query(keywords)
        elif plan.simply == "json":
            body = encode_json(keywords)
            headers["content-type"] = JSON
        options = self.options
        return Call(
            plan.method, plan.path, query, headers, body, options.timeout_s, options.read_timeout_s
        )

    async def answer(
        self, asked: Asked, first: Answer | ServiceUnavailableError | None = None
    ) -> tuple[Outgoing, Answer]:
        """Send *asked*; after a 404 once more, if the description has changed what it means.

        Args:
            asked: the call.
            first: what came of its first attempt, where there was one.
        """
        out = self.outgoing(asked)
        answer = await self.deliver(out, _whole, _nothing, first)
        if answer.status == NOT_FOUND and out.is_replayable:
            left = _Course(self, out, self._transport).left_s()
            if await self.catalog.look_again(left):
                again = self.outgoing(asked)
                again.begun = out.begun
                if (again.method, again.path) != (out.method, out.path):
                    return again, await self.send(again)
        return out, answer

    async def send(self, out: Outgoing) -> Answer:
        """Send *out* as it is and read the answer whole."""
        return await self.deliver(out, _whole, _nothing)

    def operation(self, asked: Asked) -> Operation | None:
        """What the description knows of *asked*."""
        return find_operation(asked, self.catalog.current)

    def outgoing(self, asked: Asked) -> Outgoing:
        """The request for *asked*, by what is known of the service now."""
        headers = self._headers.copy()
        carry_on(headers)
        out = build(asked, self.catalog.current, headers, keyed=self._is_keyed)
        out.timeout_s = asked.timeout_s if asked.has_timeout else self.options.timeout_s
        return out

    async def deliver(
        self,
        out: Outgoing,
        send: Send[A],
        drop: Sink,
        first: A | ServiceUnavailableError | None = None,
    ) -> A:
        """Send *out* until an answer is worth having: retries, redirects, fresh tokens.

        Args:
            out: the request.
            send: carries one attempt to the head of its answer, at least.
            drop: called for an answer that is not the last.
            first: what came of a first attempt that was made already.

        Raises:
            ServiceUnavailableError: no answer came, and the attempts or the time are used up.
        """
        course = _Course(self, out, self._transport)
        while True:
            if self.hooks:
                await self._prepare(out, course)
            try:
                known, first = first, None
                answer = await self._attempt(out, course, send, known)
            except ServiceUnavailableError as error:
                for hook in self._reversed:
                    await hook.error(out, error)
                pause = self.options.retry.pause_after_error(out)
                if pause is None or not course.has_time_for(pause):
                    raise
            else:
                if answer.status < GOOD and not self.hooks:
                    return answer
                pause = await course.pause_after(answer)
                if pause is None:
                    return answer
                await drop()
            if pause:
                out.attempt += 1
                await anyio.sleep(pause)

    async def _prepare(self, out: Outgoing, course: _Course) -> None:
        with anyio.move_on_after(course.left_s()) as scope:
            for hook in self.hooks:
                await hook.before(out)
        if scope.cancelled_caught:
            raise self._lateness(out)

    async def _attempt(
        self,
        out: Outgoing,
        course: _Course,
        send: Send[A],
        known: A | ServiceUnavailableError | None,
    ) -> A:
        if known is None:
            return await send(course.transport, self._call(out, course))
        if isinstance(known, ServiceUnavailableError):
            raise known
        return known

    def _call(self, out: Outgoing, course: _Course) -> Call:
        left = course.left_s()
        if left is not None and left <= 0:
            raise self._lateness(out)
        is_told = self._told is not None or out.timeout_s != USUAL_S or course.is_bounded
        if is_told and left is not None:
            out.headers[TIMEOUT] = str(int(left * 1000))
        silence = self.options.read_timeout_s
        return Call(out.method, out.path, out.query, out.headers, out.body, left, silence)

    def _lateness(self, out: Outgoing) -> ServiceTimeoutError:
        why = f"{out.method} {out.path or '/'}: no answer in time, before it was sent"
        return ServiceTimeoutError(why, method=out.method, url=self.url(out))

    async def fresh(self, out: Outgoing, answer: Answered) -> bool:
        """Tell the hooks of *answer*. Does one of them want another attempt?"""
        again = False
        for hook in self._reversed:
            again = await hook.after(out, answer) or again
        return again

    def origin(self, uri: str) -> Transport:
        """A transport to another base of the same origin."""
        return create(uri, self._app)

    def failure(self, out: Outgoing, answer: Answer) -> BaseServiceError:
        """The exception for an error answer to *out*."""
        names, url = self.secret_names, self.url(out)
        return to_error(out.method, out.path, url, answer, out.headers, secret_names=names)

    async def describe(self) -> Description | None:
        """What the service says of itself, fetched if it is not there yet."""
        return await self.catalog.load() if self.catalog.is_due() else self.catalog.current

    def header_names(self) -> frozenset[str]:
        """Headers that hooks will put on each request, in lower case."""
        return frozenset(hook.header for hook in self.hooks if isinstance(hook, Authorization))

    def url(self, out: Outgoing) -> str:
        """Where *out* went, without secrets."""
        return self.shown_uri + out.path + mask_query(out.query)

    async def _fetch_headers(self) -> dict[str, str]:
        """What authorises the fetch of the description: the authorisation, and no other hook."""
        out = Outgoing("GET", "/openapi.json", (), dict(self._headers))
        for hook in self.hooks:
            if isinstance(hook, Authorization):
                await hook.before(out)
        return out.headers


class _Course:
    """One call under way: the time it has left and the turns it has taken."""

    __slots__ = (
        "_begun", "_bound", "_engine", "_has_asked_again", "_hops", "_out", "_uri",
        "is_bounded", "is_under_way", "transport",
    )  # fmt: skip

    def __init__(self, engine: Engine, out: Outgoing, transport: Transport) -> None:
        self._engine = engine
        self._out = out
        self.transport = transport
        self._bound = remaining_s()
        self.is_bounded = self._bound is not None
        self._hops = 0
        self._uri = engine.uri
        self._has_asked_again = False

    def left_s(self) -> float | None:
        """Seconds left of the call; None for no end."""
        limits = [limit for limit in (self._out.timeout_s, self._bound) if limit is not None]
        return min(limits) - (time.monotonic() - self._out.begun) if limits else None

    def has_time_for(self, pause: float) -> bool:
        """Would there be time for another attempt after *pause*?"""
        left = self.left_s()
        return left is None or pause < left

    async def pause_after(self, answer: Answered) -> float | None:
        """Seconds until the next attempt, 0 for a turn at once; None: *answer* is the last."""
        out = self._out
        again = False
        with anyio.move_on_after(self.left_s()):  # else the answer that is here counts
            again = await self._engine.fresh(out, answer)
        if again and not self._has_asked_again:
            self._has_asked_again = True
            if out.is_replayable:
                return 0.0
        if answer.status < GOOD:
            return None
        hop = next_hop(self._uri, out, answer)
        if hop is not None and self._hops < MOST_HOPS:
            self._hops += 1
            out.path, out.query = hop.path, hop.query
            if hop.base is not None:
                self._uri = hop.base
                self.transport = self._engine.origin(hop.base)
            return 0.0
        pause = self._engine.options.retry.pause_after_answer(out, answer)
        if pause is None or not out.is_replayable or not self.has_time_for(pause):
            return None
        return pause
