"""Ways to an engine on another machine: TLS with certificates of both sides, or ssh.

=================================  =========================================================
address                            way
=================================  =========================================================
``tcp://host[:2376]``, ``https:``  TLS; both ends show a certificate
``ssh://[user@]host[:22][/path]``  the engine's socket there, forwarded by OpenSSH
``http://127.0.0.1:port``          plain: on loopback alone, where somebody else does the rest
=================================  =========================================================
"""

from __future__ import annotations

import re
import ssl
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Literal
from urllib.parse import urlsplit

import anyio
import anyio.abc
import anyio.to_thread

from downstage.kernel.net import is_loopback
from downstage.spawners.container.client import Way
from downstage.spawners.spawner import NodeUnreachable

__all__ = ["Address", "address_of", "way_to"]

PORT = 2376
SOCKET = "/run/podman/podman.sock"
"""Where ssh looks for the engine unless the address says it."""
OPEN_S = 10.0
END_S = 2.0
LOOK_S = 0.05
OPEN_TO_OTHERS = 0o077
MOST_SAID = 300
HOST = re.compile(r"[A-Za-z0-9.:_-]+")
USER = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Address:
    """An engine's, taken apart."""

    kind: Literal["unix", "tls", "plain", "ssh"]
    host: str = ""
    port: int | None = None
    user: str = ""
    path: str = ""
    """Of the socket, of those that have one."""

    @property
    def netloc(self) -> str:
        """Host and port as they stand in an address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host


def address_of(engine: str) -> Address:
    """An engine's address, taken apart.

    Raises:
        ValueError: it is none that is acceptable; the text says why.
    """
    try:
        parts = urlsplit(engine)
        host, port, user = parts.hostname or "", parts.port, parts.username or ""
    except ValueError as error:
        msg = f"{engine} is no address of an engine."
        raise ValueError(msg) from error
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return Address("unix", path=parts.path)
    if not HOST.fullmatch(host) or host.startswith("-") or parts.password or parts.query:
        msg = f"{engine} is no address of an engine: tcp://host:2376 or ssh://user@host."
        raise ValueError(msg)
    if parts.scheme == "ssh" and (not user or USER.fullmatch(user)):
        return Address("ssh", host, port, user, parts.path or SOCKET)
    if parts.scheme in ("tcp", "https") and not user and parts.path in ("", "/"):
        return Address("tls", host, port or PORT)
    if parts.scheme == "http" and not user and parts.path in ("", "/"):
        if not is_loopback(host):
            msg = (
                f"{engine} would be plain text to another machine: whoever listens could run "
                f"anything there. Use tcp://{host}:{PORT} with certificates, or ssh://."
            )
            raise ValueError(msg)
        return Address("plain", host, port or 80)
    msg = f"{engine} is no address of an engine: tcp://host:2376 or ssh://user@host."
    raise ValueError(msg)


@asynccontextmanager
async def way_to(address: Address, certificates: Path | None) -> AsyncGenerator[Way]:
    """The way to an engine, as long as this is open.

    Args:
        address: of the engine.
        certificates: folder of certificates for those with TLS (`manager.engine_certificates`).

    Raises:
        NodeUnreachable: there is none just now; the detail says why.
    """
    if address.kind == "ssh":
        async with _forwarded(address) as path:
            yield Way(f"unix://{path}")
    elif address.kind == "tls":
        trust = await anyio.to_thread.run_sync(_trust, address, certificates)
        yield Way(f"https://{address.netloc}", trust)
    elif address.kind == "plain":
        yield Way(f"http://{address.netloc}", None)
    else:
        yield Way(f"unix://{address.path}")


def _trust(address: Address, certificates: Path | None) -> ssl.SSLContext:
    """Whom to believe there, and what to show; a folder of the host's own counts first."""
    if certificates is None:
        raise NodeUnreachable(
            f"{address.netloc} is reached by TLS: put ca.pem, cert.pem and key.pem into a folder "
            "and name it by manager.engine_certificates."
        )
    own = certificates / address.host
    folder = own if own.is_dir() else certificates
    ca, certificate, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    try:
        if key.stat().st_mode & OPEN_TO_OTHERS:
            raise NodeUnreachable(f"Others may read {key}: chmod 600 {key}")
        trust = ssl.create_default_context(cafile=str(ca))
        trust.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        word = error.strerror or type(error).__name__
        raise NodeUnreachable(
            f"ca.pem, cert.pem and key.pem in {folder} cannot be used: {word}."
        ) from error
    return trust


@asynccontextmanager
async def _forwarded(address: Address) -> AsyncGenerator[Path]:
    """A socket of ours behind which the engine's is, by one ssh for as long as this is open."""
    with tempfile.TemporaryDirectory(prefix="downstage-ssh-") as folder:
        path, words = Path(folder) / "engine.sock", Path(folder) / "words"
        try:
            with words.open("wb") as said:
                process = await anyio.open_process(
                    ssh_command(address, path),
                    stdin=DEVNULL,
                    stdout=DEVNULL,
                    stderr=said,
                    start_new_session=True,
                )
        except OSError as error:
            raise NodeUnreachable(f"ssh cannot be run: {error.strerror}.") from error
        try:
            with anyio.move_on_after(OPEN_S):
                while process.returncode is None and not path.exists():
                    await anyio.sleep(LOOK_S)
            if not path.exists():
                lines = words.read_text("utf-8", "replace").strip().splitlines()
                why = lines[-1][:MOST_SAID] if lines else f"nothing within {OPEN_S:g} s"
                raise NodeUnreachable(f"ssh does not reach {address.netloc}: {why.rstrip('.')}.")
            yield path
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)


def ssh_command(address: Address, path: Path) -> list[str]:
    """OpenSSH's argument vector: nobody is asked anything, and an unknown host is refused."""
    options = (
        *("BatchMode=yes", "StrictHostKeyChecking=yes", "ExitOnForwardFailure=yes"),
        *("ConnectTimeout=8", "ServerAliveInterval=5", "ServerAliveCountMax=3"),
        *("StreamLocalBindMask=0177", "ControlMaster=no", "ControlPath=none"),
        *("ForwardAgent=no", "ForwardX11=no", "PermitLocalCommand=no"),
    )
    command = ["ssh", "-N", "-T"]
    for option in options:
        command += ["-o", option]
    if address.port:
        command += ["-p", str(address.port)]
    if address.user:
        command += ["-l", address.user]
    return [*command, "-L", f"{path}:{address.path}", "--", address.host]


async def _end(process: anyio.abc.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(END_S):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    await process.aclose()
