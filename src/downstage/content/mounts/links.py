"""What may be mounted: a link names a place, the operator's settings name those that may be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from downstage.content.mounts.bucket import Bucket
from downstage.content.mounts.local import LocalFolder
from downstage.content.mounts.protocol import Place
from downstage.content.mounts.web import GuardedSession, WebServer
from downstage.kernel.errors import BadUrl, Forbidden
from downstage.kernel.net import Guard, Resolver, system_resolver

__all__ = ["WRITABLE", "Rules", "open_place"]

WRITABLE = "#writable"
"""End of the link of a mount that may be written to."""
BUCKET = re.compile(r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]")
MAX_LINK = 2048


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator lets administrators mount.

    Attributes:
        folders: of this machine, with all below.
        hosts: ``https://host[:port]`` and ``s3://bucket``.
        resolver: finds addresses of hosts.
    """

    folders: Sequence[Path] = ()
    hosts: Sequence[str] = ()
    resolver: Resolver = field(default=system_resolver)


def open_place(link: str, rules: Rules, pool: ThreadPoolExecutor) -> Place:
    """The place that *link* names, as far as the operator allows it. May block.

    Args:
        link: ``file:///folder``, ``http(s)://host/folder/`` or ``s3://bucket/prefix``, with
            `WRITABLE` at its end where it may be changed.
        rules: of the operator.
        pool: of workers.

    Raises:
        BadUrl: of another form.
        Forbidden: not in the operator's settings.
        SetupError: there is no such folder.
    """
    writable = link.endswith(WRITABLE)
    link = link.removesuffix(WRITABLE)
    if len(link) > MAX_LINK:
        raise BadUrl("That link is too long.")
    try:
        parts = urlsplit(link)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise BadUrl("That is no link to a place.") from None
    if parts.query or parts.fragment or parts.username is not None:
        raise BadUrl("A link to a place has no query, no fragment and no credentials.")
    if parts.scheme == "file" and not host:
        return LocalFolder(_folder(unquote(parts.path), rules), pool, writable=writable)
    if parts.scheme == "s3" and BUCKET.fullmatch(parts.netloc):
        _require(f"s3://{parts.netloc}", rules)
        return Bucket(parts.netloc, unquote(parts.path).strip("/"), writable=writable)
    if parts.scheme in {"http", "https"} and host:
        _require(f"{parts.scheme}://{parts.netloc}", rules)
        if writable:
            raise BadUrl("A web server is mounted to read only.")
        return WebServer(link, GuardedSession(_guard(rules)))
    raise BadUrl("Folders (file:), web servers (http:, https:) and buckets (s3:) can be mounted.")


def _folder(path: str, rules: Rules) -> Path:
    """The folder itself, links resolved, inside of one that the operator names."""
    if "\0" in path:
        raise BadUrl("That is no folder.")
    folder = Path(path).resolve()
    for allowed in rules.folders:
        if folder.is_relative_to(allowed.resolve()):
            return folder
    raise Forbidden("The operator's settings (content.mount_folders) do not name this folder.")


def _require(origin: str, rules: Rules) -> None:
    known = {item.lower().rstrip("/") for item in rules.hosts}
    if origin.lower() not in known:
        raise Forbidden("The operator's settings (content.mount_hosts) do not name this server.")


def _guard(rules: Rules) -> Guard:
    allowed = list[str]()
    for item in rules.hosts:
        parts = urlsplit(item)
        if parts.scheme in {"http", "https"} and parts.hostname:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            shown = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            allowed.append(f"{shown}:{port}")
    return Guard(allowed, resolver=rules.resolver)
