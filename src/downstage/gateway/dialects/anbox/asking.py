"""What a client of this dialect asks for, as an order for a session."""

from __future__ import annotations

import json
from typing import Any

from downstage.auth.principal import Principal
from downstage.contracts.manager import Display
from downstage.gateway.dialects.anbox.models import Screen, SessionPost, even
from downstage.gateway.dialects.anbox.statuses import KEY
from downstage.gateway.models import Key
from downstage.gateway.regions.score import Wish
from downstage.gateway.sessions import Order
from downstage.gateway.terms import Terms
from downstage.kernel.errors import InvalidField, NoCapacity, NotFound, PlatformError, Unavailable

__all__ = ["NoAgent", "even_screen", "order_of", "renamed"]

MAX_USER_DATA = 10 * 1024
NEWEST = -1


class NoAgent(Unavailable):
    """No region can host the session just now; this dialect's word for it is 404."""

    code = "no-agent"
    status = 404
    title = "No agent can host the session"


def even_screen(screen: Screen) -> Screen:
    """*screen* as encoders take it."""
    return screen.model_copy(update={"width": even(screen.width), "height": even(screen.height)})


def order_of(
    body: SessionPost,
    caller: Principal,
    *,
    idle_time_min: int,
    address: str | None,
    key: Key | None,
) -> Order:
    """The order.

    Args:
        body: what was asked.
        caller: who asks.
        idle_time_min: of joinable sessions that do not say it.
        address: of the caller's network.
        key: the caller's idempotency key.

    Raises:
        InvalidField: the data for the application are too much.
    """
    screen = even_screen(body.screen or Screen())
    joinable = bool(body.joinable)
    idle = idle_time_min if body.idle_time_min is None else body.idle_time_min
    terms = Terms(ends_when_left=not joinable, patience_s=idle * 60 if joinable else None)
    kept = body.ephemeral is False
    remembered = {"joinable": joinable, "idle_time_min": idle, "screen": screen.model_dump()}
    return Order(
        tenant=caller.tenant,
        owner=caller.subject,
        username=caller.name,
        application=body.app,
        display=Display(width=screen.width, height=screen.height, fps=screen.fps),
        where=Wish(region=body.region or None, address=address),
        act=caller.person,
        version=None if body.app_version in (None, NEWEST) else body.app_version,
        user_data=_user_data(body.extra_data),
        wait=False,
        dialect=KEY,
        extra={KEY: remembered, "kept": kept, **terms.dump()},
        key=key,
    )


def _user_data(extra: Any) -> str | None:
    """The file that the application reads: JSON with what the client gave under ``extra_data``."""
    if extra is None:
        return None
    text = json.dumps({"extra_data": extra}, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_USER_DATA:
        raise InvalidField("extra_data", f"extra_data: at most {MAX_USER_DATA} bytes of JSON.")
    return text


def renamed(error: PlatformError) -> PlatformError:
    """What came of the order, in this dialect's words."""
    match error:
        case NoCapacity():
            return NoAgent(error.detail, retry_after_s=error.retry_after_s)
        case NotFound():
            return InvalidField("app", f"app: {error.detail}")
        case InvalidField(field=field):
            names = {"application": "app", "version": "app_version", "user_data": "extra_data"}
            name = names.get(field, field)
            detail = error.detail
            if detail.startswith(field):
                detail = name + detail.removeprefix(field)
            return InvalidField(name, detail)
        case _:
            return error
