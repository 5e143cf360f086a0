"""Where a URL leads: the provider's key, the path there, and which checkpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from downstage.client.url_parts import decode, is_drive, is_raw_path, split
from downstage.client.urls import (
    get_branch_and_checkpoint_from_query,
    join,
    make_file_url,
    normalize_url,
)
from downstage.kernel.errors import BadUrl

__all__ = ["SERVER_SCHEMES", "Place"]

FILES_ROUTE = "/v1/files/"
_PLAIN = re.compile(r"(?:file://)?((?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)")
SERVER_SCHEMES = frozenset({"omniverse", "omni", "downstage"})


@dataclass(frozen=True, slots=True)
class Place:
    """One thing somewhere. Two places with the same `key` share a provider."""

    url: str
    """In its normal form, without query and fragment."""
    scheme: str
    authority: str
    path: str
    """Decoded, from the root, without a slash at the end; the root is ``/``."""
    query: str | None = None
    checkpoint: int = 0
    """Number in ``?&N``; 0: the present content."""

    @classmethod
    def of(cls, url: str) -> Place:
        """Where *url* leads; a path that is no URL is one of this machine.

        Raises:
            BadUrl: nowhere, whatever is stored.
        """
        if (plain := _PLAIN.fullmatch(url)) is not None:
            # Most are as plain as this, and taking others apart takes longer than to read a file.
            path = plain.group(1)
            return cls(f"file://{path}", "file", "", path)
        text = _absolute(url)
        parts = split(normalize_url(text))
        scheme = parts.scheme or ""
        if scheme == "file" and parts.authority in {None, "localhost"}:
            parts = parts._replace(authority="")  # one file has one address
        authority = parts.authority or ""
        if "%2F" in parts.path and scheme != "file":
            raise BadUrl("A name cannot hold a slash.")
        path = decode(parts.path) or "/"
        if "\0" in path:
            raise BadUrl("A path cannot hold NUL.")
        if scheme == "file" and authority:
            raise BadUrl("Files of other machines are reached by a server, not by file:.")
        return cls(
            url=_text(parts.scheme, parts.authority, parts.path),
            scheme=scheme,
            authority=authority,
            path=path.rstrip("/") or "/",
            query=parts.query,
            checkpoint=_checkpoint(parts.query) if _has_checkpoints(scheme, path) else 0,
        )

    @property
    def origin(self) -> str:
        """Scheme and authority: what connections and credentials belong to."""
        return f"{self.scheme}://{self.authority}"

    @property
    def is_files_route(self) -> bool:
        """Whether it is an address by HTTP that a content service of ours would serve."""
        return _is_files_route(self.scheme, self.path)

    @property
    def key(self) -> tuple[str, str, bool]:
        """Places with the same one share a provider."""
        return self.scheme, self.authority, self.is_files_route

    @property
    def name(self) -> str:
        """The last part of the path; empty for the root."""
        return self.path.rpartition("/")[2]

    def child(self, name: str) -> Place:
        """The thing called *name* in this folder.

        Raises:
            BadUrl: it is no single name: a server that lists such means something else.
        """
        if "/" in name:
            raise BadUrl("A name cannot hold a slash.")
        try:
            url = join(self.url, name)
        except ValueError as error:
            raise BadUrl(str(error)) from error
        path = f"{self.path.rstrip('/')}/{name}"
        return replace(self, url=url, path=path, query=None, checkpoint=0)

    def holds(self, other: Place) -> bool:
        """Whether *other* is this place or lies below it."""
        if self.key != other.key:
            return False
        return other.path == self.path or other.path.startswith(self.path.rstrip("/") + "/")


def _absolute(url: str) -> str:
    if is_drive(url) or url.startswith("\\\\"):
        raise BadUrl("Paths of Windows name nothing on this machine.")
    if is_raw_path(url):
        return make_file_url(url)
    if split(url).scheme is not None:
        return url
    if url.startswith("//") or not url:
        raise BadUrl("The address has no scheme.")
    return make_file_url(str(Path.cwd() / url))


def _text(scheme: str | None, authority: str | None, path: str) -> str:
    return f"{scheme}:" + (f"//{authority}" if authority is not None else "") + path


def _is_files_route(scheme: str, path: str) -> bool:
    return scheme in {"http", "https"} and (path + "/").startswith(FILES_ROUTE)


def _has_checkpoints(scheme: str, path: str) -> bool:
    """Whether a query can only be one; at other HTTP servers it is anything."""
    return scheme not in {"http", "https"} or _is_files_route(scheme, path)


def _checkpoint(query: str | None) -> int:
    if not query:
        return 0
    found = get_branch_and_checkpoint_from_query(decode(query))
    if found is None or found[0]:
        raise BadUrl("The query names no checkpoint; write ?&N.")
    return found[1]
