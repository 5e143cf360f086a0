"""The REST interface that Kit applications offer from inside, offered by the instance for them.

On the unix socket ``streaming`` in the folder of data channels, so that it needs no network:

====  ==========================  ================================================================
GET   /v1/streaming/startup       200 as soon as the streamer runs
GET   /v1/streaming/ready         503 until there is a picture, then 200
POST  /v1/streaming/creds         ``{stunIp, stunPort, username, password}``: a TURN server for the
                                  viewers of this session, from the next one on
POST  /v1/streaming/endsession    ends the session
====  ==========================  ================================================================

Who asks how it stands needs nothing; what changes the session needs the instance's own token
(``Authorization: Bearer``), which applications are never given.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from downstage.kernel.logging import get_logger
from downstage.streamer.unix_site import serve_at

__all__ = ["SOCKET", "InstanceApi", "InstanceHooks"]

SOCKET = "streaming"
MAX_BODY = 4096
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class InstanceHooks:
    """What the interface asks of the streamer."""

    is_ready: Callable[[], bool]
    token: Callable[[], SecretStr | None]
    """The instance's token; None while nobody has the instance."""
    add_relay: Callable[[dict[str, str]], None]
    end: Callable[[str], None]


class Credentials(BaseModel):
    """A TURN server; without a name, a STUN server."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    stun_ip: str = Field(alias="stunIp", pattern=r"^[A-Za-z0-9.:\-]{1,253}$")
    stun_port: int = Field(alias="stunPort", ge=1, le=65535)
    username: str = Field(default="", max_length=512)
    password: SecretStr = Field(default=SecretStr(""), max_length=512)

    def server(self) -> dict[str, str]:
        """As an ICE server."""
        host = f"[{self.stun_ip}]" if ":" in self.stun_ip else self.stun_ip
        if not self.username:
            return {"urls": f"stun:{host}:{self.stun_port}"}
        return {
            "urls": f"turn:{host}:{self.stun_port}",
            "username": self.username,
            "credential": self.password.get_secret_value(),
        }


class InstanceApi:
    """Serves the interface.

    Args:
        folder: of data channels; the application sees it too.
        hooks: into the streamer.
    """

    def __init__(self, folder: Path, hooks: InstanceHooks) -> None:
        self._path, self._hooks = folder / SOCKET, hooks
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Begin to listen.

        Raises:
            OSError: the socket cannot be made.
        """
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_get("/v1/streaming/startup", self._startup)
        application.router.add_get("/v1/streaming/ready", self._ready)
        application.router.add_post("/v1/streaming/creds", self._creds)
        application.router.add_post("/v1/streaming/endsession", self._end_session)
        self._runner = await serve_at(self._path, application, hide=0o111)

    async def close(self) -> None:
        """Stop to listen."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _startup(self, _: web.Request) -> web.Response:
        return web.json_response({"success": True})

    async def _ready(self, _: web.Request) -> web.Response:
        is_ready = self._hooks.is_ready()
        return web.json_response({"success": is_ready}, status=200 if is_ready else 503)

    async def _creds(self, request: web.Request) -> web.Response:
        self._authorize(request)
        try:
            given = Credentials.model_validate_json(await request.read())
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
            text = f"These fields are wrong or missing: {fields}."
            return web.json_response({"success": False, "message": text}, status=422)
        self._hooks.add_relay(given.server())
        log.info("relay.added", host=given.stun_ip)
        return web.json_response({"success": True})

    async def _end_session(self, request: web.Request) -> web.Response:
        self._authorize(request)
        self._hooks.end("stopped")
        return web.json_response({"success": True})

    def _authorize(self, request: web.Request) -> None:
        token = self._hooks.token()
        shown = request.headers.get("Authorization", "")
        wanted = f"Bearer {token.get_secret_value()}" if token is not None else ""
        if not wanted or not hmac.compare_digest(shown.encode(), wanted.encode()):
            raise web.HTTPUnauthorized(text="This needs the instance's own token.")
