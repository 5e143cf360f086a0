"""Every setting of the platform: defaults < TOML file < environment < command line.

Unknown keys are refused wherever they come from: pydantic refuses those in files and in
nested variables, and `load` scans the environment for misspelt sections, which
pydantic-settings passes over in silence.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from downstage.kernel.errors import SetupError
from downstage.kernel.exts import VARIABLE, Exts, gather_exts, parse_assignment

__all__ = [
    "Agent",
    "Bus",
    "Content",
    "Extensions",
    "Gateway",
    "Identity",
    "Log",
    "Manager",
    "Media",
    "Platform",
    "Services",
    "Settings",
    "Turn",
    "load",
]

PREFIX = "DOWNSTAGE_"
MAX_KEY = 256
EXTS = "exts"
RESERVED = frozenset(
    {
        "DOWNSTAGE_CHAOS",
        "DOWNSTAGE_CLIENT_CACHE",
        "DOWNSTAGE_CONFIG",
        "DOWNSTAGE_TOKEN",
        "DOWNSTAGE_TOKEN_FILE",
        "DOWNSTAGE_CONTENT_HOST",
        "DOWNSTAGE_CONTENT_SOCKET",
        "DOWNSTAGE_CHANNELS",
        "DOWNSTAGE_USER_DATA_FILE",
        VARIABLE,
    }
)
"""Variables that are no settings here: the file's own path, what applications are given, where
tests have a process killed, and what `gather_exts` reads."""


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True
    )


def _port_range(value: object) -> object:
    """``"50000-50100"`` → (50000, 50100)."""
    if isinstance(value, str):
        low, _, high = value.partition("-")
        return (low, high or low)
    return value


def _in_order(value: tuple[int, int]) -> tuple[int, int]:
    if value[0] > value[1]:
        raise ValueError("the first port is larger than the last")
    return value


def _span(value: object) -> object:
    """Plain seconds as text (``"120"``), as environments and command lines give them."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+)?", value) else value


Span = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=3650)), BeforeValidator(_span)]
"""A length of time: seconds, or ISO 8601 (``PT5M``)."""

Port = Annotated[int, Field(ge=1, le=65535)]
PortRange = Annotated[tuple[Port, Port], BeforeValidator(_port_range), AfterValidator(_in_order)]


class Platform(_Section):
    """The process as a whole: where it listens and keeps its data."""

    host: str = "127.0.0.1"
    """Address to bind; a public one demands TLS or a trusted proxy."""
    port: int = Field(default=8600, ge=0, le=65535)
    """Public port; 0 takes a free one."""
    operator_port: int = Field(default=8602, ge=0, le=65535)
    """Metrics and readiness, loopback only; 0 takes a free one."""
    data: Path = Path("downstage-data")
    """Folder of databases, keys and running instances."""
    public_url: str | None = None
    """Address by which browsers reach this platform, where it is not host and port."""
    tls: Literal["auto", "files"] | None = None
    """``auto``: own certificate authority; ``files``: `tls_certificate` and `tls_key`."""
    tls_certificate: Path | None = None
    """Certificate chain, PEM."""
    tls_key: Path | None = None
    """Private key, PEM."""
    behind_proxy: list[str] = []
    """Networks (CIDR) of proxies whose X-Forwarded headers count."""
    origins: list[str] = []
    """Further origins whose pages may open our sockets, ``https://host[:port]``."""
    database: SecretStr | None = None
    """PostgreSQL for sessions, instances and users, ``postgresql://user:password@host/name``; each
    service has a schema of its own. Empty: SQLite files in the data folder."""
    demo: bool = False
    """A demo user, a demo stage, loopback only."""

    @field_validator("behind_proxy")
    @classmethod
    def _are_networks(cls, value: list[str]) -> list[str]:
        for item in value:
            ip_network(item)
        return value


class Services(_Section):
    """Where the services are: empty = in this process, else ``http(s)://host:port`` or ``nats://``."""

    secret_file: Path | None = None
    """Secret that services of several processes share, to prove themselves to identity."""
    identity: str | None = None
    """Users, tokens, keys."""
    gateway: str | None = None
    """Sessions."""
    agent: str | None = None
    """The bridge to one manager."""
    manager: str | None = None
    """Applications and instances."""
    content: str | None = None
    """Files, versions, locks, channels."""
    streams: str | None = None
    """Streams of entries, recordings."""


class Bus(_Section):
    """How services tell each other what changed, and how ``nats://`` addresses are reached."""

    url: SecretStr | None = None
    """NATS servers, ``nats://host:4222[,host…]`` or ``tls://…``; empty: within this process."""
    user: str | None = None
    """Name at the NATS server, with `password`."""
    password: SecretStr | None = None
    """Password of `user`."""
    token: SecretStr | None = None
    """Token, where the server asks for one in place of a name."""
    nkey_file: Path | None = None
    """File with an NKey seed."""
    credentials_file: Path | None = None
    """File with JWT and seed, as ``nsc`` writes it (``.creds``)."""
    tls_ca: Path | None = None
    """Authority that signed the server's certificate, PEM; demands TLS."""
    tls_certificate: Path | None = None
    """Own certificate, where the server asks for one, PEM."""
    tls_key: Path | None = None
    """Key of `tls_certificate`, PEM."""
    concurrency: int = Field(default=2048, ge=1)
    """Calls that a service takes over NATS at once; more are answered 503."""


class Identity(_Section):
    """Users, tokens, signing keys."""

    token_ttl: Span = timedelta(hours=8)
    """Life of a sign-in."""
    key_rotation: Span = timedelta(days=30)
    """Age at which a new signing key takes over."""
    login_attempts: int = Field(default=10, ge=1)
    """Failed sign-ins of one name or address in 5 minutes before 429."""


class Gateway(_Section):
    """Sessions and signalling."""

    connect_lease: Span = timedelta(seconds=120)
    """How long a ready session waits for its first viewer."""
    resume_lease: Span = timedelta(seconds=60)
    """How long a session waits for a viewer who was cut off."""
    idle_lease: Span = timedelta(minutes=30)
    """How long a session lives without any input."""
    maximum_lease: Span = timedelta(hours=8)
    """How long a session lives at most."""
    start_deadline: Span = timedelta(seconds=60)
    """How long an instance may take to show its first picture."""
    end_deadline: Span = timedelta(seconds=20)
    """How long an instance may take to end before it is called lost."""
    region: str = "local"
    """Name of the region whose agent is named by `services.agent` or runs in this process."""
    discover: bool = False
    """Serve every region whose agent announces itself on the bus, too."""
    url: str | None = None
    """Address by which browsers and streamers reach this very gateway, where several gateways
    share a database and each has its own; empty: the platform's public address."""
    peers: list[str] = []
    """Addresses of the other gateways on the same database; streamers dial them when the home of
    their session is gone, viewers ask them."""
    home_lease: Span = timedelta(seconds=5)
    """How long a gateway that gives no sign of life still counts as home of its sessions."""
    new_key: bool = False
    """For one start: let this gateway's `gateway.key` take the place of another that is lost."""
    queue_length: int = Field(default=1000, ge=0)
    """Sessions that may wait for a place; one more is answered 503."""
    queue_lease: Span = timedelta(minutes=30)
    """How long a session waits for a place at most."""
    queue_hold: Span = timedelta(seconds=120)
    """How long a place in the queue is kept for somebody who does not ask after it."""
    sessions_per_user: int = Field(default=0, ge=0)
    """Sessions that a person may have at once; 0: no limit."""
    locations: Path | None = None
    """File in MaxMind's format (``.mmdb``) that tells where a client's address is."""
    ended_status: Literal[404, 410] = 410
    """What the Kit dialect answers for a session that has ended."""
    signalling_rate: int = Field(default=50, ge=1)
    """Signalling messages a second for each socket, with bursts of four times that."""


class Agent(_Section):
    """The bridge between gateways and one manager."""

    region: str = "local"
    """Name of this agent's region."""
    announce: bool = False
    """Tell gateways on the bus about this region, and take launches from there."""
    announce_interval: Span = timedelta(seconds=2)
    """How often it is told how many slots are free; silent for three times that, it is gone."""
    latitude: float | None = Field(default=None, ge=-90, le=90)
    """Where the region is, degrees north."""
    longitude: float | None = Field(default=None, ge=-180, le=180)
    """Where the region is, degrees east."""
    probe: str | None = None
    """Address that clients measure their distance by: ``stun:host:port`` or ``https://…``."""


class Manager(_Section):
    """Applications and instances."""

    capacity: int = Field(default=4, ge=1)
    """Instances that may run at once on this machine."""
    applications: list[Path] = []
    """Further folders with ``*/application.toml``; the shipped ones are always there."""
    stages: list[Path] = []
    """Folders whose files may be opened as stages; no other local file is."""
    isolation: Literal["auto", "bubblewrap", "none"] = "auto"
    """``auto``: bubblewrap where it works, else plain processes with a warning."""
    attach_deadline: Span = timedelta(seconds=10)
    """How long a keeper waits for a manager before it ends its instance."""
    stop_grace: Span = timedelta(seconds=2)
    """Between SIGTERM and SIGKILL for an application."""
    strategy: Literal["spread", "binpack"] = "spread"
    """Where the next instance goes: to the emptiest node, or to the fullest that has room."""
    labels: dict[str, str] = {}
    """Labels of this machine, as a node."""
    cpus: float | None = Field(default=None, gt=0)
    """Processor cores of this machine that instances may have; empty: all."""
    memory_mb: int | None = Field(default=None, gt=0)
    """Memory of this machine that instances may have, MiB; empty: all."""
    gpu_slots: int = Field(default=0, ge=0)
    """Instances that may use this machine's graphics card at once."""
    cpu_overcommit: float = Field(default=4.0, ge=1)
    """How many times over a node's cores are promised."""
    memory_overcommit: float = Field(default=2.0, ge=1)
    """How many times over a node's memory is promised."""
    spawner: Literal["process", "container"] = "process"
    """What runs instances of this machine: bubblewrap, or containers by `engine`."""
    engine: str = "unix:///run/podman/podman.sock"
    """Docker Engine API of this machine, Podman's or Docker's, for applications with an image."""
    images: list[str] = []
    """Images that may run, ``registry/name``, with ``*`` at the end; others are refused."""
    registries: Path | None = None
    """File (TOML, ``"registry" = { user = "…", password = "…" }``) of registry log-ins."""
    pull_deadline: Span = timedelta(minutes=10)
    """How long an image may take to be pulled."""
    engine_certificates: Path | None = None
    """Folder with ca.pem, cert.pem and key.pem for engines of other machines (``tcp://``); those of
    one host may be in a folder below it that is called like that host."""
    node_image: str = ""
    """Image that holds Downstage, run on engines of other machines as their half of a node;
    `images` must list it. Empty: no other machine's engine is a node."""
    node_volumes: list[str] = []
    """Further folders of such a machine that its node container sees, ``source:target[:ro]``."""
    node_folder: Path = Path("/var/lib/downstage/nodes")
    """Folder of such a machine where what runs there has its files."""
    node_socket: str = ""
    """The engine's own socket on such a machine; empty: Podman's or Docker's usual one."""
    node_deadline: Span = timedelta(minutes=2)
    """How long what runs on another machine goes on without a word from the manager."""
    user_ports: PortRange = (32000, 32767)
    """Ports of this machine that instances' own ports are published on."""
    keep_failed: Span = timedelta(days=1)
    """How long what a failed instance left is kept to be looked at."""
    keep_failed_bytes: int = Field(default=1 << 30, ge=0)
    """Bytes that failed instances may keep together; the oldest goes first."""
    max_upload: int = Field(default=4 << 30, ge=1 << 20)
    """Bytes of an application that is published."""
    published_network: bool = False
    """Whether published applications may ask for the network; declared ones always may."""
    ams_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the AMS dialect alone, TLS (8444 in ``make services``); empty: none."""
    ams_host: str = "127.0.0.1"
    """Address of that port."""


class Content(_Section):
    """Files: where they lie, how much, for how long."""

    folder: Path | None = None
    """Folder of files and their rows; empty: ``content`` in the data folder."""
    origin_port: int | None = Field(default=None, ge=0, le=65535)
    """Port where browsers show users' files, by signed links alone; 0 takes a free one. Empty:
    8601, or a free one where the public port is free too."""
    origin_url: str | None = None
    """Address by which browsers reach that port, where it is not host and port."""
    mount_folders: list[Path] = []
    """Folders of this machine that administrators may mount; no other can be."""
    mount_hosts: list[str] = []
    """Servers (``https://host[:port]``, ``s3://bucket``) that may be mounted; no other can be."""
    quota_bytes: int | None = Field(default=None, ge=0)
    """Bytes that all files may have together; empty: what the disk holds."""
    quota_nodes: int | None = Field(default=None, ge=0)
    """Files and folders that there may be together."""
    lock_lease: Span = timedelta(minutes=5)
    """How long a lock holds that is not renewed."""
    lock_grace: Span = timedelta(seconds=30)
    """How long locks outlive the connection that took them."""
    keep_deleted: Span = timedelta(days=30)
    """How long deleted files can be brought back."""
    keep_events: int = Field(default=1_000_000, ge=1000)
    """Events kept for subscribers who come back; older ones make them list again."""
    upload_expiry: Span = timedelta(days=1)
    """How long an interrupted upload can be resumed."""
    idle_deadline: Span = timedelta(seconds=60)
    """How long a transfer may stand still before it is cut off."""
    blob_grace: Span = timedelta(days=2)
    """Age at which bytes that no version names are removed; longer than any upload."""
    scrub_interval: Span = timedelta(days=30)
    """In which every stored byte is read and compared with its hash; 0: never."""
    chunk_threshold: int = Field(default=16 * 1024 * 1024, ge=0)
    """Bytes from which a new version is stored as what differs from the one before; 0: never."""
    link_lifetime: Span = timedelta(hours=1)
    """How long a signed link counts at most."""


class Streams(_Section):
    """Streams: the engine that holds them, how much, for how long."""

    folder: Path | None = None
    """Folder of the engine's files and of recordings; empty: ``streams`` in the data folder."""
    url: SecretStr | None = None
    """A Valkey or Redis of yours, ``redis[s]://[user:password@]host:port[/db]``, cluster included;
    empty: one of our own is started."""
    durable_url: SecretStr | None = None
    """A second one with ``appendfsync always`` for durable streams; ours needs none."""
    allow_old_engines: bool = False
    """Take an engine whose version has known holes; for tests on loopback."""
    memory_limit: int = Field(default=1 << 30, ge=16 << 20)
    """Bytes that the engine we start may take; a push above that is answered 507."""
    max_message: int = Field(default=16 << 20, ge=1024, le=1 << 30)
    """Bytes of one message on a push socket; a larger one closes it with 1009."""
    max_streams: int = Field(default=10_000, ge=1)
    """Streams that a tenant may have."""
    keep_count: int = Field(default=1000, ge=1)
    """Entries that a stream keeps where it does not say otherwise."""
    keep_bytes: int = Field(default=256 << 20, ge=1)
    """Bytes that a stream keeps where it does not say otherwise."""
    keep_age: Span = timedelta(0)
    """How long a stream keeps entries where it does not say otherwise; 0: no limit."""
    in_flight: int = Field(default=32 << 20, ge=1 << 20)
    """Bytes that the engine has not answered yet; above that, producers are not read."""
    buffer: int = Field(default=8 << 20, ge=64 << 10)
    """Bytes that wait for one subscriber; above that, it is served from its own place."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that serve sockets that push and pull; above 1 they are beside the first one."""
    data_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of the data server's API alone (7890 in ``make services``); empty: none."""
    hls_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of HLS alone (8089 in ``make services``); empty: none."""
    rtmp_port: int | None = Field(default=None, ge=0, le=65535)
    """Port where RTMP publishers are taken (1935 in ``make services``); empty: none."""
    rtmp_server: Literal["auto", "nginx", "pyav"] = "auto"
    """Who takes them: nginx with its RTMP module takes many, PyAV one at a time."""
    pull_hosts: list[str] = []
    """Cameras and servers in private networks that may be pulled, ``host`` or ``host:port``; those
    of the public internet may be without."""
    record_to_content: bool = True
    """Put finished recordings into the content service, where it runs."""
    idle_deadline: Span = timedelta(seconds=60)
    """How long a socket may leave a ping unanswered before it is closed."""


class Media(_Section):
    """Pictures, sound, paths."""

    encoder: Literal["auto", "nvenc", "vaapi", "software"] = "auto"
    """Video encoder; ``auto`` tries each and says which and why."""
    bitrate_kbps: int = Field(default=8000, ge=100, le=200_000)
    """Ceiling of the video bitrate."""
    udp_ports: PortRange | None = None
    """UDP ports for WebRTC, ``A-B``; any free one where empty."""
    public_ip: str | None = None
    """Address that browsers outside reach us by."""
    ice_servers: list[dict[str, str]] = []
    """STUN and TURN servers for viewers and streamers."""
    audio: bool = True
    """Whether instances get a sound server of their own."""


class Turn(_Section):
    """A TURN server (coturn), for viewers and instances that cannot reach each other."""

    urls: list[str] = []
    """Its addresses: ``turn:host:port``, ``turns:host:port?transport=tcp``."""
    secret_file: Path | None = None
    """File with the secret that it shares with us (its ``static-auth-secret``)."""
    lifetime: Span = timedelta(hours=1)
    """How long credentials count; never longer than their session may still last, and never less
    than ten minutes unless it may."""
    relay_only: bool = False
    """Tell viewers to use nothing but the relay."""


class Extensions(_Section):
    """Extensions of your own, beside the platform's services."""

    folders: list[Path] = []
    """Folders of extensions: each is one (``config/extension.toml``), or holds some."""
    installed: bool = True
    """Start those that installed packages bring (entry points ``downstage.extensions``)."""
    disabled: list[str] = []
    """Names of extensions that are not started by themselves."""
    reload: bool = False
    """Start an extension anew when a file in its folder changes."""
    omni: bool = True
    """Let extensions that depend on ``omni.services.…`` import those names; they are ours."""
    tokens: Path | None = None
    """File (TOML, ``"name" = "token"``) of the tokens that extensions call services with."""


class Log(_Section):
    """What is logged and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important events shown."""
    json_lines: bool | None = None
    """JSON lines; empty: unless standard error is a terminal."""


class Settings(_Section):
    """The root of all sections."""

    platform: Platform = Platform()
    services: Services = Services()
    bus: Bus = Bus()
    identity: Identity = Identity()
    gateway: Gateway = Gateway()
    agent: Agent = Agent()
    manager: Manager = Manager()
    content: Content = Content()
    streams: Streams = Streams()
    media: Media = Media()
    turn: Turn = Turn()
    extensions: Extensions = Extensions()
    log: Log = Log()
    exts: Exts = Field(default=Exts(), exclude=True)
    """What is given for extensions, ``exts."name".key``: each knows itself what it may be."""


def load(
    *,
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    assignments: Iterable[str] = (),
) -> Settings:
    """Read settings from defaults, *file*, *environment* and *overrides*, each over the last.

    Args:
        file: TOML; None takes ``DOWNSTAGE_CONFIG`` where set, else no file.
        environment: variables ``DOWNSTAGE_SECTION__KEY``; None takes the process's own. A list
            or table is given as JSON.
        overrides: dotted keys, as the command line gives them: ``{"platform.port": 8700}``.
        assignments: ``exts."name".key=value``, ``/exts/name/key=value`` or ``section.key=value``.

    Raises:
        SetupError: an unknown or unacceptable key; the message names it and its source.
    """
    env = os.environ if environment is None else environment
    path = file or (Path(env["DOWNSTAGE_CONFIG"]) if env.get("DOWNSTAGE_CONFIG") else None)
    tree: dict[str, Any] = _read_file(path) if path else {}
    sources: dict[str, str] = {}
    for name, (key, value) in _from_environment(env).items():
        _put(tree, key, value)
        sources[".".join(key)] = f"environment variable {name}"
    assigned = [parse_assignment(text) for text in assignments]
    plain = [(tuple(key.split(".")), value) for key, value in (overrides or {}).items()]
    plain += [(tuple(key), value) for key, value in assigned if key[0] != EXTS]
    for key, value in plain:
        if value is not None:
            _put(tree, key, value)
            sources[".".join(key)] = "command line"
    own = [(key[1:], value) for key, value in assigned if key[0] == EXTS]
    tree[EXTS] = gather_exts(tree.get(EXTS), env, own)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise SetupError(_explain(error, sources, path)) from error


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SetupError(f"The settings file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SetupError(f"The settings file {path} is not TOML: {error}.") from error


def _from_environment(env: Mapping[str, str]) -> dict[str, tuple[tuple[str, ...], object]]:
    """Variable → key and value."""
    found: dict[str, tuple[tuple[str, ...], object]] = {}
    for name, value in env.items():
        if not name.startswith(PREFIX) or name in RESERVED or name.startswith(f"{VARIABLE}__"):
            continue
        section, _, key = name.removeprefix(PREFIX).lower().partition("__")
        if section not in Settings.model_fields or not key:
            known = ", ".join(f"{PREFIX}{s.upper()}__…" for s in Settings.model_fields)
            raise SetupError(f"The environment variable {name} is no setting. Known: {known}.")
        found[name] = ((section, key), _decode(section, key, value))
    return found


def _decode(section: str, key: str, value: str) -> object:
    """Lists and tables come as JSON or ``a,b``; all else is text that pydantic converts."""
    model = cast("type[BaseModel]", Settings.model_fields[section].annotation)
    field = model.model_fields.get(key)
    if field is None:
        return value
    if not value and field.default is None:
        return None  # ``VARIABLE=`` is how compose files say that there is none
    if str(field.annotation).startswith(("list", "dict")):
        try:
            return cast("object", json.loads(value))
        except ValueError:
            return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _put(tree: dict[str, Any], key: tuple[str, ...], value: object) -> None:
    for part in key[:-1]:
        branch = tree.setdefault(part, {})
        if not isinstance(branch, dict):
            raise SetupError(f"The setting {'.'.join(key)} lies below a plain value.")
        tree = cast("dict[str, Any]", branch)
    tree[key[-1]] = value


def _explain(error: ValidationError, sources: Mapping[str, str], path: Path | None) -> str:
    """What is wrong, key by key, and where it was said; never the value, it may be a secret."""
    lines = list[str]()
    for item in error.errors(include_input=False):
        place = [str(part) for part in item["loc"]]
        key = ".".join(place)[:MAX_KEY]
        what = "is no setting" if item["type"] == "extra_forbidden" else item["msg"].lower()
        source = sources.get(".".join(place[:2]), f"file {path}" if path else "")
        lines.append(f"{key}: {what}" + (f" ({source})" if source else ""))
    return "Settings: " + "; ".join(lines) + "."
