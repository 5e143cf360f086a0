"""The client under fsspec: what pandas, zarr and paths of universal_pathlib do with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pandas
import pytest
import zarr
from upath import UPath

from downstage import client
from downstage.client.filesystem import SCHEMES, DownstageFileSystem
from downstage.client.paths import ContentPath
from downstage.kernel import errors

from .conftest import Served
from .kinds import Kind, place_of

pytestmark = pytest.mark.contract


def test_the_package_names_its_schemes_to_both() -> None:
    for scheme in SCHEMES:
        assert fsspec.get_filesystem_class(scheme) is DownstageFileSystem
        path = UPath(f"{scheme}://localhost/a/b.usd")
        assert (type(path), path.name) == (ContentPath, "b.usd")


def test_a_path_alone_warns_of_nothing() -> None:
    program = "from upath import UPath; print(UPath('omniverse://localhost/a/b.usd').parent)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("omniverse://localhost/a\n", "")


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """Start what fsspec and zarr start once in a process and never end."""
    fsspec.asyn.get_loop()
    zarr.array([1], store=zarr.storage.MemoryStore())


@pytest.fixture
def place(served: Served, tmp_path: Path, fresh: None) -> Iterator[Kind]:
    del fresh
    token = served.server.token("alice")
    with (
        client.register_authorize_callback(lambda _: token),
        place_of("omniverse", served, tmp_path) as found,
    ):
        yield found
    DownstageFileSystem.clear_instance_cache()


@pytest.fixture
def fs(place: Kind) -> Any:
    return fsspec.url_to_fs(place.folder)[0]


def test_addresses_and_paths(fs: Any) -> None:
    strip, whole = fs._strip_protocol, fs.unstrip_protocol
    assert strip("omniverse://h:1/a%20b/") == "h:1/a b"
    assert strip(strip("omniverse://h:1/a%20b/")) == "h:1/a b"
    assert whole("h:1/a b#c") == "omniverse://h:1/a%20b%23c"
    assert whole("omniverse://h:1/a%20b") == "omniverse://h:1/a%20b"
    assert whole("omniverse://h/a.usd?&3") == "omniverse://h/a.usd?&3"
    assert strip(["downstage://h/a", "omni://h/b"]) == ["h/a", "h/b"]


def test_files_and_folders(fs: Any, place: Kind) -> None:
    base = fs._strip_protocol(place.folder)
    with fs.open(f"{base}/in/a b.txt", "wb") as file:
        file.write(b"hello ")
        file.write(b"world")
    with fs.open(f"{base}/in/a b.txt", "rb") as file:
        file.seek(6)
        assert file.read(3) == b"wor"
    assert fs.cat_file(f"{base}/in/a b.txt", start=-5) == b"world"
    assert fs.cat_file(f"{base}/in/a b.txt", start=0, end=-6) == b"hello"
    assert fs.ls(f"{base}/in", detail=False) == [f"{base}/in/a b.txt"]
    assert fs.ls(f"{base}/in/a b.txt", detail=False) == [f"{base}/in/a b.txt"]
    info = fs.info(f"{base}/in/a b.txt")
    assert (info["type"], info["size"], info["url"]) == ("file", 11, place.at("in/a%20b.txt"))
    assert fs.find(base) == [f"{base}/in/a b.txt"]
    assert fs.glob(f"{base}/*/*.txt") == [f"{base}/in/a b.txt"]
    assert fs.isdir(f"{base}/in")
    assert fs.exists(f"{base}/in/a b.txt")
    assert not fs.exists(f"{base}/none")
    assert fs.created(base) <= fs.modified(f"{base}/in/a b.txt")
    assert fs.ukey(f"{base}/in/a b.txt") == info["hash"]
    fs.cp(f"{base}/in", f"{base}/out", recursive=True)
    assert fs.cat(f"{base}/out/a b.txt") == b"hello world"
    fs.mv(f"{base}/out/a b.txt", f"{base}/moved.txt")
    assert fs.cat(f"{base}/moved.txt") == b"hello world"
    fs.mkdir(f"{base}/empty")
    fs.makedirs(f"{base}/empty", exist_ok=True)
    fs.rmdir(f"{base}/empty")
    fs.rm(f"{base}/in", recursive=True)
    assert not fs.exists(f"{base}/in")


def test_to_this_machine_and_back(fs: Any, place: Kind, tmp_path: Path) -> None:
    (tmp_path / "up/in").mkdir(parents=True)
    (tmp_path / "up/in/a").write_bytes(b"1")
    fs.put(str(tmp_path / "up"), place.at("up"), recursive=True)
    fs.get(place.at("up"), str(tmp_path / "down"), recursive=True)
    assert (tmp_path / "down/in/a").read_bytes() == b"1"


def test_errors_are_those_of_files(fs: Any, place: Kind) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fs.open(place.at("none"), "rb").read()
    assert isinstance(caught.value.__cause__, errors.NotFound)
    fs.pipe(place.at("a"), b"1")
    with pytest.raises(FileExistsError):
        fs.open(place.at("a"), "xb")
    with pytest.raises(FileExistsError):
        fs.makedirs(place.folder)
    with pytest.raises(FileExistsError):
        fs.pipe_file(place.at("a"), b"2", mode="create")
    with pytest.raises(NotImplementedError):
        fs.open(place.at("a"), "ab")
    with pytest.raises(OSError, match="folder holds"):
        fs.rm(place.folder)


def test_checkpoints_by_their_address(place: Kind) -> None:
    client.files.write_file(place.at("a.txt"), b"first", "kept")
    client.files.write_file(place.at("a.txt"), b"second")
    with fsspec.open(place.at("a.txt?&1"), "rt") as file:
        assert file.read() == "first"


def test_pandas(place: Kind) -> None:
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    frame.to_csv(place.at("t.csv"), index=False)
    assert pandas.read_csv(place.at("t.csv")).equals(frame)


def test_zarr(place: Kind) -> None:
    store = zarr.storage.FsspecStore.from_url(place.at("z.zarr"))
    array = zarr.create_array(store, shape=(100, 100), chunks=(50, 50), dtype="i4")
    array[:] = 7
    array[3, 4] = 8
    again = zarr.open_array(zarr.storage.FsspecStore.from_url(place.at("z.zarr")), mode="r")
    assert (int(again[3, 4]), int(again[99, 99])) == (8, 7)


def test_paths(place: Kind) -> None:
    path = UPath(place.folder) / "sub" / "x.txt"
    path.parent.mkdir()
    path.write_text("text")
    assert path.read_text() == "text"
    assert path.stat().st_size == 4
    assert [item.name for item in path.parent.iterdir()] == ["x.txt"]
    path.unlink()
    assert not path.exists()
