"""The kinds of places that the client reaches, what each can do, and the three flavours."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

from downstage import client
from downstage.content.model import Access, AclEntry
from downstage.testing.content import ContentServer

from .conftest import Served

ALL = frozenset({"write", "list", "folders", "watch", "checkpoints", "undelete", "server"})
CAN = {
    "omniverse": ALL,
    "ours-by-http": ALL,
    "file": frozenset({"write", "list", "folders", "watch"}),
    "webdav": frozenset({"write", "list", "folders"}),
    "s3": frozenset({"write", "list", "folders"}),
    "http": frozenset[str](),
}
"""What each kind can do; everything else answers ERROR_NOT_SUPPORTED."""

FLAVOURS = ("blocking", "coroutine", "callback")
CALL_S = 20.0


@dataclass(frozen=True)
class Kind:
    """One kind of place, with an empty folder in it."""

    name: str
    folder: str
    """Address of the folder, without a slash at the end."""

    def can(self, what: str) -> bool:
        return what in CAN[self.name]

    def at(self, path: str) -> str:
        return f"{self.folder}/{path}"


def call_blocking(name: str, *args: Any, **kwargs: Any) -> Any:
    return getattr(client, name)(*args, **kwargs)


def call_coroutine(name: str, *args: Any, **kwargs: Any) -> Any:
    return asyncio.run(getattr(client, f"{name}_async")(*args, **kwargs))


def call_with_callback(name: str, *args: Any, **kwargs: Any) -> Any:
    ended, got = threading.Event(), list[Any]()

    def callback(*values: Any) -> None:
        got.append(values[0] if len(values) == 1 else values)
        got.append(threading.current_thread())
        ended.set()

    request = getattr(client, f"{name}_with_callback")(*args, callback=callback, **kwargs)
    assert request.id > 0
    assert ended.wait(CALL_S), f"{name}: no callback"
    assert got[1] is not threading.current_thread()
    assert request.wait(CALL_S)
    return got[0]


CALLS: dict[str, Callable[..., Any]] = {
    "blocking": call_blocking,
    "coroutine": call_coroutine,
    "callback": call_with_callback,
}


class QuietHandler(SimpleHTTPRequestHandler):
    """A plain server of files, as Python has it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def plain_server(folder: Path) -> Generator[str]:
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="plain-http")
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def place_of(name: str, served: Served, tmp_path: Path) -> Generator[Kind]:
    """An empty folder there, and the client told how to reach it."""
    part = uuid4().hex[:12]
    if name == "file":
        folder = tmp_path / "files"
        folder.mkdir()
        yield Kind(name, client.make_file_url(str(folder)))
        return
    if name == "http":
        folder = tmp_path / "www"
        folder.mkdir()
        with plain_server(folder) as url:
            yield Kind(name, url)
        return
    url = served.server.url
    if name == "s3":
        key, secret = served.key
        client.set_s3_configuration(
            "s3://*", "", "us-east-1", key, secret, endpoint=f"{url}/s3", allow_http=True
        )
        client.files.create_folder(f"omniverse://{served.authority}/bucket-{part}")
        yield Kind(name, f"s3://bucket-{part}")
        return
    bases = {
        "omniverse": f"omniverse://{served.authority}",
        "ours-by-http": f"{url}/v1/files",
        "webdav": f"{url}/dav",
    }
    if name == "webdav":
        client.set_webdav(url)
    kind = Kind(name, f"{bases[name]}/work-{part}")
    client.files.create_folder(kind.folder)
    served.do(_own(served.server, f"/work-{part}"))
    yield kind


async def _own(server: ContentServer, path: str) -> None:
    """Let alice do everything there."""
    admin = await server.caller("admin")
    subject = (await server.caller("alice")).subject
    access = Access.READ | Access.WRITE | Access.ADMIN
    await server.content.set_acl(admin, path, [AclEntry(f"user:{subject}", access)])
