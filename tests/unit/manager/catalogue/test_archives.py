"""Archives that are published: unpacked as they are, or refused before anything unfolds."""

from __future__ import annotations

import bz2
import gzip
import io
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from downstage.kernel.errors import InvalidField, PlatformError, TooLarge
from downstage.manager.catalogue.archives import inspect, unpack
from downstage.manager.catalogue.members import Limits

pytestmark = pytest.mark.unit

WANTED = ("application.toml", "manifest.yaml")
LIMITS = Limits(members=50, bytes=4 << 20, ratio=50)
FILES = {
    "application.toml": b"name",
    "bin/run": b"#!/bin/sh\n",
    "data/deep/er.txt": Random(1).randbytes(70_000),
}


def zipped(files: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", packing) as archive:
        for name, body in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = packing
            info.external_attr = (stat.S_IFREG | (0o755 if "bin/" in name else 0o640)) << 16
            archive.writestr(info, body)
    return made.getvalue()


def tarred(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(body), 0o4777 if "bin/" in name else 0o600
            archive.addfile(info, io.BytesIO(body))
        for info in more:
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return made.getvalue()


def odd(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def stored(data: bytes, folder: Path) -> Path:
    path = folder / "upload"
    path.write_bytes(data)
    return path


PACKED: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda files: gzip.compress(tarred(files)),
    "tar.bz2": lambda files: bz2.compress(tarred(files)),
}


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("top", ["", "./", "app-1.0/"])
def test_an_archive_is_unpacked_as_it_is(kind: str, top: str, tmp_path: Path) -> None:
    if kind == "zip" and top == "./":
        pytest.skip("no zip has such names")
    path = stored(PACKED[kind]({top + name: body for name, body in FILES.items()}), tmp_path)
    found = inspect(path, WANTED, LIMITS, most_text=100)
    assert (found.manifest, found.text) == ("application.toml", b"name")
    unpack(path, found.folder, tmp_path / "out", LIMITS)
    files = {
        str(file.relative_to(tmp_path / "out")): file.read_bytes()
        for file in (tmp_path / "out").rglob("*")
        if file.is_file()
    }
    assert files == FILES
    # Nothing of a mode counts but whether it may be run: no set-user-id, nothing writable.
    assert (tmp_path / "out/bin/run").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "out/data/deep/er.txt").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "out/data/deep").stat().st_mode & 0o7777 == 0o755


def test_the_better_manifest_counts(tmp_path: Path) -> None:
    path = stored(tarred({"manifest.yaml": b"y", "application.toml": b"t"}), tmp_path)
    assert inspect(path, WANTED, LIMITS, most_text=100).text == b"t"


def zip_link() -> bytes:
    info = zipfile.ZipInfo("data")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    made = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    return made.getvalue()


def zip_twice() -> bytes:
    made = io.BytesIO(zipped(FILES))
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr("bin/run", b"other")
    return made.getvalue()


def zip_lying(said: int) -> bytes:
    whole = zipped({**FILES, "long": b"abc" * 3000})
    assert whole.count(struct.pack("<L", 9000)) == 2
    return whole.replace(struct.pack("<L", 9000), struct.pack("<L", said))


def tar_bomb(size: int) -> bytes:
    """A header that announces *size* bytes, and zeros that pack to next to nothing."""
    info = tarfile.TarInfo("big")
    info.size = size
    head = tarred(FILES).rstrip(b"\0")
    head += bytes(-len(head) % 512)
    return gzip.compress(head + info.tobuf() + bytes(8 << 20))


def pax_bomb() -> bytes:
    """An extended header of 64 MiB, which readers of tars take at once."""
    info = odd("pax", tarfile.XHDTYPE)
    info.size = 64 << 20
    return gzip.compress(info.tobuf() + bytes(64 << 20))


def sparse() -> bytes:
    info = odd("hole", tarfile.GNUTYPE_SPARSE)
    return tarred(FILES, info)


HOSTILE: dict[str, tuple[Callable[[], bytes], type[PlatformError]]] = {
    "slip": (lambda: zipped({**FILES, "../../evil": b"x"}), InvalidField),
    "slip-tar": (lambda: tarred({**FILES, "../../evil": b"x"}), InvalidField),
    "slip-within": (lambda: tarred({**FILES, "a/../../../evil": b"x"}), InvalidField),
    "absolute": (lambda: tarred({**FILES, "/tmp/evil": b"x"}), InvalidField),
    "absolute-zip": (lambda: zipped({**FILES, "/tmp/evil": b"x"}), InvalidField),
    "backslash": (lambda: zipped({**FILES, "..\\evil": b"x"}), InvalidField),
    "control": (lambda: tarred({**FILES, "a\x1b[2Jb": b"x"}), InvalidField),
    "deep": (lambda: tarred({**FILES, "d/" * 40 + "x": b"x"}), InvalidField),
    "link-zip": (zip_link, InvalidField),
    "link": (lambda: tarred(FILES, odd("data", tarfile.SYMTYPE, "/etc")), InvalidField),
    "hard-link": (lambda: tarred(FILES, odd("p", tarfile.LNKTYPE, "/etc/passwd")), InvalidField),
    "device": (lambda: tarred(FILES, odd("null", tarfile.CHRTYPE)), InvalidField),
    "fifo": (lambda: tarred(FILES, odd("pipe", tarfile.FIFOTYPE)), InvalidField),
    "sparse": (sparse, InvalidField),
    "twice": (zip_twice, InvalidField),
    "twice-tar": (lambda: tarred({**FILES, "./bin/run": b"x"}), InvalidField),
    "file-and-folder": (lambda: tarred({**FILES, "bin": b"x"}), InvalidField),
    "says-less": (lambda: zip_lying(100), InvalidField),
    "says-more": (lambda: zip_lying(9500), InvalidField),
    "bomb": (lambda: zipped({**FILES, "big": bytes(3 << 20)}), TooLarge),
    "bomb-tar": (lambda: tar_bomb(3 << 40), TooLarge),
    "bomb-small-steps": (lambda: gzip.compress(tarred({**FILES, "big": bytes(5 << 20)})), TooLarge),
    "pax-bomb": (pax_bomb, TooLarge),
    "many": (lambda: tarred({**FILES, **{str(n): b"" for n in range(60)}}), TooLarge),
    "many-zip": (lambda: zipped({**FILES, **{str(n): b"" for n in range(60)}}), TooLarge),
    "no-archive": (lambda: b"hello" * 1000, InvalidField),
    "empty": (lambda: b"", InvalidField),
    "cut": (lambda: gzip.compress(tarred(FILES))[:-20_000], InvalidField),
    "cut-zip": (lambda: zipped(FILES)[:-30], InvalidField),
    "no-manifest": (lambda: tarred({"bin/run": b"x"}), InvalidField),
    "two-tops": (lambda: tarred({"a/application.toml": b"x", "b/x": b"x"}), InvalidField),
    "long-manifest": (lambda: tarred({"application.toml": bytes(200)}), InvalidField),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", HOSTILE)
def test_C03_hostile_archives_are_refused_before_they_unfold(kind: str, tmp_path: Path) -> None:
    make, error = HOSTILE[kind]
    path = stored(make(), tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(error):  # noqa: PT012 - a lie may be found out only when it is told
            found = inspect(path, WANTED, LIMITS, most_text=100)
            unpack(path, found.folder, tmp_path / "out", LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert not list(tmp_path.parent.rglob("evil"))
