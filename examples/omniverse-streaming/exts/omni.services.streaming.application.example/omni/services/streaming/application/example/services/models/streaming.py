"""What the streaming API takes and answers."""

from enum import StrEnum

from pydantic import BaseModel, Field


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

    name: str = Field(..., description="What the port is called.")
    number: int = Field(..., ge=0, le=65535, description="Its number.")
    type: PortType = Field(..., description="Its protocol.")


class StreamingMode(StrEnum):
    """Whether signalling and media are encrypted on their way."""

    secure = "secure"
    insecure = "insecure"


class StreamRequestSpec(BaseModel):
    """What is streamed, and how."""

    kit_args: list[str] = Field(default=[], title="Further arguments of the application.")
    kit_env: dict[str, str] = Field(default={}, title="Its environment variables.")
    streaming_mode: StreamingMode = Field(default=StreamingMode.secure, title="Encryption.")
    image: str = Field(..., title="The application, or an image registered for one, with its tag.")
    user_ports: list[Port] = Field(default=[], title="Further ports.")
    user_labels: dict[str, str] = Field(default={}, title="Labels of the session.")
    node_labels: dict[str, str] = Field(default={}, title="Labels that its node must have.")


class CreateStreamRequest(BaseModel):
    """Start one session."""

    url: str = Field(..., title="Stage to open, or the host where stages lie.")
    access_token: str = Field(..., title="What the application shows at that host.")
    username: str = Field(..., title="Whose session it is.")
    spec: StreamRequestSpec = Field(..., title="What is streamed.")


class ErrorMessage(BaseModel):
    """What went wrong."""

    message: str = Field(..., title="A sentence for a person.")
