"""Options that commands share, and how they become settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from downstage.kernel.errors import SetupError

if TYPE_CHECKING:
    from downstage.kernel.settings import Settings

__all__ = ["Common", "Serving", "common_settings", "serving_settings"]


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Where the platform keeps its data and reads its settings."""

    data: Path | None = None
    """Data folder [default: ./downstage-data]."""
    config: Path | None = None
    """Settings file, TOML."""


@Parameter(name="*")
@dataclass(frozen=True)
class Serving(Common):
    """Where the platform listens."""

    host: str | None = None
    """Address to bind [default: 127.0.0.1]; a public one needs --tls or --behind-proxy."""
    port: int | None = None
    """Public port [default: 8600]; 0 takes a free one."""
    operator_port: int | None = None
    """Loopback port of metrics and readiness [default: 8602]; 0 takes a free one."""
    public_url: str | None = None
    """Address by which browsers reach this platform, where host and port do not say it."""
    tls: Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True, negative="")] = None
    """`auto` (own certificate authority), or two files: certificate chain and key."""
    behind_proxy: Annotated[tuple[str, ...], Parameter(negative="")] = ()
    """Network (CIDR) of a proxy that does TLS; may be repeated."""
    udp_ports: str | None = None
    """UDP ports for pictures and sound, A-B."""
    public_ip: str | None = None
    """Address that browsers outside reach this machine by."""
    encoder: str | None = None
    """auto, nvenc, vaapi or software."""
    capacity: int | None = None
    """Sessions that may run at once."""
    stage_folder: Annotated[tuple[Path, ...], Parameter(negative="")] = ()
    """Folder whose files may be opened as stages; may be repeated."""
    app_folder: Annotated[tuple[Path, ...], Parameter(negative="")] = ()
    """Further folder with */application.toml; may be repeated."""
    ext_folder: Annotated[tuple[Path, ...], Parameter(negative="")] = ()
    """Folder of an extension, or with several; may be repeated."""
    assign: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = ()
    """A setting, section.key=value or exts."name".key=value; may be repeated."""


def common_settings(common: Common | None) -> Settings:
    """Settings for a command that starts nothing."""
    from downstage.kernel import settings as settings_module

    common = common or Common()
    return settings_module.load(file=common.config, overrides={"platform.data": common.data})


def serving_settings(serving: Serving | None, **more: object) -> Settings:
    """Settings for a command that starts the platform; *more* are dotted keys with ``__``.

    Raises:
        SetupError: an option or key is not acceptable.
    """
    from downstage.kernel import settings as settings_module

    serving = serving or Serving()
    overrides: dict[str, object] = {
        "platform.data": serving.data,
        "platform.host": serving.host,
        "platform.port": serving.port,
        "platform.operator_port": serving.operator_port,
        "platform.public_url": serving.public_url,
        "platform.behind_proxy": list(serving.behind_proxy) or None,
        "media.udp_ports": serving.udp_ports,
        "media.public_ip": serving.public_ip,
        "media.encoder": serving.encoder,
        "manager.capacity": serving.capacity,
        "manager.applications": list(serving.app_folder) or None,
        "manager.stages": [path.absolute() for path in serving.stage_folder] or None,
        "extensions.folders": list(serving.ext_folder) or None,
        **_tls(serving.tls),
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return settings_module.load(
        file=serving.config, overrides=overrides, assignments=serving.assign
    )


def _tls(values: tuple[str, ...] | None) -> dict[str, object]:
    match values:
        case None:
            return {}
        case ("auto",):
            return {"platform.tls": "auto"}
        case (certificate, key):
            return {
                "platform.tls": "files",
                "platform.tls_certificate": certificate,
                "platform.tls_key": key,
            }
        case _:
            raise SetupError("--tls takes `auto`, or two files: the certificate chain and its key.")
