"""What the streaming API takes and answers."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field

__all__ = [
    "CreateStreamRequest",
    "ErrorMessage",
    "OrderBy",
    "Port",
    "PortType",
    "SortBy",
    "StreamRequestSpec",
    "StreamingMode",
]


class SortBy(StrEnum):
    """What a list is sorted by."""

    created_time = "created_at"
    username = "username"


class OrderBy(StrEnum):
    """Which way it is sorted."""

    asc = "ASC"
    desc = "DESC"


class PortType(StrEnum):
    """Protocol of a port."""

    tcp = "TCP"
    udp = "UDP"


class Port(BaseModel):
    """One more port of an application."""

    name: str
    number: int = Field(ge=0, le=65535)
    type: PortType


class StreamingMode(StrEnum):
    """Whether signalling and media are encrypted on their way."""

    secure = "secure"
    insecure = "insecure"


class StreamRequestSpec(BaseModel):
    """What is streamed, and how."""

    kit_args: list[str] = []
    kit_env: dict[str, str] = {}
    streaming_mode: StreamingMode = StreamingMode.secure
    image: str
    user_ports: list[Port] = []
    user_labels: dict[str, str] = {}
    node_labels: dict[str, str] = {}


class CreateStreamRequest(BaseModel):
    """Start one session."""

    url: str
    access_token: str
    username: str
    spec: StreamRequestSpec


class ErrorMessage(BaseModel):
    """What went wrong."""

    message: str
