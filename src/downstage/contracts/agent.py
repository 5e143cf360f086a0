"""What an agent says: its manager's paths once more (see `downstage.contracts.manager`).

An agent stands for one region. Gateways call it and never the manager; errors come through with
status, problem and Retry-After as the manager gave them. ``GET /v1/health`` answers within
2 s, or 503 with why.

With ``agent.announce`` it is called over the bus, too, at `address_of` its region, by whichever
of the region's agents takes the call; and it tells gateways about itself every
``agent.announce_interval`` by an `Announcement` on `announced`. Those of one region stand before
one manager.

==========  =====================================  ==========================================
verb        path                                   body → answer
==========  =====================================  ==========================================
POST        /v1/sessions                           StreamedInstance → SessionView (201); what a
                                                   manager asks for an instance of its own
==========  =====================================  ==========================================
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from downstage.contracts.manager import InstanceCreate
from downstage.contracts.wire import Answer, Request

__all__ = [
    "ANY_ANNOUNCED",
    "ANY_INSTANCE_CHANGED",
    "Announcement",
    "RegionPage",
    "RegionView",
    "SessionFor",
    "StreamedInstance",
    "address_of",
    "announced",
    "instance_changed",
    "is_region",
]

ANY_INSTANCE_CHANGED = "agent.*.instance.changed"
"""Pattern of what every agent relays."""
ANY_ANNOUNCED = "agent.*.announce"
"""Pattern of what every agent tells of itself."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,56}")


def is_region(name: str) -> bool:
    """Whether *name* can be a region's on the bus: 1 to 56 letters, digits, ``-`` and ``_``."""
    return NAME.fullmatch(name) is not None


def instance_changed(region: str) -> str:
    """Bus subject on which the agent of *region* repeats its manager's hints of instances."""
    return f"agent.{region}.instance.changed"


def announced(region: str) -> str:
    """Bus subject on which an agent of *region* tells that it is there."""
    return f"agent.{region}.announce"


def address_of(region: str) -> str:
    """Where the agents of *region* take calls, at the servers of the bus."""
    return f"nats:///agent-{region}"


class Announcement(Answer):
    """An agent is there, and has so much room."""

    agent: str = Field(min_length=1, max_length=64)
    """Made anew at each of its starts."""
    region: str = Field(max_length=56)
    state: Literal["up", "no-manager", "leaving"] = "up"
    """``no-manager``: it runs and its manager does not answer. ``leaving``: it is being stopped."""
    capacity: int = Field(default=0, ge=0)
    free: int = Field(default=0, ge=0)
    interval_s: float = Field(default=2.0, gt=0, le=3600)
    """When the next one follows; after three times that without one the agent counts as silent."""
    latitude: float | None = Field(default=None, ge=-90, le=90)
    longitude: float | None = Field(default=None, ge=-180, le=180)
    probe: str | None = Field(default=None, max_length=512)
    """What clients measure their distance by: ``stun:host:port`` or ``https://…``."""
    at: datetime
    """By the agent's own clock, for people."""


class StreamedInstance(Request):
    """A manager is about to start this instance and asks for the session that it is to have.

    The caller acts for a person (``act``), whose the session becomes. The same `instance` asked
    for again is the same session. It is started by ``POST /v1/instances``, which comes back to
    the manager with the same instance id before this is answered.
    """

    instance: InstanceCreate
    """With an `instance_id`, and without session, token and link."""
    username: str = Field(min_length=1, max_length=128)
    """The person's name, for eyes."""
    dialect: str = Field(default="ams", min_length=1, max_length=16)
    """By which API it was asked for."""
    extra: dict[str, Any] = Field(default_factory=dict[str, Any], max_length=64)
    """What that API must remember of the session; never a secret."""


class SessionFor(StreamedInstance):
    """The same, as the agent hands it to a gateway: ``POST /v1/internal/sessions``."""

    region: str = Field(max_length=56)
    """The agent's own, and no other."""


class RegionView(Answer):
    """A region as anybody may see it."""

    name: str
    free: int
    """Places that are free, as far as is known."""
    capacity: int
    probe: str | None
    """What to measure the distance by, for `SessionCreate.rtt_ms`."""
    latitude: float | None
    longitude: float | None
    answering: bool
    """False: it has not been heard of for too long; new sessions go elsewhere."""


class RegionPage(Answer):
    """All regions that are known, by name."""

    items: list[RegionView]
