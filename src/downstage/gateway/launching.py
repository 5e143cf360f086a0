"""One try to start an instance for a session: what is asked for, where, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from downstage.contracts.manager import InstanceCreate, InstanceView
from downstage.gateway.models import Session
from downstage.gateway.orders import Order
from downstage.gateway.region import is_refusal
from downstage.gateway.regions.regions import Regions
from downstage.gateway.session_files import SessionFiles
from downstage.gateway.tickets import TicketOffice
from downstage.kernel.errors import NoCapacity, NotFound, PlatformError, Unavailable

__all__ = ["Failed", "Launched", "Launcher"]


@dataclass(frozen=True, slots=True)
class Launched:
    """A region has taken the instance on."""

    region: str
    instance: InstanceView


@dataclass(frozen=True, slots=True)
class Failed:
    """None has."""

    error: PlatformError
    full: tuple[str, ...] = ()
    """Regions that have no place for it."""
    region: str | None = None
    """Where it may have been started nevertheless; None: nowhere, that is certain."""

    @property
    def is_full(self) -> bool:
        """Whether a place is all that is missing."""
        return self.region is None and isinstance(self.error, NoCapacity)

    @property
    def is_final(self) -> bool:
        """Whether another try cannot help: refused for what was asked."""
        return self.region is None and is_refusal(self.error) and not self.is_full


class Launcher:
    """Starts instances.

    Args:
        regions: where.
        office: mints the streamer's token.
        files: what applications may touch of the platform's own content.
        link_url: where streamers dial.
        link_urls: where they dial when that one is gone.
        ice_servers: handed to streamers.
    """

    def __init__(
        self,
        *,
        regions: Regions,
        office: TicketOffice,
        files: SessionFiles,
        link_url: str,
        link_urls: Sequence[str] = (),
        ice_servers: Sequence[dict[str, str]] = (),
    ) -> None:
        self.files = files
        self._regions = regions
        self._office = office
        self._link_url = link_url
        self._link_urls = list(link_urls)
        self._ice_servers = list(ice_servers)

    async def launch(
        self, session: Session, order: Order, regions: Sequence[str]
    ) -> Launched | Failed:
        """Start what *order* asks for in the first of *regions* that takes it.

        The next one is asked only where the one before said for certain that it started nothing.
        """
        try:
            wanted = await self._wanted(session, order)
        except PlatformError as error:
            return Failed(error)
        refused: PlatformError | None = None
        full = list[str]()
        for name in regions:
            try:
                _, instance = await self._regions.launch((name,), wanted, act=order.act)
            except NoCapacity as error:
                full.append(name)
                refused = error
            except NotFound as error:
                refused = refused or error
            except PlatformError as error:
                return Failed(error, tuple(full), None if is_refusal(error) else name)
            else:
                return Launched(name, instance)
        return Failed(refused or Unavailable("No region was named."), tuple(full))

    async def _wanted(self, session: Session, order: Order) -> InstanceCreate:
        files = await self.files.grant(session)
        return InstanceCreate(
            session_id=session.id,
            instance_id=session.life.instance_id,
            tenant=session.tenant,
            owner=session.owner,
            application=order.application,
            stage=order.stage,
            arguments=list(order.arguments),
            environment=order.environment,
            version=order.version,
            user_data=order.user_data,
            **order.wishes.fields(),
            display=order.display,
            access_token=order.access_token or files.token,
            content_folder=files.folder,
            content_host=files.host,
            instance_token=SecretStr(await self._office.instance_token(session)),
            link_url=self._link_url,
            link_urls=self._link_urls,
            ice_servers=self._ice_servers,
        )
