"""Where a NATS server is and how we prove ourselves to it; addresses are shown without secrets."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Bus as BusSettings

__all__ = ["NatsOptions", "check_credentials", "from_settings", "parse"]

PORT = 4222
HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class NatsOptions:
    """One cluster, one identity: connections are shared by those who say the same."""

    servers: tuple[str, ...]
    """``host:port`` each; any of them leads to the cluster."""
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    nkey_file: Path | None = None
    credentials_file: Path | None = None
    is_encrypted: bool = False
    """Refuse a server that does not offer TLS, before it learns any secret."""
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @property
    def shown(self) -> str:
        """The address for people and logs: no secrets."""
        scheme = "tls" if self.is_encrypted else "nats"
        return f"{scheme}://{','.join(self.servers)}"

    def addresses(self) -> list[str]:
        """What the client is given to connect to."""
        return [f"nats://{server}" for server in self.servers]

    def tls_context(self) -> ssl.SSLContext:
        """A context that verifies the server; slow to make (16 ms), so not on a loop.

        Raises:
            SetupError: a file cannot be read.
        """
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_certificate is not None:
                context.load_cert_chain(self.tls_certificate, self.tls_key)
        except OSError as error:  # also what is no certificate: ssl.SSLError
            raise SetupError(f"The certificates for NATS cannot be used: {error}.") from error
        return context


def check_credentials(path: Path) -> None:
    """Refuse a ``.creds`` file without its two parts: the library looks for them for ever.

    Raises:
        SetupError: it cannot be read, or is none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SetupError(f"The credentials for NATS cannot be read: {error}.") from error
    if b"BEGIN USER NKEY SEED" not in content or b"BEGIN NATS USER JWT" not in content:
        raise SetupError(f"The file {path} holds no credentials for NATS.")


def parse(uri: str) -> tuple[NatsOptions | None, str]:
    """Servers and identity of ``nats://[user:password@]host[:port][,host…][/path]``, and the path.

    Returns:
        None for the options where the URI names no host.

    Raises:
        ValueError: another scheme, or hosts out of form; the text shows no secret.
    """
    parts = urlsplit(uri)
    if parts.scheme not in ("nats", "tls"):
        raise ValueError(f"A NATS address begins with nats:// or tls://, not {parts.scheme}://.")
    if parts.query or parts.fragment:
        raise ValueError("A NATS address has no query and no fragment.")
    who, _, hosts = parts.netloc.rpartition("@")
    if not hosts:
        return None, parts.path
    options = NatsOptions(
        servers=tuple(_server(host) for host in hosts.split(",")),
        is_encrypted=parts.scheme == "tls",
    )
    name, colon, password = who.partition(":")
    if colon:
        options = replace(options, user=unquote(name), password=unquote(password))
    elif name:
        options = replace(options, token=unquote(name))
    return options, parts.path


def from_settings(settings: BusSettings) -> NatsOptions | None:
    """What the section ``[bus]`` says; None where it names no server.

    Raises:
        SetupError: the address is out of form, or more than one identity is given.
    """
    if settings.url is None:
        return None
    try:
        options, path = parse(settings.url.get_secret_value())
    except ValueError as error:
        raise SetupError(f"bus.url: {error}") from None
    if options is None or path not in ("", "/"):
        raise SetupError("bus.url names hosts and no path: nats://host:4222.")
    given = replace(
        options,
        user=settings.user or options.user,
        password=_reveal(settings.password) or options.password,
        token=_reveal(settings.token) or options.token,
        nkey_file=settings.nkey_file,
        credentials_file=settings.credentials_file,
        is_encrypted=options.is_encrypted or settings.tls_ca is not None,
        tls_ca=settings.tls_ca,
        tls_certificate=settings.tls_certificate,
        tls_key=settings.tls_key,
    )
    _check(given)
    return given


def _check(options: NatsOptions) -> None:
    ways = (options.user, options.token, options.nkey_file, options.credentials_file)
    if sum(bool(way) for way in ways) > 1:
        raise SetupError(
            "[bus] takes one identity: user and password, token, nkey_file or credentials_file."
        )
    for path in (options.nkey_file, options.credentials_file):
        if path is None:
            continue
        if not path.is_file():
            raise SetupError(f"The file {path} of [bus] is not there.")
        if find_spec("nkeys") is None:
            raise SetupError("NKeys and .creds files need a library: pip install 'nats-py[nkeys]'.")
    if options.credentials_file is not None:
        check_credentials(options.credentials_file)


def _reveal(secret: object) -> str:
    reveal = getattr(secret, "get_secret_value", None)
    return str(reveal()) if callable(reveal) else ""


def _server(text: str) -> str:
    found = HOST.fullmatch(text)
    port = int(found["port"] or PORT) if found else 0
    if found is None or not 0 < port < 65536:  # noqa: PLR2004 - TCP
        raise ValueError("A host of a NATS address is out of form: host, or host:port.")
    return f"{found['host']}:{port}"
