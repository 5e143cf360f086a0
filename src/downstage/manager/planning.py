"""From a request to a specification: everything that can be refused is refused here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio.to_thread

from downstage.contracts.manager import (
    ApplicationPage,
    ApplicationView,
    Display,
    InstanceCreate,
    Needs,
)
from downstage.kernel.errors import InvalidField, NotFound
from downstage.manager.applications import Application, Fault
from downstage.manager.catalogue.declared import Declared
from downstage.manager.catalogue.manifest import Profile
from downstage.manager.catalogue.references import check_image
from downstage.manager.command import command_of, environment_of, find_stage, hooks_of
from downstage.spawners.plan import Hook
from downstage.spawners.spawner import InstanceSpec

__all__ = ["Planned", "Planner", "Published"]


class Published(Protocol):
    """Applications that came in as archives."""

    async def views(self) -> list[ApplicationView]:
        """Those with a published version, by name."""
        ...

    async def find(self, key: str, number: int | None) -> Application | None:
        """The version *number* of the application with name, id or image *key*.

        None is the newest published one. None comes back where no application is called so.

        Raises:
            NotFound: there is the application, but not that version.
        """
        ...

    async def addon_hooks(self, names: Sequence[str]) -> list[Hook]:
        """The hooks of addons, in order.

        Raises:
            InvalidField: there is no such addon.
        """
        ...


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to run, and by which rules."""

    application: str
    version: int
    profile: str
    needs: Needs
    """What it is promised: what was asked for, else the profile's."""
    spec: InstanceSpec
    pool_size: int = 0
    """How many of this profile are to wait for sessions."""
    pool_ttl_s: float = 3600


@dataclass(frozen=True, slots=True)
class _Choice:
    application: Application
    profile_name: str
    profile: Profile
    display: Display
    image: str | None
    hooks: tuple[Hook, ...]


class Planner:
    """Knows what may run and what callers may ask of it.

    Args:
        applications: those declared, or the folders where they are.
        stages: folders whose files may be opened.
        published: those that came in as archives, where there is a catalogue of them.
        images: patterns of container images that may run.
    """

    def __init__(
        self,
        applications: Declared | Sequence[Path],
        stages: Sequence[Path],
        *,
        published: Published | None = None,
        images: Sequence[str] = (),
    ) -> None:
        found = applications if isinstance(applications, Declared) else Declared(applications)
        self._declared, self._published = found, published
        self._stages, self._images = tuple(stages), tuple(images)

    async def reload(self) -> None:
        """Read every declaration anew: a new file needs no restart."""
        await self._declared.reload()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Declarations that were not taken."""
        return self._declared.catalogue.faults

    async def page(self) -> ApplicationPage:
        """All applications that may run, by name."""
        found = (
            {view.name: view for view in (await self._published.views())}
            if (self._published)
            else dict[str, ApplicationView]()
        )
        found |= {view.name: view for view in (await self._declared.reload()).views()}
        return ApplicationPage(items=[found[name] for name in sorted(found)])

    async def view(self, name: str) -> ApplicationView:
        """One application, also where it cannot run here.

        Raises:
            NotFound: there is none.
        """
        catalogue = await self._declared.reload()
        found = catalogue.applications.get(name)
        return (found or await self._find(name, None)).view()

    async def plan(self, instance_id: str, request: InstanceCreate) -> Planned:
        """What is to run for *request*.

        Raises:
            NotFound: no application or image of that name, or no such version, can run here.
            InvalidField: something asked for is not acceptable.
        """
        application = await self._find(request.application, request.version)
        declared = application.declared
        profile_name, profile = declared.profile(request.profile)
        addons = list(dict.fromkeys([*declared.addons, *request.addons]))
        hooks = await self._addon_hooks(addons)
        image = self._image(request.image, declared.image)
        display = profile.clamp(request.display)
        choice = _Choice(application, profile_name, profile, display, image, tuple(hooks))
        return await anyio.to_thread.run_sync(self._planned, instance_id, choice, request)

    async def _find(self, name: str, number: int | None) -> Application:
        catalogue = await self._declared.reload()
        if not catalogue.knows(name) and self._published is not None:
            found = await self._published.find(name, number)
            if found is not None:
                if found.unavailable is not None:
                    raise NotFound(found.unavailable, field="application", application=name)
                return found
        application = catalogue.find(name)
        if number not in (None, application.number):
            title = application.declared.title
            raise NotFound(
                f"{title} is declared on this machine and has one version, 1.", field="version"
            )
        return application

    async def _addon_hooks(self, names: Sequence[str]) -> list[Hook]:
        if not names:
            return []
        if self._published is None:
            raise InvalidField("addons", f"There is no addon {names[0]!r}.")
        return await self._published.addon_hooks(names)

    def _image(self, asked: str | None, own: str | None) -> str | None:
        if asked is not None:
            return check_image("image", asked, self._images)
        return None if own is None else check_image("image", own, self._images)

    def _planned(self, instance_id: str, choice: _Choice, request: InstanceCreate) -> Planned:
        application, profile = choice.application, choice.profile
        needs = profile.needs(request.needs)
        return Planned(
            application=application.declared.name,
            version=application.number,
            profile=choice.profile_name,
            needs=needs,
            spec=self._spec(instance_id, choice, needs, request),
            pool_size=profile.pool.size,
            pool_ttl_s=profile.pool.ttl_s,
        )

    def _spec(
        self, instance_id: str, choice: _Choice, needs: Needs, request: InstanceCreate
    ) -> InstanceSpec:
        application, declared = choice.application, choice.application.declared
        stage = find_stage(application, request.stage, [*self._stages, application.folder])
        hooks = (*choice.hooks, *hooks_of(application))
        seen = [*declared.read_only, *(Path(hook.folder) for hook in choice.hooks)]
        if stage is not None and stage.folder is not None:
            seen.append(stage.folder)
        return InstanceSpec(
            instance_id=instance_id,
            session_id=request.session_id,
            command=command_of(
                application,
                stage=stage,
                more=choice.profile.arguments,
                arguments=request.arguments,
                display=choice.display,
            ),
            display_kind=declared.display,
            instance_token=request.instance_token,
            link_url=request.link_url,
            link_urls=tuple(request.link_urls),
            environment=environment_of(
                application, request.environment, choice.profile.environment
            ),
            folder=application.folder,
            read_only=tuple(dict.fromkeys(seen)),
            display=choice.display,
            access_token=request.access_token,
            user_data=request.user_data,
            needs=needs,
            content_host=request.content_host,
            content_folder=Path(request.content_folder) if request.content_folder else None,
            ice_servers=tuple(request.ice_servers),
            channels=tuple(declared.channels),
            network=declared.network,
            gpu=declared.resources.gpu or needs.gpu_slots > 0,
            memory_mb=needs.memory_mb,
            start_deadline_s=declared.resources.start_deadline_s,
            largest=choice.profile.largest,
            image=choice.image,
            ports=(*declared.ports, *request.ports),
            labels=dict(request.labels),
            hooks=hooks,
            facts={"BOOT_PACKAGE": declared.extra.get("boot_package", "")} if hooks else {},
        )
