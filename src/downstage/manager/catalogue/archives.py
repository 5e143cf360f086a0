"""Archives that people publish: looked at as a whole, then unpacked into a folder. It blocks.

Zips have a directory, which is judged before a byte is unpacked. Tars have none: they are read
through once without writing anything, and every size is judged before the bytes behind it are
asked for. What is unpacked is counted again. Links, devices and sparse files are refused; of a
file's mode only whether it may be executed counts.
"""

from __future__ import annotations

import bz2
import gzip
import os
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TypeVar, cast

from downstage.kernel.errors import InvalidField, InvalidInput, TooLarge
from downstage.kernel.zips import Archive
from downstage.manager.catalogue.members import (
    ARCHIVE,
    Limits,
    Member,
    check_members,
    clean,
    strip_folder,
)

__all__ = ["Package", "inspect", "unpack"]

PIECE = 1 << 18
MOST_HEADER = 1 << 20
"""A reader of tars asks for a header's text at once: more than that is an attack on memory."""
SLACK = 64 << 20
"""Bytes that may unfold whatever the ratio: zeros of an empty disk image are no attack yet."""
BLOCK = 512
UNREADABLE = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, OverflowError)

Each = Iterator[tuple[Member, Iterator[bytes]]]
Item = TypeVar("Item")


class Package:
    """An archive that was found harmless.

    Attributes:
        members: its files.
        folder: the only folder at its top, where the manifest lies in one; else empty.
        manifest: the name of the manifest found, of those wanted.
        text: the manifest.
    """

    def __init__(self, members: list[Member], folder: str, manifest: str, text: bytes) -> None:
        self.members, self.folder = members, folder
        self.manifest, self.text = manifest, text

    @property
    def executables(self) -> dict[str, bool]:
        """Names below `folder`, and whether each may be executed."""
        return {
            member.name.removeprefix(self.folder): member.is_executable for member in self.members
        }


def inspect(path: Path, wanted: tuple[str, ...], limits: Limits, *, most_text: int) -> Package:
    """Look at all of the archive at *path* without unpacking it to the disk.

    Args:
        path: of the archive.
        wanted: names that a manifest may have, best first.
        limits: what it may unfold to.
        most_text: bytes of a manifest.

    Raises:
        InvalidField: no archive, or nothing that is taken.
        TooLarge: it unfolds to too much.
    """
    texts: dict[str, bytes] = {}
    members = list[Member]()
    with _opened(path, limits) as each:
        for member, pieces in each:
            members.append(member)
            if member.name.rpartition("/")[2] in wanted and member.name.count("/") <= 1:
                texts[member.name] = _text(member, pieces, most_text)
    check_members(members, limits)
    folder = strip_folder([member.name for member in members], wanted)
    for name in wanted:
        if folder + name in texts:
            return Package(members, folder, name, texts[folder + name])
    raise InvalidField(ARCHIVE, f"The archive has no {' or '.join(wanted)} at its top.")


def unpack(path: Path, folder: str, target: Path, limits: Limits) -> None:
    """Unpack what `inspect` found harmless into the new folder *target*; every byte is on the disk.

    Args:
        path: of the archive.
        folder: what `inspect` found at its top: left out.
        target: is made; others may read it, nobody may write.
        limits: as at `inspect`.

    Raises:
        InvalidField: it is not what it was.
        OSError: it cannot be written.
    """
    target.mkdir(mode=0o755)
    folders = {target}
    with _opened(path, limits) as each:
        for member, pieces in each:
            file = target / member.name.removeprefix(folder)
            folders |= set(_make_folders(file.parent, target))
            _write(file, pieces, 0o755 if member.is_executable else 0o644)
    for made in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        _sync(made)


def _make_folders(folder: Path, top: Path) -> list[Path]:
    made = list[Path]()
    while folder != top and not folder.exists():
        made.append(folder)
        folder = folder.parent
    for path in reversed(made):
        path.mkdir()
        path.chmod(0o755)
    return made


def _write(file: Path, pieces: Iterator[bytes], mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(file, flags, mode), "wb") as written:
        for piece in pieces:
            written.write(piece)
        written.flush()
        os.fchmod(written.fileno(), mode)
        os.fsync(written.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _text(member: Member, pieces: Iterator[bytes], most: int) -> bytes:
    if member.size > most:
        raise InvalidField(ARCHIVE, f"{member.name} has more than {most} bytes.")
    return b"".join(pieces)


# Opening either kind


def _opened(path: Path, limits: Limits) -> AbstractContextManager[Each]:
    with path.open("rb") as file:
        head = file.read(BLOCK)
    if head[:2] == b"PK":
        return _zip(path, limits)
    if head[:2] == b"\x1f\x8b":
        return _tar(path, limits, lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)))
    if head[:3] == b"BZh":
        return _tar(path, limits, lambda file: cast("IO[bytes]", bz2.BZ2File(file)))
    return _tar(path, limits, lambda file: file)


@contextmanager
def _zip(path: Path, limits: Limits) -> Generator[Each]:
    with path.open("rb") as file:
        try:
            archive = Archive(
                file,
                most=limits.members,
                most_bytes=limits.bytes,
                most_total=limits.bytes,
                most_ratio=limits.ratio,
            )
        except TooLarge:
            raise
        except InvalidInput as error:
            raise InvalidField(ARCHIVE, error.detail) from error
        try:
            yield _zip_members(archive)
        finally:
            archive.close()


def _zip_members(archive: Archive) -> Each:
    for info in archive.members:
        is_executable = bool((info.external_attr >> 16) & 0o100)
        member = Member(clean(info.filename), info.file_size, is_executable)
        yield member, _named(archive.pieces(info))


def _named(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    except InvalidInput as error:
        raise InvalidField(ARCHIVE, error.detail) from error


@contextmanager
def _tar(path: Path, limits: Limits, unfold: Callable[[IO[bytes]], IO[bytes]]) -> Generator[Each]:
    most = min(limits.bytes + limits.members * 2 * BLOCK, _most(path, limits) + SLACK)
    with path.open("rb") as file, unfold(file) as whole:
        bounded = cast("IO[bytes]", _Bounded(whole, most))
        try:
            archive = tarfile.open(fileobj=bounded, mode="r:", errorlevel=2)  # noqa: SIM115
        except UNREADABLE as error:
            raise _unreadable() from error
        with archive:
            yield _readable(_tar_members(archive, limits))


def _readable(items: Iterator[Item]) -> Iterator[Item]:
    """*items*; what reading them raises is the archive's fault."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except UNREADABLE as error:
            raise _unreadable() from error
        yield item


def _unreadable() -> InvalidField:
    return InvalidField(ARCHIVE, "This is no zip, tar, tar.gz or tar.bz2 that can be read.")


def _most(path: Path, limits: Limits) -> int:
    return path.stat().st_size * limits.ratio


def _tar_members(archive: tarfile.TarFile, limits: Limits) -> Each:
    count = total = 0
    for info in archive:
        count, total = count + 1, total + max(info.size, 0)
        if count > limits.members or total > limits.bytes:
            raise TooLarge("The archive has too many members, or too large ones.")
        if info.isdir():
            continue
        if not info.isreg() or info.issparse():
            raise InvalidField(ARCHIVE, f"{info.name[:64]!r} is no plain file.")
        member = Member(clean(info.name), info.size, bool(info.mode & 0o100))
        yield member, _readable(_tar_pieces(archive, info))


def _tar_pieces(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Iterator[bytes]:
    found = archive.extractfile(info)
    left = info.size
    while found is not None and left > 0:
        piece = found.read(min(PIECE, left))
        if not piece:
            break
        left -= len(piece)
        yield piece
    if left:
        raise InvalidField(ARCHIVE, "A member of the archive has another size than it says.")


class _Bounded:
    """A file that refuses to be read past a place, or in gulps that no honest archive needs."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._most = file, most

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_HEADER:
            raise TooLarge("A header of the archive is too large.")
        self._check(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == os.SEEK_SET:
            self._check(offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def _check(self, offset: int) -> None:
        if offset > self._most:
            raise TooLarge("The archive unfolds to far more than it is.", limit=self._most)
