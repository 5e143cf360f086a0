"""An image of this machine's own Python with the test card and our bad programs, as one tar.

No registry and no package list is needed: the interpreter that runs the tests goes in with its
standard library, pygame, and every shared library that they name, each at its own path.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import downstage

PROGRAMS = Path(__file__).parent / "programs"
SKIPPED = {"test", "idlelib", "tkinter", "ensurepip", "site-packages", "__pycache__", "lib2to3"}
SKIPPED_IN_PYGAME = {"docs", "examples", "tests", "__pycache__"}
LOADED = (
    *("libX11.so.6", "libXext.so.6", "libXcursor.so.1", "libXi.so.6", "libXfixes.so.3"),
    *("libXrandr.so.2", "libXss.so.1", "libpulse.so.0", "libpulse-simple.so.0"),
    *("libnss_files.so.2", "libnss_dns.so.2"),
)
"""What SDL and the C library load by name while they run."""


def key() -> str:
    """Changes whenever what goes into the image does."""
    digest = hashlib.blake2s(sys.version.encode() + Path(__file__).read_bytes())
    for path in sorted([*PROGRAMS.glob("*.py"), *_apps().rglob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def write(path: Path) -> None:
    """The whole root file system as a tar file at *path*."""
    draft = path.with_suffix(".new")
    with tarfile.open(draft, "w", dereference=True) as archive:
        for name in ("tmp", "run", "proc", "sys", "dev", "etc", "home", "var/tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name.endswith("tmp") else 0o755
            archive.addfile(folder)
        _text(archive, "etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
        _text(archive, "etc/nsswitch.conf", "passwd: files\nhosts: files dns\n")
        for source, target in _files():
            archive.add(source, target.lstrip("/"), recursive=False)
        link = tarfile.TarInfo("usr/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, str(_python())
        archive.addfile(link)
    draft.replace(path)


def _files() -> Iterator[tuple[str, str]]:
    """Each file once, with the place that it gets."""
    found = dict(_programs())
    sources = [path for path in found if ".so" in Path(path).name] + [str(_python())]
    for library in _libraries([*sources, *_by_name(LOADED)]):
        found.setdefault(library, library)
    yield from found.items()


def _programs() -> Iterator[tuple[str, str]]:
    library = Path(sysconfig.get_path("stdlib"))
    packages = Path(sysconfig.get_path("stdlib")) / "site-packages"
    yield str(_python()), str(_python())
    for path in _below(library, SKIPPED):
        yield str(path), str(path)
    game = Path(str(find_spec("pygame").origin)).parent  # pyright: ignore[reportOptionalMemberAccess]
    for folder in (game, game.parent / "pygame_ce.libs"):
        for path in _below(folder, SKIPPED_IN_PYGAME):
            yield str(path), str(packages / path.relative_to(game.parent))
    for name in ("Xlib", "six"):
        origin = Path(str(find_spec(name).origin))  # pyright: ignore[reportOptionalMemberAccess]
        package = origin.parent if origin.name == "__init__.py" else origin
        for path in _below(package, {"__pycache__"}) if package.is_dir() else [package]:
            yield str(path), str(packages / path.relative_to(game.parent))
    source = _apps().parent.parent
    for path in [_apps().parent / "__init__.py", *_below(_apps(), {"__pycache__"})]:
        yield str(path), str(packages / path.relative_to(source))
    for path in PROGRAMS.glob("*.py"):
        yield str(path), f"/programs/{path.name}"


def _apps() -> Path:
    return Path(downstage.__file__).parent / "apps"


def _python() -> Path:
    return Path(sys.executable).resolve()


def _below(folder: Path, skipped: set[str]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in skipped or path.suffix in (".a", ".pyc", ".pyi"):
            continue
        if path.is_dir():
            yield from _below(path, skipped)
        else:
            yield path


def _by_name(names: Iterable[str]) -> Iterator[str]:
    known = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    for name in names:
        found = re.search(rf"^\s*{re.escape(name)} .*x86-64.*=> (\S+)", known.stdout, re.MULTILINE)
        if found:
            yield found.group(1)


def _libraries(files: list[str]) -> Iterator[str]:
    """*files* that lie in the system's folders and everything they are linked to."""
    told = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout
    linked = re.findall(r"(?:=> |^\s+)(/\S+) \(0x", told, re.MULTILINE)
    wanted = [*(path for path in files if path.startswith("/lib")), *linked]
    yield from dict.fromkeys(path for path in wanted if "site-packages" not in path)


def _text(archive: tarfile.TarFile, name: str, text: str) -> None:
    item = tarfile.TarInfo(name)
    item.size = len(text)
    archive.addfile(item, io.BytesIO(text.encode()))


def copy_of(folder: Path) -> Path:
    """The tar in *folder*, made where it is not there yet; older ones go."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key()}.tar"
    if not path.exists():
        for old in folder.glob("*.tar"):
            old.unlink(missing_ok=True)
        write(path)
    return path


__all__ = ["copy_of", "key"]
