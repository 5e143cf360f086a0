"""The catalogue of applications: what is published, in which versions and profiles.

=====  =============================================================  ============================
verb   path (on the manager, and on the public port)                  body → answer
=====  =============================================================  ============================
GET    /v1/catalogue/applications?tag=…                               → ApplicationDetails
POST   /v1/catalogue/applications                                     archive → VersionView (201)
GET    /v1/catalogue/applications/{name}                              → ApplicationDetail
PATCH  /v1/catalogue/applications/{name}                              ApplicationPatch →
                                                                      ApplicationDetail
DEL    /v1/catalogue/applications/{name}?force=…                      → 204
GET    /v1/catalogue/applications/{name}/versions                     → VersionPage
POST   /v1/catalogue/applications/{name}/versions                     archive → VersionView (201)
GET    /v1/catalogue/applications/{name}/versions/{number}            → VersionView
PATCH  /v1/catalogue/applications/{name}/versions/{number}            VersionPatch → VersionView
DEL    /v1/catalogue/applications/{name}/versions/{number}?force=…    → 204
GET    /v1/catalogue/applications/{name}/versions/{number}/manifest   → the file as it was sent
GET    /v1/catalogue/applications/{name}/versions/{number}/profiles   → ProfilePage
GET    /v1/catalogue/addons                                           → AddonPage
POST   /v1/catalogue/addons                                           archive → AddonView (201)
GET    /v1/catalogue/addons/{name}                                    → AddonView
DEL    /v1/catalogue/addons/{name}                                    → 204
GET    /v1/catalogue/images                                           → ImagePage
POST   /v1/catalogue/images                                           ImageCreate → ImageView (201)
DEL    /v1/catalogue/images/{id}                                      → 204
=====  =============================================================  ============================

``{name}`` is the application's name or id; ``{number}`` may be ``latest``: the newest published
version. An archive is a zip, tar, tar.gz or tar.bz2 as ``application/octet-stream``, with its
SHA-256 in hexadecimal in ``Downstage-Digest``; ``Downstage-Publish: no`` leaves the version
unpublished.
Reading takes the scope ``sessions:read`` or ``instances:read``; manifests, addons and images take
``instances:read``; everything else takes ``applications:write``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from downstage.contracts.manager import Needs
from downstage.contracts.wire import Answer, Request

__all__ = [
    "AddonPage",
    "AddonVersion",
    "AddonView",
    "ApplicationDetail",
    "ApplicationDetails",
    "ApplicationPatch",
    "ApplicationStatus",
    "ImageCreate",
    "ImagePage",
    "ImageView",
    "PoolView",
    "ProfilePage",
    "ProfileView",
    "VersionPage",
    "VersionPatch",
    "VersionView",
]

ApplicationStatus = Literal["initializing", "ready", "error"]
"""``initializing``: being unpacked. ``error``: `error` says why it is of no use."""


class PoolView(Answer):
    """Instances that wait, started, for a session."""

    size: int = 0
    ttl_s: float = 3600
    """How old one may become before another takes its place."""


class ProfileView(Answer):
    """One way to run an application."""

    name: str
    title: str = ""
    description: str = ""
    needs: Needs = Needs()
    """What its instances are promised; what is empty is the platform's."""
    max_width: int | None = None
    max_height: int | None = None
    max_fps: int | None = None
    pool: PoolView = PoolView()


class ProfilePage(Answer):
    """The profiles of one version; the first is taken where none is asked for."""

    items: list[ProfileView]


class VersionView(Answer):
    """One version of an application; what it holds never changes."""

    application: str
    """The application's name."""
    application_id: str
    number: int
    """1, 2, 3, …; a number is never used twice."""
    published: bool
    """Whether it is taken when no version is asked for."""
    status: ApplicationStatus
    error: str | None = None
    size: int = 0
    """Bytes of the archive."""
    digest: str | None = None
    """SHA-256 of the archive, hexadecimal; None for declared ones."""
    image: str | None = None
    addons: list[str] = Field(default_factory=list[str])
    profiles: list[ProfileView] = Field(default_factory=list[ProfileView])
    extra: dict[str, str] = Field(default_factory=dict[str, str])
    """What manifests of other systems say that has no meaning here."""
    created_at: datetime | None = None
    """None for declared ones."""
    created_by: str | None = None


class VersionPage(Answer):
    """The versions of one application, newest first."""

    items: list[VersionView]


class ApplicationDetail(Answer):
    """One application of the catalogue."""

    id: str
    """For declared ones, the name."""
    name: str
    title: str
    description: str
    tags: list[str]
    source: Literal["declared", "published"]
    """``declared``: a folder on the machine, which the API cannot change."""
    immutable: bool
    status: ApplicationStatus
    error: str | None = None
    published: bool
    """It has a published version that is ready."""
    latest: int | None
    """Number of the newest published version."""
    opens_stage: bool = False
    unavailable: str | None = None
    """Why it cannot be started here, and what to do about it."""
    versions: list[VersionView]
    """Newest first."""
    owner: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class ApplicationDetails(Answer):
    """Applications, by name."""

    items: list[ApplicationDetail]


class ApplicationPatch(Request):
    """What may change of a published application without a new version; absent: as it was."""

    title: str | None = Field(default=None, min_length=1, max_length=128)
    description: str | None = Field(default=None, max_length=1024)
    tags: list[str] | None = Field(default=None, max_length=64)
    immutable: Literal[True] | None = None
    """From now on nothing of it can be changed, and no version added; there is no way back."""


class VersionPatch(Request):
    """Publish a version, or take that back."""

    published: bool


class AddonVersion(Answer):
    """One version of an addon."""

    number: int
    status: ApplicationStatus
    error: str | None = None
    size: int
    digest: str
    created_at: datetime


class AddonView(Answer):
    """Hooks that applications may share."""

    name: str
    description: str
    owner: str
    versions: list[AddonVersion]
    """Newest first; instances take the newest that is ready."""
    used_by: list[str] = Field(default_factory=list[str])
    """Applications whose newest version names it."""


class AddonPage(Answer):
    """All addons, by name."""

    items: list[AddonView]


class ImageCreate(Request):
    """Give an image a name; the reference must be one that the platform's settings allow."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    reference: str = Field(min_length=1, max_length=512)


class ImageView(Answer):
    """A container image by which applications may run."""

    id: str
    name: str
    reference: str
    allowed: bool
    """Whether the settings (``manager.images``) still let it run."""
    used_by: list[str] = Field(default_factory=list[str])
    """Applications whose newest version runs it."""
    created_at: datetime | None = None
    """None for those that only applications name."""


class ImagePage(Answer):
    """Images that were registered or that applications name."""

    items: list[ImageView]
