"""Zips that strangers send: looked at as a whole before a byte of them is unpacked.

Names, counts, sizes and ratios are judged by the directory of the zip; what is unpacked is counted
again, so that a directory that lies is found out at the first byte too many.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Final

from downstage.kernel.errors import InvalidInput, TooLarge

__all__ = ["Archive"]

PIECE: Final = 1 << 18
MOST_RATIO: Final = 100
"""A member that unpacks to more than that many times its size is a bomb."""
SMALL: Final = 1 << 16
"""Below that it may: text of one letter is no attack."""
DIRECTORY_ENTRY: Final = 46
END: Final = struct.Struct("<4s4H2LH")
END_MARK: Final = b"PK\x05\x06"
LOCATOR: Final = struct.Struct("<4sLQL")
LOCATOR_MARK: Final = b"PK\x06\x07"
LARGE_END: Final = struct.Struct("<4sQ2H2L4Q")
MEMBER_MARK: Final = b"PK\x01\x02"
LONGEST_COMMENT: Final = 0xFFFF
MOST_NAME: Final = 512
PLAIN: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED: Final = 0x1
UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    ValueError,
)


class Archive:
    """A zip that was found harmless.

    Args:
        file: seekable; at most one archive of it is open.
        most: members.
        most_bytes: of one member, unpacked.
        most_total: of all members, unpacked.
        most_ratio: of a member that is not small, unpacked to packed.

    Raises:
        TooLarge: more, or larger, or packed more tightly than anything honest.
        InvalidInput: no zip, encrypted, with links, the same name twice, or not as it says.
    """

    def __init__(
        self,
        file: IO[bytes],
        *,
        most: int,
        most_bytes: int,
        most_total: int,
        most_ratio: int = MOST_RATIO,
    ) -> None:
        self._most_bytes, self._most_ratio = most_bytes, most_ratio
        self._size = _check_end(file, most)
        try:
            self._zip = zipfile.ZipFile(file)
        except UNREADABLE as error:
            raise InvalidInput("This is no zip that can be read.") from error
        self.members = [info for info in self._zip.infolist() if not info.is_dir()]
        if len(self._zip.infolist()) > most:
            raise TooLarge(f"The zip has more than {most} members.", limit=most)
        if sum(info.file_size for info in self.members) > most_total:
            raise TooLarge(f"Unpacked it has more than {most_total} bytes.", limit=most_total)
        for info in self.members:
            self._check(info)
        self._check_overlap()

    def _check(self, info: zipfile.ZipInfo) -> None:
        if len(info.filename) > MOST_NAME or not info.filename.isprintable():
            raise InvalidInput("A member of the zip has a name that nothing has.")
        if info.orig_filename != info.filename or "\\" in info.orig_filename:
            raise InvalidInput("A member of the zip has a name that nothing has.")
        mode = info.external_attr >> 16
        if mode and not (stat.S_ISREG(mode) or stat.S_IFMT(mode) == 0):
            raise InvalidInput("A member of the zip is no plain file.")
        if info.flag_bits & ENCRYPTED or info.compress_type not in PLAIN:
            raise InvalidInput("The zip is encrypted, or packed in a way that is not taken.")
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            raise InvalidInput("A member of the zip has another size than it says.")
        if info.file_size > self._most_bytes:
            raise TooLarge(f"A member has more than {self._most_bytes} bytes.")
        if info.file_size > SMALL and info.file_size > self._most_ratio * info.compress_size:
            raise TooLarge("A member of the zip unpacks to far more than it is.")

    def _check_overlap(self) -> None:
        """Every member has bytes of its own: many that share some are a bomb."""
        seen = {info.filename for info in self.members}
        if len(seen) != len(self.members):
            raise InvalidInput("Two members of the zip have the same name.")
        end = 0
        for info in sorted(self.members, key=lambda info: info.header_offset):
            if info.header_offset < end:
                raise InvalidInput("Two members of the zip share their bytes.")
            end = info.header_offset + info.compress_size
        if end > self._size:
            raise InvalidInput("A member of the zip is not in it.")

    def pieces(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """The bytes of a member, unpacked piece by piece. Blocks.

        Raises:
            InvalidInput: they are not what the directory says.
        """
        count = 0
        try:
            with self._zip.open(info) as member:
                while piece := member.read(PIECE):
                    count += len(piece)
                    if count > info.file_size:
                        break
                    yield piece
        except UNREADABLE as error:
            raise InvalidInput("A member of the zip is not what it says.") from error
        if count != info.file_size:
            raise InvalidInput("A member of the zip has another size than it says.")

    def read(self, info: zipfile.ZipInfo) -> bytes:
        """All bytes of a member."""
        return b"".join(self.pieces(info))

    def close(self) -> None:
        """Done with it."""
        self._zip.close()


def _check_end(file: IO[bytes], most: int) -> int:
    """The size of the zip, whose directory has no more than *most* members.

    The directory is counted before it is read: a member of it takes more room there than here.
    """
    size = file.seek(0, 2)
    start = max(size - END.size - LONGEST_COMMENT, 0)
    file.seek(start)
    tail = file.read()
    at = tail.rfind(END_MARK)
    if at < 0 or len(tail) - at < END.size:
        raise InvalidInput("This is no zip, or not all of it.")
    directory, end = END.unpack_from(tail, at)[5], start + at
    large = tail[max(at - LOCATOR.size, 0) : at]
    if large[:4] == LOCATOR_MARK:
        end = LOCATOR.unpack(large)[2]
        file.seek(min(end, size))
        record = file.read(LARGE_END.size)
        directory = LARGE_END.unpack(record)[8] if len(record) == LARGE_END.size else size + 1
    if directory > min(end, most * (DIRECTORY_ENTRY + MOST_NAME)):
        raise TooLarge(f"The zip has more than {most} members.", limit=most)
    file.seek(end - directory)
    if file.read(directory).count(MEMBER_MARK) > most:
        raise TooLarge(f"The zip has more than {most} members.", limit=most)
    file.seek(0)
    return size
