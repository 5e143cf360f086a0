"""Wire models of the Kit App Streaming API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from downstage.contracts.wire import Answer, Request

__all__ = [
    "AppCreate",
    "AppItem",
    "AppPage",
    "AppPatch",
    "ListQuery",
    "Profile",
    "ProfilePage",
    "Route",
    "Routes",
    "RoutesByIp",
    "StartStream",
    "StopStream",
    "Stream",
    "StreamPage",
    "StreamStatus",
    "Version",
    "VersionPage",
]


class AppItem(Answer):
    """An application of the catalogue."""

    id: str
    name: str
    description: str
    tags: list[str]


class AppPage(Answer):
    """Applications."""

    count: int
    limit: int
    offset: int
    items: list[AppItem]


class AppCreate(Request):
    """An application that runs a container image."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    description: str = Field(default="", max_length=1024)
    tags: list[str] = Field(default_factory=list, max_length=64)
    container: str = Field(min_length=1, max_length=512)
    """Image, with its tag or digest; the platform's settings must allow it."""


class AppPatch(Request):
    """What may change of an application."""

    description: str | None = Field(default=None, max_length=1024)
    tags: list[str] | None = Field(default=None, max_length=64)


class Version(Answer):
    """A version of an application."""

    version: str


class VersionPage(Answer):
    """Versions, newest first."""

    count: int
    items: list[Version]


class Profile(Answer):
    """A way to run a version."""

    id: str
    name: str
    description: str


class ProfilePage(Answer):
    """Profiles; the first is taken where none is named."""

    count: int
    items: list[Profile]


class Arguments(BaseModel):
    """Values that the application is started with."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    usd_stage_uri: str | None = Field(default=None, max_length=4096)
    """Stage to open."""


class StartStream(BaseModel):
    """Start an application."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)

    id: str = Field(min_length=1, max_length=128)
    """Of the application."""
    profile: str | None = Field(default=None, max_length=64)
    version: str = Field(default="latest", max_length=64)
    """A number, or ``latest``."""
    arguments: Arguments = Arguments()


class StopStream(Request):
    """Which stream is to end."""

    id: str = Field(max_length=128)


class Route(Answer):
    """One way in."""

    description: Literal["signaling", "media"]
    source_port: int
    """What clients use."""
    destination_port: int
    protocol: Literal["TCP", "UDP"]


class RoutesByIp(Answer):
    """Ways in at one address."""

    routes: list[Route]


Routes = dict[str, RoutesByIp]


class StreamStatus(Answer):
    """How it stands; `status` is true once pictures come."""

    condition: str
    message: str
    status: bool


class Stream(Answer):
    """A stream: a session of ours."""

    id: str
    routes: Routes
    status: StreamStatus
    url: str
    """Our page for it; from the answer to its start, it opens once without signing in."""


class StreamPage(Answer):
    """Streams of the caller."""

    offset: int
    limit: int
    count: int
    items: list[Stream]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class ListQuery(BaseModel):
    """Which streams are listed, and how."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    limit: int = Field(default=50, ge=1, le=500)
    """Most results."""
    offset: int = Field(default=0, ge=0, le=1_000_000)
    """First result."""
    username: str | None = Field(default=None, max_length=128)
    """Only this user's."""
    sort_by: Literal["created_time", "created_at", "username"] = Field(
        default="created_time", alias="sort-by"
    )
    """Field of the order."""
    order: Annotated[Literal["ASC", "DESC"], BeforeValidator(_upper)] = "ASC"
    """Direction of the order."""
