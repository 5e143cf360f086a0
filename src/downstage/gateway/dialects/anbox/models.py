"""Bodies of this dialect, as its clients send and read them: unknown fields are not minded."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "DENSITY",
    "MAX_HEIGHT",
    "MAX_WIDTH",
    "AgentStatus",
    "Agents",
    "Connection",
    "DeleteFailure",
    "Deleted",
    "IceServer",
    "JoinAnswer",
    "JoinPost",
    "JoinScreen",
    "Named",
    "Screen",
    "SessionAnswer",
    "SessionPost",
    "SessionPostAnswer",
    "SessionsDelete",
    "Setting",
    "ShareAnswer",
    "SharePatch",
    "SharePost",
    "ShareType",
    "SharedAnswer",
    "Status",
    "even",
]

MAX_WIDTH, MAX_HEIGHT = 3840, 2160
DENSITY = 240
MINUTES = 60 * 24 * 366

Status = Literal["created", "active", "terminating", "terminated", "error"]
ShareType = Literal["controller", "spectator", "adb"]


def _whole(value: Any) -> Any:
    """Sizes come from pages, where a pixel may be a fraction."""
    if isinstance(value, float) and math.isfinite(value):
        return round(value)
    return value


def even(value: int) -> int:
    """*value*, or one less: encoders take whole pairs of pixels. At least 2."""
    return max(2, value - value % 2)


Pixels = Annotated[int, BeforeValidator(_whole)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class Screen(_Body):
    """The picture; an odd size is made even."""

    width: Annotated[Pixels, Field(ge=1, le=MAX_WIDTH)] = 1280
    height: Annotated[Pixels, Field(ge=1, le=MAX_HEIGHT)] = 720
    fps: Annotated[Pixels, Field(ge=1, le=240)] = 60
    density: Annotated[Pixels, Field(ge=72, le=1024)] = DENSITY


class SessionPost(_Body):
    """A session is wanted."""

    app: str = Field(min_length=1, max_length=512)
    """Name of the application."""
    app_version: int | None = Field(default=None, ge=-1)
    """Absent or -1: the newest that is published."""
    region: str | None = Field(default=None, max_length=128)
    """Absent or empty: chosen here."""
    joinable: bool | None = None
    """Others, or the same person again, may join after the viewer left."""
    idle_time_min: int | None = Field(default=None, ge=0, le=MINUTES)
    """How long a joinable session waits while nobody looks; 0: until it is deleted."""
    ephemeral: bool | None = None
    """Forget the session when it is over; one that failed is kept for a day. Absent: true."""
    extra_data: Any = None
    """Handed to the application in its user data, as it is."""
    screen: Screen | None = None


class JoinScreen(_Body):
    """The picture of who joins."""

    width: Annotated[Pixels, Field(ge=1, le=MAX_WIDTH)] | None = None
    height: Annotated[Pixels, Field(ge=1, le=MAX_HEIGHT)] | None = None
    fps: Annotated[Pixels, Field(ge=1, le=240)] | None = None
    density: Annotated[Pixels, Field(ge=72, le=1024)] | None = None

    def over(self, screen: Screen) -> Screen:
        """*screen*, and what is said here."""
        said = self.model_dump(exclude_none=True)
        return screen.model_copy(update=said)


class JoinPost(_Body):
    """Somebody joins; what is absent of the screen stays."""

    screen: JoinScreen | None = None


class SessionsDelete(_Body):
    """Which sessions shall go."""

    ids: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        min_length=1, max_length=1000
    )


class IceServer(_Body):
    """A server to find a path by."""

    urls: list[str]
    username: str = ""
    password: str = ""
    credential: str = ""
    """The same as the password, under the name that browsers use."""


class SessionPostAnswer(_Body):
    """The new session and where to connect."""

    id: str
    region: str
    region_reason: str = ""
    """Why this region."""
    status: Status
    joinable: bool
    url: str
    """Of the socket; it opens it once, within a minute."""
    stun_servers: list[IceServer]


class JoinAnswer(_Body):
    """Where to connect."""

    id: str
    url: str
    stun_servers: list[IceServer]


class Connection(_Body):
    """Where who has a share connects."""

    id: str
    url: str
    stun_servers: list[IceServer]


class SessionAnswer(_Body):
    """A session."""

    id: str
    app: str
    region: str
    cluster_id: str
    container_id: str
    """Of the instance; empty before and after it."""
    joinable: bool
    status: Status
    status_message: str
    created_at: int
    """Unix time."""


class DeleteFailure(_Body):
    """A session that could not be deleted."""

    session_id: str
    error_message: str
    status_code: int


class Deleted(_Body):
    """What became of a request to delete some."""

    deleted_sessions: list[str]
    errors: list[DeleteFailure]


class SharePost(_Body):
    """A link for somebody else is wanted."""

    type: ShareType = "spectator"
    description: str | None = Field(default=None, max_length=512)
    expiry_at: int | None = None
    """Unix time; it counts before the other."""
    expiry_min: int | None = Field(default=None, ge=1)
    """Minutes from now; the older spelling."""


class SharePatch(_Body):
    """What shall change of a share."""

    description: str | None = Field(default=None, max_length=512)
    expiry_at: int | None = None


class SharedAnswer(_Body):
    """The new share."""

    id: str
    type: ShareType
    url: str
    """Whoever asks there is told where to connect, until the share expires."""
    expiry_at: int
    expiry_min: int


class ShareAnswer(_Body):
    """A share."""

    id: str
    session_id: str
    type: ShareType
    description: str
    created_at: int
    expiry_at: int
    url: str | None = None


class Named(_Body):
    """Something that has a name."""

    name: str


class AgentStatus(_Body):
    """Whether the gateway can host sessions."""

    status: Literal["healthy", "unhealthy"]


class Agents(AgentStatus):
    """How the gateway is."""

    agents: int
    """Regions that answer."""
    database_nodes: int


class Setting(_Body):
    """One item of the configuration."""

    name: str = Field(min_length=1, max_length=128)
    value: Any
