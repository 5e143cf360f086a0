"""Blocking work on files of this machine; `providers.file` calls it in threads."""

from __future__ import annotations

import errno
import os
import shutil
import stat as modes
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from secrets import token_hex

from downstage.client.places import Place
from downstage.client.providers.provider import Copying, Progress, no_progress
from downstage.client.types import AccessFlags, Content, ItemFlags, ListEntry
from downstage.client.url_parts import SAFE_SEGMENT, encode
from downstage.kernel import errors

__all__ = [
    "copy_tree",
    "entry_of",
    "hidden_name",
    "keep_mode",
    "listed",
    "listed_with_links",
    "move_tree",
    "os_errors",
    "part_of",
    "put",
    "read_whole",
    "remove",
    "replaced",
    "target_of",
]

FILE = ItemFlags.READABLE_FILE | ItemFlags.WRITEABLE_FILE | ItemFlags.DOES_NOT_HAVE_CHILDREN
FOLDER = ItemFlags.CAN_HAVE_CHILDREN
OTHER = ItemFlags(0)
PIECE = 4 * 1024 * 1024
PART = ".downstage-part"
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
MAX_NAME = 255
"""Bytes of a name that every disk takes."""
_ERRORS: dict[int, tuple[type[errors.PlatformError], str]] = {
    errno.ENOENT: (errors.NotFound, "There is nothing there."),
    errno.ENOTDIR: (errors.NotFound, "A part of the path is no folder."),
    errno.ELOOP: (errors.NotFound, "The links lead in a circle."),
    errno.EACCES: (errors.Forbidden, "You may not do that there."),
    errno.EPERM: (errors.Forbidden, "You may not do that there."),
    errno.EROFS: (errors.Forbidden, "That disk is read-only."),
    errno.EEXIST: (errors.AlreadyExists, "Something is there already."),
    errno.EISDIR: (errors.WrongType, "That is a folder."),
    errno.ENOTEMPTY: (errors.FolderNotEmpty, "The folder holds something."),
    errno.ENOSPC: (errors.OutOfSpace, "The disk is full."),
    errno.EDQUOT: (errors.QuotaReached, "The quota is reached."),
    errno.ENAMETOOLONG: (errors.BadUrl, "The name is too long."),
    errno.EINVAL: (errors.BadUrl, "That is no name here."),
}


@contextmanager
def os_errors() -> Generator[None]:
    """Turn errors of the system into ours."""
    try:
        yield
    except OSError as error:
        found = _ERRORS.get(error.errno or 0)
        if found is None:
            detail = f"The system said: {os.strerror(error.errno or 0)}."
            raise errors.PlatformError(detail) from error
        raise found[0](found[1]) from error


def entry_of(place: Place, relative_path: str, found: os.stat_result) -> ListEntry:
    """How a thing of the disk is shown."""
    return _entry(place.url, relative_path, found, _access(found))


def _entry(url: str, name: str, found: os.stat_result, access: AccessFlags) -> ListEntry:
    is_file = modes.S_ISREG(found.st_mode)
    flags = FILE if is_file else FOLDER if modes.S_ISDIR(found.st_mode) else OTHER
    size, modified = found.st_size, found.st_mtime_ns
    return ListEntry(
        name,
        access,
        flags,
        size if is_file else 0,
        modified,
        found.st_ctime_ns,
        version=f"{modified:x}-{size:x}-{found.st_ino:x}",
        url=url,
    )


def _access(found: os.stat_result) -> AccessFlags:
    return _access_of(found.st_mode, found.st_uid, found.st_gid, os.geteuid())


@lru_cache(maxsize=256)
def _access_of(mode: int, owner: int, group: int, user: int) -> AccessFlags:
    if user == 0:
        return AccessFlags.READ | AccessFlags.WRITE
    if owner == user:
        bits = mode >> 6
    elif group in {os.getegid(), *os.getgroups()}:
        bits = mode >> 3
    else:
        bits = mode
    access = AccessFlags(0)
    if bits & 4:
        access |= AccessFlags.READ
    if bits & 2:
        access |= AccessFlags.WRITE
    return access


def listed(place: Place) -> tuple[ListEntry, ...]:
    """Everything in a folder, by name; a link that leads nowhere is shown as itself."""
    return tuple(entry for entry, _ in listed_with_links(place))


def listed_with_links(place: Place) -> tuple[tuple[ListEntry, bool], ...]:
    """The same, and of each whether it is a link."""
    try:
        found = os.scandir(place.path)
    except NotADirectoryError as error:
        raise errors.WrongType("That is a file.") from error
    entries = list[tuple[ListEntry, bool]]()
    base = place.url.rstrip("/") + "/"
    with found:
        for item in found:
            if item.name.endswith(PART) and item.name.startswith("."):
                continue  # of a write that goes on
            try:
                seen = item.stat()
            except OSError:
                try:
                    seen = item.stat(follow_symlinks=False)
                except OSError:
                    continue  # gone between the listing and the look
            url = base + encode(item.name, SAFE_SEGMENT)
            entry = _entry(url, item.name, seen, _access(seen))
            entries.append((entry, item.is_symlink()))
    return tuple(sorted(entries, key=lambda shown: shown[0].relative_path))


@contextmanager
def _opened(path: str) -> Generator[tuple[int, os.stat_result]]:
    # Not blocking: a pipe of that name would never open.
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        if not modes.S_ISREG(found.st_mode):
            raise errors.WrongType("That is no file that can be read.")
        yield handle, found
    finally:
        os.close(handle)


def read_whole(place: Place, progress: Progress) -> tuple[str, Content]:
    """Version and bytes of a file."""
    with _opened(place.path) as (handle, found):
        content, done = Content(found.st_size), 0
        view = memoryview(content)
        while done < len(view):
            count = os.preadv(handle, [view[done : done + PIECE]], done)
            if not count:
                break  # cut while it was read: what is there is what it was
            done += count
            progress(done, len(view))
        view.release()
        del content[done:]
        return entry_of(place, place.name, found).version or "", content


def part_of(path: str, start: int, stop: int) -> tuple[bytes, os.stat_result]:
    """The bytes from *start* up to *stop*, and what the file was then."""
    with _opened(path) as (handle, found):
        return os.pread(handle, max(0, stop - start), start), found


def hidden_name(name: str, mark: str) -> str:
    """The name of a part of the file *name*, cut so that a disk takes it, whatever its script."""
    room = MAX_NAME - len(f"..{mark}{PART}")
    return f".{os.fsdecode(os.fsencode(name)[:room])}.{mark}{PART}"


def target_of(path: str) -> str:
    """The file that a write to *path* makes or replaces: what a link leads to.

    Raises:
        WrongType: a folder is there, or a pipe, a socket, a device, which no file may replace.
    """
    return _target(path)[0]


def _target(path: str) -> tuple[str, int | None]:
    """The same, and the mode of the file that is there."""
    try:
        mode = os.lstat(path).st_mode
        if modes.S_ISLNK(mode):
            path = os.path.realpath(path)
            mode = os.lstat(path).st_mode
    except OSError:
        return path, None
    if modes.S_ISDIR(mode):
        raise errors.WrongType("A folder is there.")
    if not modes.S_ISREG(mode):
        raise errors.WrongType("What is there is no file, and stays.")
    return path, modes.S_IMODE(mode) & 0o777


def keep_mode(handle: int, target: str) -> None:
    """Let the new file be as open to others as the one that it replaces."""
    mode = _target(target)[1]
    if mode is not None:
        os.fchmod(handle, mode)


@contextmanager
def replaced(path: str, *, overwrite: bool = True) -> Generator[int]:
    """A descriptor to write to: it becomes *path* at once and whole, or not at all."""
    target, mode = _target(path)
    folder, name = os.path.split(target)
    temporary = f"{folder}/{hidden_name(name, token_hex(6))}"
    try:
        handle = os.open(temporary, NEW, 0o666)
    except FileNotFoundError:
        Path(folder).mkdir(parents=True, exist_ok=True)
        handle = os.open(temporary, NEW, 0o666)
    try:
        if mode is not None:
            os.fchmod(handle, mode)  # as open to others as what it replaces
        yield handle
        if overwrite:
            os.replace(temporary, target)  # noqa: PTH105 - a Path costs more than the call
        else:
            _place_new(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)


def _place_new(temporary: str, target: str) -> None:
    try:
        os.link(temporary, target)
        Path(temporary).unlink()
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        if os.path.lexists(target):  # a disk without hard links
            raise errors.AlreadyExists("Something is there already.") from error
        Path(temporary).replace(target)


def put(path: str, data: bytes | bytearray | memoryview, progress: Progress) -> os.stat_result:
    """Make or replace a file."""
    view = memoryview(data).cast("B")
    with replaced(path) as handle:
        done = 0
        while done < len(view):
            done += os.write(handle, view[done : done + PIECE])
            progress(done, len(view))
        return os.fstat(handle)


def remove(path: str, *, recursive: bool) -> None:
    """Remove a file, a link, a folder."""
    if path == "/":
        raise errors.Forbidden("The root stays.")
    found = Path(path).lstat()
    if not modes.S_ISDIR(found.st_mode):
        Path(path).unlink()
    elif recursive:
        shutil.rmtree(path)
    else:
        Path(path).rmdir()


def copy_tree(source: str, target: str, how: Copying) -> None:
    """Copy a file or a folder; into a folder that exists, what only it has stays."""
    _check(source, target, how)
    if not Path(source).is_dir():
        _copy_file(source, target, how)
        return
    Path(target).mkdir(parents=True, exist_ok=True)
    progress = _added_up(source, how.progress)
    for folder, folders, files in os.walk(source, onerror=_raise):
        into = Path(target, os.path.relpath(folder, source))
        for name in [*folders, *files]:
            here, there = Path(folder, name), into / name
            if here.is_symlink():
                there.unlink(missing_ok=True)
                there.symlink_to(here.readlink())
            elif here.is_dir():
                there.mkdir(exist_ok=True)
            elif here.is_file():
                _copy_file(str(here), str(there), Copying(overwrite=True, progress=progress()))


def _added_up(source: str, progress: Progress) -> Callable[[], Progress]:
    """What makes, for each file of the folder *source* in turn, what adds it to the others."""
    if progress is no_progress:
        return lambda: no_progress
    total = sum(
        Path(folder, name).lstat().st_size for folder, _, names in os.walk(source) for name in names
    )
    finished = 0

    def next_file() -> Progress:
        before = finished

        def tell(done: int, _: int) -> None:
            nonlocal finished
            finished = before + done
            progress(min(finished, total - 1), total)

        return tell

    return next_file


def _raise(error: OSError) -> None:
    raise error  # a folder that cannot be read: not a copy without it


def _copy_file(source: str, target: str, how: Copying) -> None:
    with _opened(source) as (handle, found), replaced(target, overwrite=how.overwrite) as out:
        done = 0
        while done < found.st_size:
            count = _copy_some(handle, out, found.st_size - done)
            if not count:
                break
            done += count
            how.progress(done, found.st_size)


def _copy_some(handle: int, out: int, count: int) -> int:
    try:
        return os.copy_file_range(handle, out, min(count, 64 * PIECE))
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise
        return os.sendfile(out, handle, None, min(count, 64 * PIECE))


def _check(source: str, target: str, how: Copying) -> None:
    is_folder = modes.S_ISDIR(Path(source).stat().st_mode)
    if how.only is not None and (how.only == "folder") != is_folder:
        raise errors.WrongType(f"The source is no {how.only}.")
    real, goal = os.path.realpath(source), os.path.realpath(target)
    if real == goal or (is_folder and goal.startswith(real.rstrip("/") + "/")):
        raise errors.SourceIsTarget("Source and target are one.")
    if not os.path.lexists(target):
        return
    if not how.overwrite or Path(target).is_dir() != is_folder:
        raise errors.AlreadyExists("Something is there already.")
    if not is_folder:
        target_of(target)


def move_tree(source: str, target: str, how: Copying) -> bool:
    """Move a file or folder; True where it lay on another disk and was copied."""
    _check(source, target, how)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    if Path(target).is_dir():
        copy_tree(source, target, how)  # two folders become one
        remove(source, recursive=True)
        return True
    try:
        if os.path.lexists(target) and Path(source).samefile(target):
            Path(source).unlink()  # two names of one file: renaming would leave both
        else:
            Path(source).rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_tree(source, target, how)
        remove(source, recursive=True)
        return True
    return False
