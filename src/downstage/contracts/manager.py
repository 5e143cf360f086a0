"""What the manager says: applications, instances. The agent speaks the same for its region.

==========  =====================================  ==========================================
verb        path (internal, but †)                 body → answer
==========  =====================================  ==========================================
GET         /v1/applications                       → ApplicationPage
GET         /v1/applications/{name}                → ApplicationView, 404
GET         /v1/instances?limit&after&living †     → InstancePage
POST        /v1/instances                          InstanceCreate → InstanceView (201);
                                                   404 application, 422 field, 503 capacity
GET         /v1/instances/{id} †                   → InstanceView, 404
DELETE      /v1/instances/{id}                     → InstanceView (ending); idempotent
GET         /v1/instances/{id}/logs †              → LogPage, 404
GET         /v1/instances/{id}/logs/{name}?most=…  → text, its last bytes, 404 †
GET         /v1/health                             → {"ok": true, "capacity": n, "running": n}
==========  =====================================  ==========================================

† also on the public port. Whoever has the scope ``sessions:read`` sees the instances of their own
sessions, without their node; with ``instances:read`` all of the tenant; a service, all there are.
Logs take ``instances:exec``.

Creating answers at once, in state ``starting``; what follows is told on the bus subject
`INSTANCE_CHANGED` (a hint: readers re-read the instance by id).
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, SecretStr

from downstage.contracts.wire import Answer, Request

__all__ = [
    "INSTANCE_CHANGED",
    "ApplicationPage",
    "ApplicationView",
    "Display",
    "InstanceCreate",
    "InstancePage",
    "InstanceState",
    "InstanceView",
    "LogPage",
    "LogView",
    "Needs",
    "PortRoute",
    "PortWish",
]

INSTANCE_CHANGED = "manager.instance.changed"
"""Bus subject; payload ``{"instance_id": str, "session_id": str, "revision": int}``."""

InstanceState = Literal["starting", "running", "ending", "ended"]
"""``running``: streamer and application both up. ``ended``: nothing of it runs any more."""


class Display(Request):
    """The picture asked for; sizes are clamped to what the encoder takes, never refused."""

    width: int = Field(default=1280, ge=1, le=65535)
    height: int = Field(default=720, ge=1, le=65535)
    fps: int = Field(default=60, ge=1, le=240)


class PortWish(Request):
    """A port of the application that people shall reach."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    number: int = Field(ge=0, le=65535)
    type: Literal["TCP", "UDP"] = "TCP"


class PortRoute(Answer):
    """A port as it was published."""

    name: str
    number: int
    """In the instance."""
    type: Literal["TCP", "UDP"]
    host: str
    """Address of the node."""
    published: int
    """There, on the node."""


class Needs(Request):
    """What an instance is promised; what is absent is the profile's, else the platform's."""

    cpus: float | None = Field(default=None, gt=0, le=1024)
    memory_mb: int | None = Field(default=None, ge=64, le=16 << 20)
    disk_mb: int | None = Field(default=None, ge=1)
    gpu_slots: int = Field(default=0, ge=0, le=64)
    pids: int | None = Field(default=None, ge=16)


class ApplicationView(Answer):
    """A declared application, without its command."""

    name: str
    title: str
    description: str
    display: Literal["wayland", "x11"]
    images: list[str]
    """Image names of container platforms that mean this application here."""
    opens_stage: bool
    """Takes a stage URL or path as its document."""
    unavailable: str | None = None
    """Why it cannot be started here, and what to do about it."""


class ApplicationPage(Answer):
    """All applications, by name."""

    items: list[ApplicationView]


class InstanceCreate(Request):
    """Start streamer and application for one session; repeating the same session_id is safe."""

    session_id: str | None = None
    """None: nobody's yet (a warm instance, or one that is not streamed)."""
    instance_id: str | None = Field(default=None, pattern=r"^i-[a-z2-7]{26}$")
    """Chosen by the caller, so that the instance token can name it; None: the manager chooses."""
    tenant: str = "main"
    owner: str
    application: str
    """Its name, or an image registered for it."""
    version: int | None = None
    """None: the newest that is published."""
    profile: str | None = Field(default=None, max_length=64)
    """None: the application's first."""
    image: str | None = Field(default=None, max_length=512)
    """A container image to run in place of the application's own; it must be allowed."""
    streaming_mode: Literal["secure", "insecure"] = "secure"
    node: str | None = Field(default=None, max_length=128)
    """This node and no other."""
    node_labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    """Labels that the node must have."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    """The caller's own, put on what is started."""
    tags: list[str] = Field(default_factory=list, max_length=64)
    needs: Needs = Needs()
    ports: list[PortWish] = Field(default_factory=list[PortWish], max_length=32)
    addons: list[str] = Field(default_factory=list, max_length=32)
    name: str | None = Field(default=None, max_length=128)
    user_data: str | None = Field(default=None, max_length=10 * 1024)
    """Handed to the application as a file (``DOWNSTAGE_USER_DATA_FILE``)."""
    stage: str | None = Field(default=None, max_length=4096)
    arguments: list[str] = Field(default_factory=list, max_length=256)
    environment: dict[str, str] = Field(default_factory=dict, max_length=256)
    display: Display = Display()
    access_token: SecretStr | None = None
    """Handed to the application as a file (``DOWNSTAGE_TOKEN_FILE``), never otherwise."""
    content_folder: str | None = Field(default=None, max_length=4096)
    """Of the socket by which the application reaches the content service; None: it does not."""
    content_host: str | None = Field(default=None, max_length=512)
    """What addresses on that service call it, ``host[:port]``."""
    instance_token: SecretStr | None = None
    """What the streamer shows at the gateway's link socket; None with `session_id`."""
    link_url: str | None = None
    """Where the streamer dials: ``unix:///path`` or ``http(s)://host``; the path is fixed. None
    with `session_id`."""
    link_urls: list[str] = Field(default_factory=list, max_length=16)
    """Further gateways, dialled in turn when the first is gone."""
    ice_servers: list[dict[str, str]] = Field(default_factory=list[dict[str, str]])


class InstanceView(Answer):
    """One instance as it stands."""

    id: str
    session_id: str | None
    tenant: str
    owner: str
    application: str
    version: int | None = None
    profile: str | None = None
    name: str | None = None
    node: str = "local"
    """Empty where the caller may not know."""
    node_reason: str | None = None
    """Why the scheduler chose that node."""
    pool: str | None = None
    """The warm pool that it waits in."""
    tags: list[str] = Field(default_factory=list)
    """With ``session=<id>`` once it has a session."""
    labels: dict[str, str] = Field(default_factory=dict)
    ports: list[PortRoute] = Field(default_factory=list[PortRoute])
    needs: Needs = Needs()
    state: InstanceState
    revision: int
    """Grows by one at every change."""
    stage: Literal["placed", "pulling", "display", "audio", "streamer", "application", "running"]
    """How far the start has come; what a person is shown while waiting."""
    reason: str | None = None
    """Why it ended: ``stopped``, ``application-exited``, ``streamer-died``, …"""
    detail: str | None = None
    """The same for a person: what happened and what to do."""
    exit_code: int | None = None
    media_socket: str | None = None
    """Path of the unix socket on which the streamer serves `/media` (WebSocket); for services."""
    isolated: bool = True
    """False where bubblewrap was not to be had and plain processes run instead."""
    created_at: datetime
    updated_at: datetime


class InstancePage(Answer):
    """Instances that have not been forgotten, newest first."""

    items: list[InstanceView]
    next: str | None = None
    """Cursor for the query parameter ``after``; None: this is the last page."""


class LogView(Answer):
    """One log of an instance."""

    name: str
    """``app.log``, ``hooks.log``, ``streamer.log`` or ``keeper.log``."""
    size: int
    modified_at: datetime


class LogPage(Answer):
    """What is kept of an instance's logs; the application's first."""

    items: list[LogView]
