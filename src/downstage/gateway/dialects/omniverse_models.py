"""Wire models of the Omniverse public streaming API."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from downstage.contracts.manager import PortWish
from downstage.contracts.wire import Answer, Request

__all__ = [
    "CreateStreamRequest",
    "Created",
    "ErrorMessage",
    "Health",
    "ListQuery",
    "OrderBy",
    "Record",
    "Results",
    "SessionItem",
    "SortBy",
    "Status",
    "StreamRequestSpec",
    "kept_keys",
    "stamp",
]


class SortBy(StrEnum):
    """What sessions are sorted by; `created_time` is what later versions call it."""

    created_at = "created_at"
    created_time = "created_time"
    username = "username"


class OrderBy(StrEnum):
    """Direction of the order."""

    asc = "ASC"
    desc = "DESC"


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Direction = Annotated[OrderBy, BeforeValidator(_upper)]


class ListQuery(BaseModel):
    """Which sessions are listed, and how; both spellings of later and earlier versions."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    limit: int = Field(default=50, ge=1, le=500)
    """Most results."""
    offset: int = Field(default=0, ge=0, le=1_000_000)
    """First result."""
    username: str | None = Field(default=None, max_length=128)
    """Only this user's."""
    sort_by: SortBy | None = Field(default=None, alias="sortBy")
    """Field of the order."""
    sort_by_dashed: SortBy | None = Field(default=None, alias="sort-by")
    """The same, as later versions spell it."""
    order_by: Direction | None = Field(default=None, alias="orderBy")
    """Direction of the order."""
    order: Direction | None = None
    """The same, as later versions spell it."""

    def sort(self) -> SortBy:
        """The field in force."""
        return self.sort_by or self.sort_by_dashed or SortBy.created_at

    def direction(self) -> OrderBy:
        """The direction in force."""
        return self.order_by or self.order or OrderBy.asc


class StreamRequestSpec(BaseModel):
    """What is streamed and how. Unknown keys are kept on the session, and told as warnings."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    kit_args: list[str] = Field(default_factory=list, max_length=256)
    """Appended to the application's arguments."""
    kit_env: dict[str, str] = Field(default_factory=dict, max_length=256)
    """Environment of the application."""
    streaming_mode: Literal["secure", "insecure"] = "secure"
    """``insecure`` is taken on loopback alone."""
    image: str = Field(min_length=1, max_length=512)
    """Image that an application here is registered for, or the application's name."""
    user_ports: list[PortWish] = Field(default_factory=list[PortWish], max_length=32)
    """Further ports of the application; the ones they are published on come in the routes."""
    user_labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    """Put on the container, each under a prefix of ours."""
    node_labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    """Labels that the node must have."""


class CreateStreamRequest(Request):
    """Start a session."""

    url: str = Field(max_length=4096)
    """Stage to open; a bare host means no stage in particular."""
    access_token: SecretStr = Field(max_length=16384)
    """What the application shows at the content server; handed to it as a file."""
    username: str = Field(min_length=1, max_length=128)
    """On whose behalf."""
    spec: StreamRequestSpec


class Created(Answer):
    """The new session."""

    redirect: str
    session_id: str
    session_routes: str


class Record(Answer):
    """One session, as it was asked for."""

    session_id: str
    username: str
    source_address: str
    destination_address: str
    session_routes: str
    nucleus: str
    stream_type: str = "app"
    pod_name: str
    service_name: str
    configmap_name: str
    session_link: str
    created_at: str
    updated_at: str


class Status(Answer):
    """One session, as it stands."""

    phase: Literal["Pending", "Running", "Succeeded", "Failed"]
    node_name: str
    host_ip: str
    pod_ip: str
    start_time: str


class SessionItem(Answer):
    """One entry of the list."""

    session_record: Record
    status: Status
    warnings: list[str] = Field(default_factory=list)


class Results(Answer):
    """The list."""

    results: list[SessionItem]


class Health(Answer):
    """The service can take requests."""

    ok: bool


class ErrorMessage(Answer):
    """What went wrong."""

    message: str


def stamp(moment: datetime, *, fraction: bool = True) -> str:
    """ISO 8601 with an offset."""
    return moment.isoformat(timespec="microseconds" if fraction else "seconds")


def kept_keys(spec: StreamRequestSpec) -> dict[str, Any]:
    """Keys of *spec* that this version does not know."""
    return dict(spec.model_extra or {})
