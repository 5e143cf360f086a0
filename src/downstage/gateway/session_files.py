"""Files of the platform's own content for the application of a session, by its owner's rights."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import SecretStr

from downstage.gateway.models import Session
from downstage.gateway.stages import OwnStages
from downstage.gateway.tickets import TicketOffice

__all__ = ["FilesGrant", "SessionFiles"]


@dataclass(frozen=True, slots=True)
class FilesGrant:
    """How an application reaches its stage; nothing where that lies elsewhere."""

    token: SecretStr | None = None
    folder: str | None = None
    """Of the socket."""
    host: str | None = None
    """What addresses call the service."""


class SessionFiles:
    """Grants, and ends what was granted.

    Args:
        office: mints the tokens.
        stages: which of them are ours.
        folder: of the socket by which instances of this machine reach content; None: they do not.
    """

    def __init__(self, office: TicketOffice, stages: OwnStages, folder: str | None) -> None:
        self._office = office
        self._stages = stages
        self._folder = folder

    async def grant(self, session: Session) -> FilesGrant:
        """What the application of *session* needs for its stage.

        Raises:
            Unavailable: identity does not answer.
        """
        stage = self._stages.find(session.stage)
        if stage is None:
            return FilesGrant()
        token = SecretStr(await self._office.files_token(session, stage))
        return FilesGrant(token, self._folder, stage.host)

    async def end(self, session: Session) -> None:
        """Let what was granted to *session* no longer count.

        Raises:
            Unavailable: identity does not answer; it is to be tried again.
        """
        if self._stages.find(session.stage) is not None:
            await self._office.end_files(session.life.instance_id)
