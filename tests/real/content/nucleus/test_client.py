"""``omniverse://`` as NVIDIA's public client speaks it: files, folders, versions, watching."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import anyio
import ovstorage
import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]

MIB = 1024 * 1024


async def test_a_file_goes_in_and_comes_out(house: Any, stack: Any, folder: str) -> None:
    address = f"{house.base}{folder}/deep/er/c d é.usda"
    written = await stack.write(address, b"#usda 1.0")
    data, info = await stack.read_bytes(address)
    assert data == b"#usda 1.0"
    stat = await stack.stat(address)
    assert written.etag == info.etag == stat.etag
    assert (stat.size, stat.kind) == (9, "file")
    assert stat.system_metadata["modified_by"] == "ada"
    assert (await stack.stat(f"{house.base}{folder}/deep")).kind == "directory"
    again = await stack.write(address, b"#usda 1.0\n")
    assert again.etag != written.etag
    assert (await stack.read_bytes(address))[0] == b"#usda 1.0\n"


async def test_what_is_not_there_is_not_found(house: Any, stack: Any, folder: str) -> None:
    with pytest.raises(ovstorage.NotFoundError):
        await stack.stat(f"{house.base}{folder}/nothing")
    with pytest.raises(ovstorage.NotFoundError):
        await stack.read_bytes(f"{house.base}{folder}/nothing")


async def test_a_folder_lists_one_level(house: Any, stack: Any, folder: str) -> None:
    for name in ("b.txt", "a.txt", "sub/x.txt"):
        await stack.write(f"{house.base}{folder}/{name}", name.encode())
    page = await stack.list(f"{house.base}{folder}/")
    found = {item.address.removeprefix(f"{house.base}{folder}"): item.kind for item in page.items}
    assert found == {"/a.txt": "file", "/b.txt": "file", "/sub/": "directory"}
    sizes = {item.address[-5:]: item.size for item in page.items}
    assert sizes["a.txt"] == 5


async def test_must_not_exist(house: Any, stack: Any, folder: str) -> None:
    address = f"{house.base}{folder}/once"
    await stack.write(address, b"1", if_dest_exists="fail")
    with pytest.raises(ovstorage.AlreadyExistsError):
        await stack.write(address, b"2", if_dest_exists="fail")
    assert (await stack.read_bytes(address))[0] == b"1"


async def test_C07_nucleus_a_stale_etag_writes_nothing(house: Any, stack: Any, folder: str) -> None:
    address = f"{house.base}{folder}/file"
    first = await stack.write(address, b"1")
    options = {"if_dest_exists": "match_etag", "if_dest_etag": first.etag}
    await stack.write(address, b"2", **options)
    with pytest.raises(ovstorage.PreconditionFailedError):
        await stack.write(address, b"3", **options)
    with pytest.raises(ovstorage.PreconditionFailedError):
        await stack.write(f"{house.base}{folder}/absent", b"3", **options)
    assert (await stack.read_bytes(address))[0] == b"2"


async def test_versions_newest_first_and_each_readable(house: Any, stack: Any, folder: str) -> None:
    address = f"{house.base}{folder}/file"
    for text in (b"one", b"two"):
        await stack.write(address, text, message=text.decode())
    await stack.write(address, b"three")
    page = await stack.list_versions(address)
    assert [item.address for item in page.items] == [f"{address}?&2", f"{address}?&1"]
    assert [(await stack.read_bytes(item.address))[0] for item in page.items] == [b"two", b"one"]
    latest = await stack.get_latest_version(address)
    assert latest.address == f"{address}?&2"
    with pytest.raises(ovstorage.NotFoundError):
        await stack.read_bytes(f"{address}?&9")


async def test_copy_and_rename(house: Any, stack: Any, folder: str) -> None:
    base = f"{house.base}{folder}"
    await stack.write(f"{base}/a", b"a")
    await stack.copy(f"{base}/a", f"{base}/b")
    await stack.rename(f"{base}/b", f"{base}/c")
    assert (await stack.read_bytes(f"{base}/a"))[0] == b"a"
    assert (await stack.read_bytes(f"{base}/c"))[0] == b"a"
    with pytest.raises(ovstorage.NotFoundError):
        await stack.stat(f"{base}/b")
    await stack.write(f"{base}/d", b"d")
    await stack.rename(f"{base}/d", f"{base}/a")
    assert (await stack.read_bytes(f"{base}/a"))[0] == b"d"
    with pytest.raises(ovstorage.NotFoundError):
        await stack.copy(f"{base}/nothing", f"{base}/e")


async def test_folders_are_made_and_removed_when_empty(house: Any, stack: Any, folder: str) -> None:
    base = f"{house.base}{folder}"
    await stack.create_directory(f"{base}/")
    await stack.create_directory(f"{base}/sub/")
    await stack.create_directory(f"{base}/sub/")  # the client takes what is there
    with pytest.raises(ovstorage.DirectoryNotEmptyError):
        await stack.delete_directory(f"{base}/")
    await stack.delete_directory(f"{base}/sub/")
    await stack.delete_directory(f"{base}/")
    with pytest.raises(ovstorage.NotFoundError):
        await stack.stat(f"{base}/")


async def test_a_file_is_deleted(house: Any, stack: Any, folder: str) -> None:
    address = f"{house.base}{folder}/file"
    await stack.write(address, b"1")
    await stack.delete(address)
    with pytest.raises(ovstorage.NotFoundError):
        await stack.read_bytes(address)


async def test_a_folder_is_no_file(house: Any, stack: Any, folder: str) -> None:
    await stack.create_directory(f"{house.base}{folder}/")
    with pytest.raises((ovstorage.IncompatibleTypeError, ovstorage.AlreadyExistsError)):
        await stack.write(f"{house.base}{folder}", b"x")


async def test_what_one_may_do_is_told(house: Any, stack: Any, folder: str) -> None:
    address = f"{house.base}{folder}/file"
    await stack.write(address, b"1")
    decision = await stack.check_access(address, read=True, write=True)
    assert decision.allowed


async def test_a_watch_tells_what_happens(house: Any, stack: Any, folder: str) -> None:
    base = f"{house.base}{folder}"
    await stack.create_directory(f"{base}/")
    seen = list[tuple[str, str, str]]()

    async def watch(task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        events = await stack.watch_directory(f"{base}/")
        task_status.started()
        async for event in events:
            seen.append((event.event_type, event.address.removeprefix(base), event.kind))
            if event.address.endswith("/end"):
                return

    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch)
            # The client subscribes behind our back; what happens before that is not told.
            while not any(name == "/begin" for _, name, _ in seen):
                await stack.write(f"{base}/begin", os.urandom(4))
                await anyio.sleep(0.05)
            await stack.write(f"{base}/a", b"1")
            await stack.write(f"{base}/a", b"2")
            await stack.rename(f"{base}/a", f"{base}/b")
            await stack.delete(f"{base}/b")
            await stack.write(f"{base}/sub/below", b"not told")
            await stack.write(f"{base}/end", b"")
    told = [item for item in seen if item[1] in ("/a", "/b", "/sub/below")]
    assert told == [
        ("object", "/a", "Created"),
        ("object", "/a", "Modified"),
        ("object", "/a", "Deleted"),
        ("object", "/b", "Created"),
        ("object", "/b", "Deleted"),
    ]


@pytest.mark.parametrize("size", [0, 1 * MIB, 4 * MIB + 1, 30 * MIB])
async def test_bodies_of_any_size_both_ways(house: Any, stack: Any, folder: str, size: int) -> None:
    address = f"{house.base}{folder}/body"
    body = os.urandom(size)
    with anyio.fail_after(30):
        await stack.write(address, body)
        data, info = await stack.read_bytes(address)
    assert data == body
    assert info.size == size


async def test_a_whole_file_within_one_message(house: Any, folder: str) -> None:
    """What a client sends that follows no redirects."""
    bare = await house.stack(follow=False)
    body = os.urandom(30 * MIB)
    with anyio.fail_after(30):
        await bare.write(f"{house.base}{folder}/body", body)
        stat = await bare.stat(f"{house.base}{folder}/body")
    assert stat.size == len(body)


async def test_many_at_once(house: Any, stack: Any, folder: str) -> None:
    address = f"{house.base}{folder}/file"
    await stack.write(address, b"1")
    found = list[Any]()

    async def stat() -> None:
        found.append((await stack.stat(address)).size)

    with anyio.fail_after(15):
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(stat)
    assert found == [1] * 200


async def test_C01_nucleus_addresses_stay_inside(house: Any, stack: Any, folder: str) -> None:
    await stack.write(f"{house.base}{folder}/a", b"1")
    for name in ("..%5cx", "a%00b", "C:%5cx", "x.", "nul/..%c0%af", "a" * 4000):
        with pytest.raises(ovstorage.Error):
            await stack.write(f"{house.base}{folder}/{name}", b"x")
    # The client itself resolves these; what it makes of them is still below our root.
    await stack.write(f"{house.base}{folder}/%2e%2e/%2e%2e/{folder[1:]}/up", b"2")
    page = await stack.list(f"{house.base}{folder}/")
    assert sorted(item.address.rpartition("/")[2] for item in page.items) == ["a", "up"]


async def test_the_guide_does_as_it_says(house: Any) -> None:
    guide = Path(__file__).parents[4] / "docs" / "guides" / "connect-ovstorage.md"
    program = guide.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    found = await anyio.run_process(
        [sys.executable, "-c", program],
        env={
            **os.environ,
            "OVSTORAGE_SERVER": f"127.0.0.1:{house.port}",
            "OVSTORAGE_TOKEN": await house.token("ada"),
        },
        check=False,
    )
    assert found.returncode == 0, found.stderr.decode()
    lines = found.stdout.decode().splitlines()
    assert lines[0].startswith("b'#usda 1.0\\n' ")
    assert lines[1] == f"{house.base}/Projects/hello.usda?&1"
