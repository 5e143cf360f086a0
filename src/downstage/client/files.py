"""The same operations for those who want exceptions: each returns its value, or raises.

::

    from downstage.client import files

    for entry in files.list("omniverse://localhost/Projects"):
        print(entry.url)
    version, content = files.read_file("omniverse://localhost/Projects/a.usd")
    with files.progress():
        files.download("omniverse://localhost/Projects/big.usd", "big.usd")

What is raised are the errors of `downstage.kernel.errors`: `NotFound`, `Locked`, `Unavailable`, …
Each operation has an ``…_async`` twin.
"""

# ruff: noqa: A001 - ``list`` is the published name

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from downstage.client.client import Client, default_client
from downstage.client.operations import access, copying, listing, talking, versions, writing
from downstage.client.types import CopyBehavior, FileStatus
from downstage.client.urls import make_file_url, make_printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "add_user_to_group",
    "add_user_to_group_async",
    "copy",
    "copy_async",
    "copy_file",
    "copy_file_async",
    "copy_folder",
    "copy_folder_async",
    "create_checkpoint",
    "create_checkpoint_async",
    "create_folder",
    "create_folder_async",
    "create_group",
    "create_group_async",
    "delete",
    "delete_async",
    "delete_single",
    "delete_single_async",
    "download",
    "download_async",
    "get_acls",
    "get_acls_async",
    "get_group_users",
    "get_group_users_async",
    "get_groups",
    "get_groups_async",
    "get_local_file",
    "get_local_file_async",
    "get_server_info",
    "get_server_info_async",
    "get_user_groups",
    "get_user_groups_async",
    "get_users",
    "get_users_async",
    "list",
    "list_async",
    "list_checkpoints",
    "list_checkpoints_async",
    "lock",
    "lock_async",
    "move",
    "move_async",
    "move_file",
    "move_file_async",
    "move_folder",
    "move_folder_async",
    "obliterate",
    "obliterate_async",
    "progress",
    "read_file",
    "read_file_async",
    "remove_group",
    "remove_group_async",
    "remove_user_from_group",
    "remove_user_from_group_async",
    "rename_group",
    "rename_group_async",
    "resolve",
    "resolve_async",
    "restore_checkpoint",
    "restore_checkpoint_async",
    "send_message",
    "send_message_async",
    "set_acls",
    "set_acls_async",
    "stat",
    "stat_async",
    "undelete",
    "undelete_async",
    "unlock",
    "unlock_async",
    "upload",
    "upload_async",
    "write_file",
    "write_file_async",
    "write_file_ex",
    "write_file_ex_async",
]

P = ParamSpec("P")
R = TypeVar("R")
Operation = Callable[Concatenate[Client, P], Coroutine[Any, Any, R]]


def _blocking(operation: Operation[P, R]) -> Callable[P, R]:
    @wraps(operation)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return default_client().run(operation, *args, **kwargs)

    return _described(call, operation, "")


def _awaited(operation: Operation[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    @wraps(operation)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return await default_client().run_async(operation, *args, **kwargs)

    return _described(call, operation, "_async")


F = TypeVar("F", bound=Callable[..., Any])


def _described(call: F, operation: Callable[..., Any], suffix: str) -> F:
    signature = inspect.signature(operation)
    rest = [*signature.parameters.values()][1:]
    described: Any = call
    described.__signature__ = signature.replace(parameters=rest)
    described.__name__ = operation.__name__.rstrip("_") + suffix
    described.__qualname__ = described.__name__
    described.__module__ = __name__
    return call


async def _download(client: Client, url: str, path: str | Path) -> None:
    """Copy a file or folder to this machine; what is there is replaced.

    Args:
        client: the client.
        url: of the thing.
        path: what it shall be called here.
    """
    target = make_file_url(str(Path(path).absolute()))  # noqa: ASYNC240 - asks the system nothing
    await copying.copy(client, url, target, CopyBehavior.OVERWRITE)


async def _upload(client: Client, path: str | Path, url: str, message: str = "") -> None:
    """Copy a file or folder of this machine to a server; what is there is replaced.

    Args:
        client: the client.
        path: of the thing here.
        url: what it shall be called there.
        message: of the checkpoint that it makes, where the server keeps them.
    """
    source = make_file_url(str(Path(path).absolute()))  # noqa: ASYNC240 - asks the system nothing
    await copying.copy(client, source, url, CopyBehavior.OVERWRITE, message)


add_user_to_group = _blocking(access.add_user_to_group)
add_user_to_group_async = _awaited(access.add_user_to_group)
copy = _blocking(copying.copy)
copy_async = _awaited(copying.copy)
copy_file = _blocking(copying.copy_file)
copy_file_async = _awaited(copying.copy_file)
copy_folder = _blocking(copying.copy_folder)
copy_folder_async = _awaited(copying.copy_folder)
create_checkpoint = _blocking(versions.create_checkpoint)
create_checkpoint_async = _awaited(versions.create_checkpoint)
create_folder = _blocking(writing.create_folder)
create_folder_async = _awaited(writing.create_folder)
create_group = _blocking(access.create_group)
create_group_async = _awaited(access.create_group)
delete = _blocking(writing.delete)
delete_async = _awaited(writing.delete)
delete_single = _blocking(writing.delete_single)
delete_single_async = _awaited(writing.delete_single)
download = _blocking(_download)
download_async = _awaited(_download)
get_acls = _blocking(access.get_acls)
get_acls_async = _awaited(access.get_acls)
get_group_users = _blocking(access.get_group_users)
get_group_users_async = _awaited(access.get_group_users)
get_groups = _blocking(access.get_groups)
get_groups_async = _awaited(access.get_groups)
get_local_file = _blocking(listing.get_local_file)
get_local_file_async = _awaited(listing.get_local_file)
get_server_info = _blocking(access.get_server_info)
get_server_info_async = _awaited(access.get_server_info)
get_user_groups = _blocking(access.get_user_groups)
get_user_groups_async = _awaited(access.get_user_groups)
get_users = _blocking(access.get_users)
get_users_async = _awaited(access.get_users)
list = _blocking(listing.list_)
list_async = _awaited(listing.list_)
list_checkpoints = _blocking(versions.list_checkpoints)
list_checkpoints_async = _awaited(versions.list_checkpoints)
lock = _blocking(versions.lock)
lock_async = _awaited(versions.lock)
move = _blocking(copying.move)
move_async = _awaited(copying.move)
move_file = _blocking(copying.move_file)
move_file_async = _awaited(copying.move_file)
move_folder = _blocking(copying.move_folder)
move_folder_async = _awaited(copying.move_folder)
obliterate = _blocking(writing.obliterate)
obliterate_async = _awaited(writing.obliterate)
read_file = _blocking(listing.read_file)
read_file_async = _awaited(listing.read_file)
remove_group = _blocking(access.remove_group)
remove_group_async = _awaited(access.remove_group)
remove_user_from_group = _blocking(access.remove_user_from_group)
remove_user_from_group_async = _awaited(access.remove_user_from_group)
rename_group = _blocking(access.rename_group)
rename_group_async = _awaited(access.rename_group)
resolve = _blocking(listing.resolve)
resolve_async = _awaited(listing.resolve)
restore_checkpoint = _blocking(versions.restore_checkpoint)
restore_checkpoint_async = _awaited(versions.restore_checkpoint)
send_message = _blocking(talking.send_message)
send_message_async = _awaited(talking.send_message)
set_acls = _blocking(access.set_acls)
set_acls_async = _awaited(access.set_acls)
stat = _blocking(listing.stat)
stat_async = _awaited(listing.stat)
undelete = _blocking(writing.undelete)
undelete_async = _awaited(writing.undelete)
unlock = _blocking(versions.unlock)
unlock_async = _awaited(versions.unlock)
upload = _blocking(_upload)
upload_async = _awaited(_upload)
write_file = _blocking(writing.write_file)
write_file_async = _awaited(writing.write_file)
write_file_ex = _blocking(writing.write_file_ex)
write_file_ex_async = _awaited(writing.write_file_ex)


@contextmanager
def progress(console: Console | None = None) -> Generator[None]:
    """Show a bar for each file that is moved inside this block.

    Args:
        console: where to; None: standard error.
    """
    from rich.console import Console as RichConsole
    from rich.progress import Progress, TaskID

    shown: dict[str, TaskID] = {}
    with Progress(console=console or RichConsole(stderr=True), transient=True) as bars:

        def tell(url: str, status: FileStatus, percent: int) -> None:
            if status in {FileStatus.LISTING, FileStatus.STATING}:
                return
            task = shown.get(url)
            if task is None:
                name = make_printable(url).rpartition("/")[2] or url
                task = shown[url] = bars.add_task(f"{status.name.lower()} {name}", total=100)
            bars.update(task, completed=percent)

        with default_client().callbacks.file.add(tell):
            yield
