"""From an operation to its three flavours: blocking, coroutine, callback.

An operation raises; here its errors become a `Result`, once. The callback flavour is the
primitive: the other two wait for its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, TypeVarTuple, cast

from downstage.client.client import Client, OwnLoopError, default_client
from downstage.client.logs import log, log_error
from downstage.client.outcome import result_of
from downstage.client.request import Request
from downstage.client.types import LogLevel, Result
from downstage.kernel.errors import PlatformError

__all__ = [
    "block",
    "block_bare",
    "block_spread",
    "start",
    "start_bare",
    "start_spread",
    "wait",
    "wait_bare",
    "wait_spread",
]

P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")
Operation = Callable[Concatenate[Client, P], Coroutine[Any, Any, R]]


def block(
    empty: R, operation: Operation[P, R], /, *args: P.args, **kw: P.kwargs
) -> tuple[Result, R]:
    """Wait for *operation*: its value, or *empty* and what went wrong."""
    try:
        return Result.OK, default_client().run(operation, *args, **kw)
    except Exception as error:  # noqa: BLE001 - the edge
        return _told(operation, error), empty


def block_bare(operation: Operation[P, None], /, *args: P.args, **kw: P.kwargs) -> Result:
    """The same for an operation without a value."""
    return block(None, operation, *args, **kw)[0]


def block_spread(
    empty: tuple[*Ts], operation: Operation[P, tuple[*Ts]], /, *args: P.args, **kw: P.kwargs
) -> tuple[Result, *Ts]:
    """The same for an operation with several values."""
    result, values = block(empty, operation, *args, **kw)
    return (result, *values)


async def wait(
    empty: R, operation: Operation[P, R], /, *args: P.args, **kw: P.kwargs
) -> tuple[Result, R]:
    """Await *operation*: its value, or *empty* and what went wrong. Cancelling stops it."""
    try:
        return Result.OK, await default_client().run_async(operation, *args, **kw)
    except Exception as error:  # noqa: BLE001 - the edge
        return _told(operation, error), empty


async def wait_bare(operation: Operation[P, None], /, *args: P.args, **kw: P.kwargs) -> Result:
    """The same for an operation without a value."""
    return (await wait(None, operation, *args, **kw))[0]


async def wait_spread(
    empty: tuple[*Ts], operation: Operation[P, tuple[*Ts]], /, *args: P.args, **kw: P.kwargs
) -> tuple[Result, *Ts]:
    """The same for an operation with several values."""
    result, values = await wait(empty, operation, *args, **kw)
    return (result, *values)


def start(
    callback: Callable[[Result, R], Any],
    empty: R,
    operation: Operation[P, R],
    /,
    *args: P.args,
    **kw: P.kwargs,
) -> Request:
    """Begin *operation*; *callback* gets its result and value, on the callback thread."""
    return _start(operation, callback, empty, args, kw)


def start_bare(
    callback: Callable[[Result], Any],
    operation: Operation[P, None],
    /,
    *args: P.args,
    **kw: P.kwargs,
) -> Request:
    """The same for an operation without a value."""
    return _start(operation, lambda result, _: callback(result), None, args, kw)


def start_spread(
    callback: Callable[[Result, *Ts], Any],
    empty: tuple[*Ts],
    operation: Operation[P, tuple[*Ts]],
    /,
    *args: P.args,
    **kw: P.kwargs,
) -> Request:
    """The same for an operation with several values."""
    return _start(operation, lambda result, values: callback(result, *values), empty, args, kw)


def _start(
    operation: Operation[..., R],
    callback: Callable[[Result, R], Any],
    empty: R,
    args: tuple[Any, ...],
    kw: dict[str, Any],
) -> Request:
    client = default_client()

    def done(value: Any) -> None:
        if isinstance(value, PROGRAMMING):
            # There is nobody to raise it to; who waits for the callback must not wait for ever.
            log_error("client.operation_failed", value, operation=operation.__name__.rstrip("_"))
            callback(Result.ERROR, empty)
        elif isinstance(value, BaseException):
            callback(_told(operation, value), empty)
        else:
            callback(Result.OK, cast("R", value))

    return client.start(lambda _: operation(client, *args, **kw), done)


PROGRAMMING = (TypeError, AttributeError, NameError, OwnLoopError)
"""A mistake of whoever calls: raised, not told as a result."""


def _told(operation: Operation[..., Any], error: BaseException) -> Result:
    if isinstance(error, PROGRAMMING):
        raise error
    result = result_of(error)
    name = operation.__name__.rstrip("_")
    if isinstance(error, PlatformError) and result is not Result.ERROR:
        log(LogLevel.VERBOSE, "client.operation_refused", operation=name, detail=error.detail)
    else:
        log_error("client.operation_failed", error, operation=name)
    return result
