"""The address of the web client, with every parameter that clients of that API know."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from downstage.gateway.models import Session

__all__ = ["WebClient"]

ICE_DECIDES = 0
"""Port of media where no fixed one is set."""


@dataclass(frozen=True, slots=True)
class WebClient:
    """Builds addresses and routes of sessions.

    Args:
        public: address by which browsers reach us.
        media_port: first UDP port of media; None: any free one.
    """

    public: str
    media_port: int | None = None

    @property
    def host(self) -> str:
        """Name or address, without port."""
        return urlsplit(self.public).hostname or "localhost"

    @property
    def port(self) -> int:
        """Port of everything but media."""
        parts = urlsplit(self.public)
        return parts.port or (443 if parts.scheme == "https" else 80)

    def url(self, session: Session, *, code: str | None = None) -> str:
        """The page for *session*; *code* opens it once and stands in the fragment alone."""
        query = urlencode(
            {
                "signalingserver": self.host,
                "signalingport": self.port,
                "mediaserver": self.host,
                "mediaport": self.media_port or ICE_DECIDES,
                "sessionid": session.id,
                "mic": 0,
                "cursor": "free",
                "server": "",
                "nucleus": content_host(session.stage),
                "resolution": f"{session.display.width}x{session.display.height}",
                "fps": session.display.fps,
                "autolaunch": "true",
                "backendurl": self.public,
                "terminateVerb": "DELETE",
            }
        )
        fragment = f"#join={code}" if code is not None else ""
        return f"{self.public}/webclient/index.html?{query}{fragment}"

    def routes(self, session: Session) -> str:
        """Ports of signalling, of media and of the application, in the API's own notation."""
        media = self.media_port or ICE_DECIDES
        own = f"{self.port}:TCP:NPORT:{self.port},{media}:UDP:MEDIA:{media}"
        further = [
            f"{port['published']}:{port['type']}:NPORT:{port['number']}" for port in session.ports
        ]
        return ",".join([own, *further])


def content_host(stage: str | None) -> str:
    """Host of the content server that *stage* lies on; empty for a local path."""
    if not stage:
        return ""
    try:
        return urlsplit(stage).hostname or ""
    except ValueError:
        return ""
