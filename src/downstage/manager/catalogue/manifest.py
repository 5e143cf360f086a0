"""``application.toml``: what an application says of itself, checked key by key.

``[profiles.<name>]`` sections are ways to run it. Where there are none, there is one called
``default``, made of ``[resources]``; asking for ``default`` always works and means the profile of
that name, else the first.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from downstage.contracts.applications import PoolView, ProfileView
from downstage.contracts.manager import Display, Needs, PortWish
from downstage.kernel.errors import InvalidField

__all__ = [
    "DEFAULT",
    "FILE",
    "MAX_FILE",
    "NAME",
    "ApplicationFile",
    "Hooks",
    "Pool",
    "Profile",
    "Resources",
    "explain",
    "read_toml",
]

FILE = "application.toml"
DEFAULT = "default"
MAX_FILE = 256 * 1024
NAME = r"^[a-z0-9][a-z0-9-]{0,63}$"
PROFILE = re.compile(r"^[a-z0-9][a-z0-9_.-]{0,63}$")
CHANNEL = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
MAX_PROFILES = 64
UNBOUND = 65535
HOOK_S = 300.0
LONGEST_HOOK_S = 900.0


def _one_line(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("unprintable", "no control characters")
    return value


def _vector(value: list[str]) -> list[str]:
    if any("\0" in item for item in value):
        raise PydanticCustomError("nul", "no NUL in an argument")
    return value


Line = Annotated[str, AfterValidator(_one_line)]
Vector = Annotated[list[str], Field(max_length=256), AfterValidator(_vector)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Resources(_Closed):
    """What an application may take, and how long it may take to draw."""

    memory_mb: int | None = Field(default=None, ge=64)
    """Bound of each process's data memory."""
    start_deadline_s: float = Field(default=30.0, gt=0, le=600)
    """From its start to its first picture."""
    gpu: bool = False
    """Whether it may open the graphics card."""


class Pool(_Closed):
    """Instances that wait, started, for a session."""

    size: int = Field(default=0, ge=0, le=1000)
    ttl_s: float = Field(default=3600, ge=10, le=30 * 86400)
    """How old one may become before another takes its place."""


class Profile(_Closed):
    """One way to run the application."""

    title: Line = Field(default="", max_length=128)
    description: str = Field(default="", max_length=1024)
    cpus: float | None = Field(default=None, gt=0, le=1024)
    memory_mb: int | None = Field(default=None, ge=64, le=16 << 20)
    disk_mb: int | None = Field(default=None, ge=1)
    gpu_slots: int = Field(default=0, ge=0, le=64)
    pids: int | None = Field(default=None, ge=16)
    environment: dict[str, str] = {}
    """Variables it gets on top of the application's own."""
    arguments: Vector = []
    """Appended to the application's own; with the same placeholders."""
    max_width: int | None = Field(default=None, ge=16, le=65535)
    """A larger picture is asked down to this, never refused."""
    max_height: int | None = Field(default=None, ge=16, le=65535)
    max_fps: int | None = Field(default=None, ge=1, le=240)
    pool: Pool = Pool()

    def needs(self, asked: Needs) -> Needs:
        """What an instance is promised: what was asked for, else this profile's."""
        own = {key: getattr(self, key) for key in Needs.model_fields}
        return Needs(**(own | asked.model_dump(exclude_unset=True, exclude_none=True)))

    def clamp(self, display: Display) -> Display:
        """The picture asked for, within this profile's limits."""
        return Display(
            width=min(display.width, self.max_width or display.width),
            height=min(display.height, self.max_height or display.height),
            fps=min(display.fps, self.max_fps or display.fps),
        )

    @property
    def largest(self) -> tuple[int, int] | None:
        """Width and height that no picture may exceed; None: there is no limit."""
        if self.max_width is None and self.max_height is None:
            return None
        return self.max_width or UNBOUND, self.max_height or UNBOUND

    def view(self, name: str) -> ProfileView:
        """As callers see it, without environment and arguments."""
        return ProfileView(
            name=name,
            title=self.title,
            description=self.description,
            needs=self.needs(Needs()),
            max_width=self.max_width,
            max_height=self.max_height,
            max_fps=self.max_fps,
            pool=PoolView(size=self.pool.size, ttl_s=self.pool.ttl_s),
        )


class Hooks(_Closed):
    """Programs that run in the instance's sandbox around the application; argument vectors."""

    pre_start: Vector = []
    """Before the application starts; ``{folder}`` and ``{python}`` are filled in."""
    post_start: Vector = []
    """After its first picture, before anybody is told that it runs."""
    post_stop: Vector = []
    """When it has ended, however that came."""
    timeout_s: float = Field(default=HOOK_S, gt=0, le=LONGEST_HOOK_S)
    """Of each of them."""


class ApplicationFile(_Closed):
    """The content of an ``application.toml``."""

    name: str = Field(pattern=NAME)
    title: Line = Field(min_length=1, max_length=128)
    description: str = Field(default="", max_length=1024)
    image: str | None = Field(default=None, max_length=512)
    """Container image that it runs in; one that ``manager.images`` allows."""
    command: Vector = Field(default=[], validate_default=True)
    """Argument vector, never a shell; ``{python}`` is the interpreter that runs Downstage.
    With an `image`, empty is the image's own."""
    arguments: Vector = []
    """Appended; ``{width} {height} {fps} {folder} {stage} {stage_dir}`` are filled in."""
    display: Literal["x11", "wayland"] = "x11"
    images: list[str] = []
    """Image names of container platforms that mean this application here."""
    tags: list[Annotated[Line, Field(min_length=1, max_length=128)]] = Field(
        default=[], max_length=64
    )
    """Words by which catalogues filter."""
    opens_stage: bool = False
    """Takes a stage as its document."""
    stage_argument: Vector = ["{stage}"]
    """Appended when a stage is given."""
    default_stage: str | None = None
    """Opened when none is given."""
    requires: list[str] = []
    """Python modules without which it cannot run."""
    missing_hint: str | None = None
    """How to get them."""
    network: bool = False
    """Whether it may reach the network."""
    read_only: list[Path] = []
    """Further folders it may read."""
    allowed_options: list[str] | None = None
    """Options that callers may pass in `arguments`; absent: any."""
    allowed_environment: list[str] = ["*"]
    """Variables that callers may set, with ``*`` at the end of a name; never the system's own."""
    environment: dict[str, str] = {}
    """Variables it always gets."""
    ports: list[PortWish] = Field(default=[], max_length=32)
    """Ports of it that people shall reach."""
    channels: list[Annotated[str, Field(pattern=CHANNEL)]] = Field(default=[], max_length=32)
    """Names of data channels that it opens."""
    addons: list[Annotated[str, Field(pattern=NAME)]] = Field(default=[], max_length=32)
    """Addons whose hooks run with it, before its own."""
    hooks: Hooks = Hooks()
    resources: Resources = Resources()
    profiles: dict[str, Profile] = Field(default={}, max_length=MAX_PROFILES)
    extra: dict[str, str] = Field(default={}, max_length=64)
    """Kept for other dialects; nothing here reads it."""

    @field_validator("command")
    @classmethod
    def _has_a_command(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if not value and not info.data.get("image"):
            raise PydanticCustomError("missing", "field required, without an image")
        return value

    @model_validator(mode="after")
    def _names_profiles(self) -> Self:
        for name in self.profiles:
            if not PROFILE.match(name):
                raise PydanticCustomError(
                    "profile_name", "profiles: a name has small letters, digits and . _ -"
                )
        return self

    @property
    def all_profiles(self) -> dict[str, Profile]:
        """By name, the default one first; never empty."""
        memory = self.resources.memory_mb
        if not self.profiles:
            return {DEFAULT: Profile(memory_mb=memory)}
        found = {
            name: profile
            if profile.memory_mb is not None
            else profile.model_copy(update={"memory_mb": memory})
            for name, profile in self.profiles.items()
        }
        first = DEFAULT if DEFAULT in found else next(iter(found))
        return {first: found[first], **found}

    def profile(self, name: str | None) -> tuple[str, Profile]:
        """The profile called *name*, and its name; None and ``default`` always find one.

        Raises:
            InvalidField: there is none.
        """
        found = self.all_profiles
        if name in (None, "", DEFAULT):
            return next(iter(found.items()))
        if name not in found:
            known = ", ".join(found)
            raise InvalidField("profile", f"{self.title} has no profile {name!r}. It has: {known}.")
        return name, found[name]


def read_toml(text: bytes) -> ApplicationFile:
    """The manifest that *text* is.

    Raises:
        ValueError: it is none; the message names the key.
    """
    try:
        return ApplicationFile.model_validate(tomllib.loads(text.decode("utf-8")))
    except ValidationError as error:
        raise ValueError(explain(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"is not TOML: {error}"
        raise ValueError(msg) from error


def explain(error: ValidationError) -> str:
    """What is wrong, key by key, in one line."""
    lines = list[str]()
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        what = "is not known" if item["type"] == "extra_forbidden" else item["msg"].lower()
        lines.append(f"{key}: {what}" if key else what)
    return "; ".join(lines)
