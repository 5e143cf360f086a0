"""``downstage stubs``: a described service as a file that editors and type checkers read."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console

from downstage.cli.facts import find_platform
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings
from downstage.services.description.document import BadDocument, fetch_document, parse
from downstage.services.description.stubs import write_stub
from downstage.services.errors import BaseServiceError
from downstage.services.transports import create
from downstage.services.transports.http import close_pool

__all__ = ["Wanted", "make_stubs"]

OURS = ("/openapi.json", "/backend/api-docs/openapi.json")
"""Where a platform of ours describes itself, the first that answers."""
MAX_FILE = 64 * 1024 * 1024
MAX_FILE_PATHS = 50_000
"""A file that a person names may be larger than what a stranger's server sends."""
MODULE = '''"""What the stub beside this file describes."""

from downstage.services import AsyncClient{as_async}
from downstage.services import Client{as_name}

__all__ = ["Async{name}", "{name}"]
'''


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asked for."""

    address: str | None = None
    """URL of a service or of its document, or a file; None: the platform on the data folder."""
    name: str = "Client"
    output: Path | None = None
    token_file: Path | None = None
    token_env: str | None = None


async def make_stubs(settings: Settings, wanted: Wanted) -> None:
    """Write the stub to standard output or to a file, and beside a file the module it describes.

    Raises:
        SetupError: there is no description there, or it cannot be written.
    """
    try:
        document = await _document(settings, wanted)
        text = write_stub(document, name=wanted.name)
    except TimeoutError as error:
        raise SetupError(f"{wanted.address} did not answer in time.") from error
    except (OSError, ValueError) as error:
        raise SetupError(
            f"No stub of {_shown(wanted.address)}: {str(error).rstrip('.')}."
        ) from error
    finally:
        await close_pool()
    if wanted.output is None:
        sys.stdout.write(text)
        return
    try:
        written = _write_both(wanted.output, wanted.name, text)
    except OSError as error:
        raise SetupError(f"{wanted.output} cannot be written: {error.strerror}.") from error
    Console(stderr=True).print(f"Wrote {' and '.join(map(str, written))}.", highlight=False)


def _write_both(output: Path, name: str, text: str) -> list[Path]:
    """Write the stub, and the module that it describes where there is none; returns which."""
    written = [_write(output, text)]
    module = output.with_suffix(".py")
    if output.suffix == ".pyi" and not module.exists():
        renamed = name != "Client"
        source = MODULE.format(
            name=name,
            as_async=f" as Async{name}" if renamed else "",
            as_name=f" as {name}" if renamed else "",
        )
        written.append(_write(module, source))
    return written


def _shown(address: str | None) -> str:
    """*address* without a password in it."""
    if address is None or "@" not in address or "://" not in address:
        return address or "the platform"
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


async def _document(settings: Settings, wanted: Wanted) -> Mapping[str, Any]:
    headers = _authorization(wanted)
    if wanted.address is None:
        return await _of_platform(settings, headers)
    if "://" not in wanted.address:
        return _of_file(Path(wanted.address))
    base, slash, last = wanted.address.rpartition("/")
    if last.endswith(".json") and slash and not base.endswith("/"):
        return await fetch_document(create(base), path=f"/{last}", headers=headers)
    return await fetch_document(create(wanted.address), headers=headers)


def _of_file(path: Path) -> Mapping[str, Any]:
    try:
        body = path.read_bytes()
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error
    return parse(body, max_bytes=MAX_FILE, max_paths=MAX_FILE_PATHS)


async def _of_platform(settings: Settings, headers: dict[str, str]) -> Mapping[str, Any]:
    facts = find_platform(settings.platform.data)
    if facts is None:
        raise SetupError(
            f"No platform runs on {settings.platform.data.absolute()}. "
            "Name the address of a service, or a file: downstage stubs http://host/openapi.json"
        )
    headers = headers or {"authorization": f"Bearer {facts.token}"}
    for path in OURS[:-1]:
        try:
            return await fetch_document(create(facts.url), path=path, headers=headers)
        except (BadDocument, BaseServiceError):
            continue
    return await fetch_document(create(facts.url), path=OURS[-1], headers=headers)


def _authorization(wanted: Wanted) -> dict[str, str]:
    """The token by file or variable: an argument could be read in the list of processes."""
    if wanted.token_file is not None and wanted.token_env is not None:
        raise SetupError("Name --token-file or --token-env, not both.")
    if wanted.token_file is not None:
        is_input = str(wanted.token_file) == "-"
        text = sys.stdin.readline() if is_input else wanted.token_file.read_text(encoding="utf-8")
    elif wanted.token_env is not None:
        text = os.environ.get(wanted.token_env, "")
        if not text:
            raise SetupError(f"The variable {wanted.token_env} is not set.")
    else:
        return {}
    return {"authorization": f"Bearer {text.strip()}"}


def _write(path: Path, text: str) -> Path:
    """Write *path* in one step; a failure leaves what was there."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return path
