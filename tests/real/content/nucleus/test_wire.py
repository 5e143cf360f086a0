"""``omniverse://`` spoken by hand: what the public client never sends, and what it never asks."""

from __future__ import annotations

import json
import logging
import os
import struct
from contextlib import AsyncExitStack, suppress
from typing import Any

import anyio
import httpx
import ovstorage
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from downstage.content.dialects.nucleus import tree
from downstage.services import AsyncClient

pytestmark = [pytest.mark.real, pytest.mark.anyio]

MIB = 1024 * 1024
VERSION = {"version": 5}


def request(request_id: int, method: str, parameters: object, length: int | None = None) -> bytes:
    body = json.dumps(parameters).encode()
    size = struct.pack("<I", len(body) if length is None else length)
    return struct.pack("<BI", 1, request_id) + method.encode() + b"\0" + size + body


async def sows(socket: Any, method: str, parameters: object) -> Any:
    """The one value that *method* answers; an error frame is None."""
    await socket.send(request(1, method, parameters))
    with anyio.fail_after(10):
        frame = await socket.recv()
        if frame[0] == 0:
            return None
        assert (await socket.recv())[:1] == b"\5"
    return json.loads(frame[10:])


async def closed(socket: Any) -> int:
    """The code that the server closes with; what it says before is passed over."""
    with anyio.fail_after(10), suppress(ConnectionClosed):
        async for _ in socket:
            pass
    assert socket.close_code is not None
    return int(socket.close_code)


async def test_signing_in_and_its_refusals(house: Any) -> None:
    token = await house.token("ada")
    async with house.sows("/omni/auth/api") as socket:
        settings = await sows(socket, "Credentials.get_settings", VERSION)
        assert "login_url" not in settings
        good = {"username": "ada", "password": "correct horse battery"}
        found = await sows(socket, "Credentials.auth", VERSION | good)
        assert (found["status"], found["username"]) == ("OK", "ada")
        assert found["profile"]["admin"] is False
        for wrong in ({"password": "wrong"}, {"username": "nobody"}, {"password": "x" * 5000}):
            found = await sows(socket, "Credentials.auth", VERSION | good | wrong)
            assert found == {"status": "DENIED", "version": 3}
        found = await sows(socket, "Credentials.auth", VERSION)
        assert found["status"] == "USERNAME_REQUIRED"
        for method, name in (("auth_with_api_token", "api_token"), ("refresh", "refresh_token")):
            found = await sows(socket, f"Tokens.{method}", VERSION | {name: token})
            assert (found["status"], found["access_token"]) == ("OK", token)
            found = await sows(socket, f"Tokens.{method}", VERSION | {name: token[:-4]})
            assert found["status"] == "INVALID_TOKEN"
            assert "access_token" not in found
        assert (await sows(socket, "Tokens.generate", VERSION))["status"] == "NOT_SUPPORTED"
        assert await sows(socket, "UserStore.get", VERSION) is None


async def test_the_client_is_told_of_a_wrong_password(house: Any) -> None:
    for wrong in ({"password": "wrong"}, {"api_token": "nonsense"}):
        stack = await house.stack(**wrong)
        with pytest.raises(ovstorage.AuthRequiredError):
            await stack.stat(f"{house.base}/")
    stack = await house.stack(api_token=await house.token("ada"))
    assert (await stack.stat(f"{house.base}/")).kind == "directory"


async def test_api_tokens_are_made_listed_and_revoked(house: Any) -> None:
    holder = {"access_token": await house.token("ada"), **VERSION}
    async with house.sows("/omni/auth/api") as socket:
        name = {"name": "render", "expire_at": "2100-01-01T00:00:00Z"}
        made = await sows(socket, "Tokens.create_api_token", holder | name)
        assert made["status"] == "OK"
        listed = await sows(socket, "Tokens.get_api_tokens", holder)
        assert [item["name"] for item in listed["tokens"]] == ["render"]
        assert made["token"] not in json.dumps(listed)
        use = {"api_token": made["token"], **VERSION}
        assert (await sows(socket, "Tokens.auth_with_api_token", use))["status"] == "OK"
        gone = await sows(socket, "Tokens.delete_api_token", holder | {"name": "render"})
        assert gone["status"] == "OK"
        found = await sows(socket, "Tokens.auth_with_api_token", use)
        assert found["status"] == "INVALID_TOKEN"
        found = await sows(socket, "Tokens.delete_api_token", holder | {"name": "render"})
        assert found["status"] == "NOT_FOUND"
        found = await sows(socket, "Tokens.get_api_tokens", VERSION | {"access_token": "x"})
        assert found["status"] == "INVALID_TOKEN"


async def test_T04_nucleus_bent_frames_end_a_request_or_the_socket(house: Any) -> None:
    async with house.sows("/omni/discovery") as socket:
        for bent in (
            request(7, "DiscoverySearch.find", {}, length=2**31),
            request(7, "DiscoverySearch.find", []),
            struct.pack("<BI", 1, 7) + b"no end",
            request(7, "No.such", {}),
        ):
            await socket.send(bent)
            frame = await socket.recv()
            assert frame[:5] == struct.pack("<BI", 0, 7)
        await socket.send(struct.pack("<BI", 2, 7))  # a kind that means nothing
        assert (await sows(socket, "DiscoverySearch.find", {}))["found"] is False
        assert len((await sows(socket, "DiscoverySearch.find_all", {}))["results"]) == 3
        await socket.send(b"\1\0")
        assert await closed(socket) == 1007
    async with house.sows("/omni/auth/api") as socket:
        slow = request(9, "Credentials.auth", {"username": "ada", "password": "x"})
        await socket.send(slow)
        await socket.send(slow)
        assert (await socket.recv())[:1] == b"\0", "the id is in use"
        assert (await socket.recv())[:1] == b"\1"
        assert (await socket.recv())[:1] == b"\5"
    async with house.sows("/omni/discovery") as socket:
        await socket.send(bytes(64 * 1024 + 1))
        assert await closed(socket) == 1009


async def test_T04_nucleus_commands_are_bounded(house: Any) -> None:
    async with house.wire(authorize=False) as wire:
        await wire.socket.send(b'{"id":1,"command":"ping","x":"' + b"x" * 65536 + b'"}')
        assert await closed(wire.socket) == 1009
    async with house.wire() as wire:
        with suppress(ConnectionClosed):
            await wire.socket.send(bytes(33 * MIB))
        assert wire.socket.close_code == 1009 or await closed(wire.socket) == 1009
    async with house.wire() as wire:
        await wire.socket.send(b'{"id":1,"command":"ping","x":"' + b"x" * 1_100_000 + b'"}')
        assert await closed(wire.socket) == 1007
    for bent in (b"", b"null", b'{"command":"ping"}', b'{"id":-1,"command":"ping"}'):
        async with house.wire() as wire:
            await wire.socket.send(bent)
            assert await closed(wire.socket) == 1007


async def test_commands_come_after_authorisation(house: Any) -> None:
    async with house.wire(authorize=False) as wire:
        assert await wire.status("stat2", path={"path": "/"}) == "UNAUTHENTICATED"
        assert await closed(wire.socket) == 1008
    async with house.wire(authorize=False) as wire:
        assert await wire.status("authorize_token", token="nonsense") == "UNAUTHENTICATED"
    async with house.wire() as wire:
        assert await wire.status("authorize_token", token="x") == "ALREADY_AUTHENTICATED"
        assert (await wire.call("ping"))["username"] == "ada"
        await wire.socket.send('{"id":99,"command":"ping"}')  # text is taken, too
        assert (await wire.answer(99))[0]["status"] == "OK"


async def test_what_is_not_spoken_says_so(house: Any) -> None:
    async with house.wire() as wire:
        for command in ("mount", "create_object", "create_asset_with_hash", "list"):
            answer = await wire.call(command)
            assert (answer["status"], answer["fin"]) == ("NOT_IMPLEMENTED", True)
            assert answer["notice"]
        assert await wire.status("rm -rf /") == "INVALID_COMMAND"
        branch = {"path": "/x", "branch": "mine"}
        assert await wire.status("stat2", path=branch) == "NOT_IMPLEMENTED"
        delta = {"path": {"path": "/x"}, "delta": {}}
        assert await wire.status("update_asset", **delta) == "NOT_IMPLEMENTED"


async def test_an_id_in_use_is_refused_and_a_stop_frees_it(house: Any, folder: str) -> None:
    async with house.wire() as wire:
        await wire.status("create_directory", path={"path": f"{folder}/"})
        watch = await wire.send("subscribe_list", path={"path": f"{folder}/"})
        first, _ = await wire.answer(watch)
        assert (first["event"], first["entry"]["path"]) == ("full", f"{folder}/")
        again = {"id": watch, "command": "ping"}
        await wire.socket.send(json.dumps(again))
        assert (await wire.answer(watch))[0]["status"] == "INVALID_COMMAND"
        stop = {"id": 1000, "command": "stop", "subscription_id": watch}
        await wire.socket.send(json.dumps(stop))
        assert await wire.status("ping") == "OK"
        await wire.socket.send(json.dumps(again))
        assert (await wire.answer(watch))[0]["status"] == "OK"


async def test_watchers_hear_of_folders_and_of_the_end(house: Any, folder: str) -> None:
    async with house.wire() as wire:
        await wire.status("create_directory", path={"path": f"{folder}/"})
        watch = await wire.send("subscribe_list", path={"path": f"{folder}/"})
        await wire.answer(watch)
        sub = {"path": f"{folder}/sub/"}
        await wire.status("create_directory", path=sub)
        await wire.status("delete2", paths_to_delete=[sub])
        await wire.status("delete2", paths_to_delete=[{"path": f"{folder}/"}])
        told = [(await wire.answer(watch))[0] for _ in range(3)]
        assert [(item.get("event"), item.get("entry", {}).get("path")) for item in told] == [
            ("create", f"{folder}/sub/"),
            ("delete", f"{folder}/sub/"),
            (None, None),
        ]
        assert (told[2]["status"], told[2]["fin"]) == ("INVALID_URI", True)
        gone = await wire.call("subscribe_list", path={"path": f"{folder}/"})
        assert gone["status"] == "INVALID_URI"


async def test_a_file_is_watched_by_its_content(house: Any, folder: str) -> None:
    path = {"path": f"{folder}/file"}
    async with house.wire() as wire:
        await wire.call("create_asset", path=path, blob=b"1", overwrite=True)
        watch = await wire.send("subscribe_read_asset", path=path)
        first, blob = await wire.answer(watch)
        assert blob == b"1"
        await wire.call("update_asset", path=path, blob=b"2", etag=first["etag"])
        _, blob = await wire.answer(watch)
        assert blob == b"2"
        await wire.call("delete2", paths_to_delete=[path])
        assert (await wire.answer(watch))[0]["status"] == "INVALID_URI"


async def test_a_long_listing_comes_in_frames(
    house: Any, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "PAGE", 10)
    async with house.wire() as wire:
        sent = [
            await wire.send("create_asset", path={"path": f"{folder}/{n}"}, blob=b"")
            for n in range(11)
        ]
        for number in sent:
            assert (await wire.answer(number))[0]["status"] == "OK"
        number = await wire.send("list2", path=f"{folder}/")
        frames = list[Any]()
        while not frames or not frames[-1].get("fin"):
            frames.append((await wire.answer(number))[0])
        assert [(len(item["entries"]), item["status"]) for item in frames] == [
            (10, "OK"),
            (1, "OK"),
            (0, "DONE"),
        ]
        assert await wire.status("list2", path=f"{folder}/0") == "NOT_ASSET"


async def test_checkpoints_are_made_listed_and_restored(house: Any, folder: str) -> None:
    path = {"path": f"{folder}/file"}
    async with house.wire() as wire:
        for text in (b"one", b"two"):
            await wire.call("create_asset", path=path, blob=text, overwrite=True)
            made = await wire.call("checkpoint_version", path=path, message=text.decode())
        assert made["checkpoint"] == 2
        assert await wire.status("checkpoint_version", path=path) == "INVALID_PARAMETERS"
        found = (await wire.call("get_checkpoints", path=path))["checkpoints"]
        assert [(item["checkpoint_id"], item["message"]) for item in found] == [
            (2, "two"),
            (1, "one"),
        ]
        old = {**path, "checkpoint": 1}
        assert await wire.status("replace_version", src_path=old, dst_path=path) == "OK"
        number = await wire.send("read_asset_version", path=path)
        fields, blob = await wire.answer(number)
        assert blob == b"one"
        etag = fields["etag"]
        assert await wire.status("read_asset_version", path=path, etag=etag) == "LATEST"
        assert (await wire.call("get_branches", path=path["path"]))["branches"] == ["default"]
        other = {"path": f"{folder}/other"}
        assert await wire.status("replace_version", src_path=old, dst_path=other) == "OK"


async def test_C07_nucleus_a_lock_keeps_others_out_and_ends_with_its_owner(
    house: Any, stack: Any, folder: str
) -> None:
    address, path = f"{house.base}{folder}/file", f"{folder}/file"
    await stack.write(address, b"1")
    async with house.wire("eve") as eve:
        assert (await eve.call("lock", uri=path, etag="0", duration=600))["status"] == "OK"
        with pytest.raises(ovstorage.LockedError):
            await stack.write(address, b"2")
        stat = await eve.call("stat2", path={"path": path})
        assert stat["locked_by"]
        async with house.wire() as ada:
            assert await ada.status("unlock", uri=path) == "RESOURCE_BUSY"
            assert await ada.status("lock", uri=path, etag="0") == "RESOURCE_BUSY"
        assert await eve.status("update_asset", path={"path": path}, blob=b"3") == "OK"
        assert await eve.status("unlock", uri=path) == "OK"
        await stack.write(address, b"4")
        assert await eve.status("lock", uri=path, etag="0") == "OK"
    with anyio.fail_after(10):
        while True:
            try:
                await stack.write(address, b"5")
                break
            except ovstorage.LockedError:
                await anyio.sleep(0.05)


async def test_rights_are_set_and_told(house: Any, folder: str) -> None:
    await house.token("root", "admins")
    path = {"path": f"{folder}/"}
    async with house.wire("root") as root, house.wire("eve") as eve:
        await root.status("create_directory", path=path)
        assert await eve.status("stat2", path=path) == "OK"
        rule = {"path_at_version": path, "acl": {"everyone": ["read"], "ada": ["read", "write"]}}
        refused = await eve.call("set_acl_v2", paths=[rule])
        assert refused["pathStatuses"][0]["status"] == "DENIED"
        answer = await root.call("set_acl_v2", paths=[rule])
        assert answer["pathStatuses"] == [{"status": "OK"}]
        answer = await root.call("get_acl_v2", paths=[path])
        assert answer["responses"][0]["acl"] == rule["acl"]
        answer = await eve.call("get_acl_resolved", paths=[path, {"path": "/nope/.."}])
        good, bad = answer["responses"]
        assert good["acl"]["eve"]["acl"] == ["read"]
        assert bad["status"] == "INVALID_PARAMETERS"
        below = {"path": f"{folder}/x"}
        assert await eve.status("create_asset", path=below, blob=b"") == "DENIED"
        rule["acl"] = {"everyone": ["dance"]}
        answer = await root.call("set_acl_v2", paths=[rule])
        assert answer["pathStatuses"][0]["status"] == "INVALID_PARAMETERS"


async def test_users_and_groups(house: Any) -> None:
    await house.token("root", "admins")
    await house.token("bob")
    async with house.wire("root") as root, house.wire("eve") as eve:
        assert "bob" in (await root.call("get_users"))["users"]
        assert await eve.status("get_users") == "DENIED"
        bob = {"user": "bob", "group": "painters"}
        assert await eve.status("add_user_to_group", **bob) == "DENIED"
        assert await root.status("add_user_to_group", **bob) == "OK"
        assert await root.status("add_user_to_group", **bob) == "USER_ALREADY_IN_GROUP"
        assert "painters" in (await root.call("get_groups"))["groups"]
        assert (await root.call("get_group_users", group="painters"))["users"] == ["bob"]
        assert (await root.call("get_user_groups", user="bob"))["groups"] == ["painters"]
        assert await root.status("remove_user_from_group", **bob) == "OK"
        assert await root.status("remove_user_from_group", **bob) == "USER_NOT_IN_GROUP"
        assert await root.status("add_user_to_group", **bob) == "OK"
        assert await root.status("remove_group", group="painters") == "OK"
        assert await root.status("remove_group", group="painters") == "GROUP_NOT_FOUND"
        nobody = {"user": "nobody", "group": "painters"}
        assert await root.status("add_user_to_group", **nobody) == "USER_NOT_FOUND"
        assert await root.status("create_group", group="x") == "NOT_IMPLEMENTED"


class Uploads:
    """Large bodies by hand."""

    def __init__(self, house: Any, token: str) -> None:
        self._url = f"{house.http}/omni/lft/content/"
        self.http = httpx.AsyncClient(headers={"authorization": f"Bearer {token}"})

    async def mint(self, path: object) -> httpx.Response:
        return await self.http.post(self._url, json={"path": path})

    async def put(self, number: int, start: int, body: bytes) -> int:
        headers = {"content-id-numeric": str(number), "content-start": str(start)}
        return (await self.http.put(self._url, headers=headers, content=body)).status_code


async def test_parts_of_a_body_are_committed_whole_or_not_at_all(house: Any, folder: str) -> None:
    path = {"path": f"{folder}/file"}
    body = os.urandom(6 * MIB)
    ours = Uploads(house, await house.token("ada"))
    theirs = Uploads(house, await house.token("eve"))
    async with ours.http, theirs.http, house.wire() as ada, house.wire("eve") as eve:
        minted = (await ours.mint(path["path"])).json()
        number = minted["content_id_numeric"]
        assert minted["content_id"] == str(number)
        commit = {"path": path, "content_id": number, "overwrite": True}
        assert await ours.put(number, 4 * MIB, body[4 * MIB :]) == 200
        assert await ada.status("create_asset", **commit) == "CONTENT_LENGTH_MISMATCH"
        assert await theirs.put(number, 0, b"x") == 404
        async with anyio.create_task_group() as tasks:
            for start in (2 * MIB, 0):
                tasks.start_soon(ours.put, number, start, body[start : start + 2 * MIB])
        assert await eve.status("create_asset", **commit) == "INVALID_CONTENT_ID"
        other = {**commit, "path": {"path": f"{folder}/other"}}
        assert await ada.status("create_asset", **other) == "INVALID_CONTENT_ID"
        assert await ada.status("create_asset", **commit) == "OK"
        assert await ada.status("create_asset", **commit) == "INVALID_CONTENT_ID"
        answer = await ada.call("read_asset_version", path=path)
        assert answer["size"] == len(body)
        assert answer["uri_redirection"].startswith(f"{house.http}/omni/download{folder}/file?")
        found = await ours.http.get(answer["uri_redirection"])
        assert found.content == body
        assert found.headers["content-disposition"] == "attachment"
        assert found.headers["x-content-type-options"] == "nosniff"
        stale = await ours.http.get(f"{house.http}/omni/download{folder}/file?etag=old")
        assert stale.status_code == 412
        assert await ours.put(number, 0, b"") == 404
        assert (await ours.mint(f"{folder}/")).status_code == 409
        too_large = await ours.mint(f"{folder}/large")
        large = too_large.json()["content_id_numeric"]
        assert await ours.put(large, 0, bytes(24 * MIB + 1)) == 413
        assert await ours.put(large, 1 << 62, b"x") == 422


async def test_A09_nucleus_a_token_in_the_address_is_taken_by_the_socket_alone(
    house: Any, folder: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    token, fake = await house.token("ada"), "Zq9-not-a-jwt-but-secret"
    for value in (token, fake):
        url = f"ws://127.0.0.1:{house.port}/omni/api?access_token={value}"
        async with connect(url, proxy=None) as socket:
            await socket.send(json.dumps({"id": 1, "command": "authorize_token", "token": value}))
            await socket.recv()
        async with httpx.AsyncClient() as http:
            for path in ("/omni/lft/content/", "/omni/download/x"):
                answer = await http.get(f"{house.http}{path}", params={"access_token": value})
                assert answer.status_code in (401, 404)
                assert value not in answer.text
    with pytest.raises(InvalidStatus):  # refused, so the server tells that instead
        async with connect(f"{url}", proxy=None, origin="https://other.example"):  # type: ignore[arg-type]
            pass
    with anyio.fail_after(10):
        async with house.sows("/omni/auth/api") as socket:
            await sows(socket, "Credentials.auth", {"username": "ada", "password": "Hunter-2-x"})
    out = capsys.readouterr()
    # The client logs here too, and access logs are off wherever the platform sets up logging.
    ours = [item for item in caplog.records if item.name not in ("httpx", "uvicorn.access")]
    logged = "".join(record.getMessage() for record in ours)
    assert "/omni/api" in logged, "the server tells of sockets, without their queries"
    for text in (logged, out.out, out.err):
        for secret in (token, fake, "access_token=", "Hunter-2-x"):
            assert secret not in text


async def test_A09_nucleus_bodies_need_a_token_in_a_header(house: Any) -> None:
    token = await house.token("ada")
    async with httpx.AsyncClient() as http:
        for method, path in (("POST", "/omni/lft/content/"), ("GET", "/omni/download/x")):
            url = f"{house.http}{path}"
            for headers, status in (
                ({}, 401),
                ({"authorization": "Bearer nonsense"}, 401),
                ({"authorization": f"Basic {token}"}, 401),
                ({"authorization-token": token}, 401),
                ({"authorization": f"Bearer {token}", "origin": "https://other.example"}, 403),
            ):
                answer = await http.request(method, url, headers=headers)
                assert answer.status_code == status
                assert token not in answer.text


@pytest.mark.parametrize(
    "path",
    ["x", "..", "/..", "/../etc/passwd", "/a/../b", "/a/./b", "/a//", "/a//b", "/a\\..\\b",
     "C:/x", "/a\0b", "/a\nb", "/a.", "/ a ", "omniverse://other-host/x", "/" + "a" * 300,
     "/a" * 100],
)  # fmt: skip
async def test_C01_nucleus_no_path_leaves_the_tree(house: Any, folder: str, path: str) -> None:
    if path.startswith("/") and "etc" not in path:
        path = folder + path
    async with house.wire() as wire:
        for fields in (
            {"command": "stat2", "path": {"path": path}},
            {"command": "create_asset", "path": {"path": path}, "blob": b"x"},
            {"command": "create_directory", "path": {"path": f"{path}/x/"}},
            {"command": "list2", "path": path},
            {"command": "read_asset_version", "path": {"path": path}},
            {"command": "lock", "uri": path, "etag": "0"},
            {"command": "subscribe_list", "path": {"path": path}},
        ):
            answer = await wire.call(fields.pop("command"), **fields)
            assert answer["status"] == "INVALID_PARAMETERS", (fields, answer)
            assert answer["fin"]
        answer = await wire.call("rename2", paths_to_rename=[{"src": {"path": path}}])
        assert answer["responses"] == ["INVALID_PARAMETERS"]
    async with Uploads(house, await house.token("ada")).http as http:
        answer = await http.post(f"{house.http}/omni/lft/content/", json={"path": path})
        assert answer.status_code in (400, 409)


@pytest.mark.parametrize("path", ["..%2f..%2fetc%2fpasswd", "%2e%2e/x", "a%00", "%5c..%5cx"])
async def test_C01_nucleus_downloads_stay_inside(house: Any, path: str) -> None:
    token = await house.token("ada")
    url = httpx.URL(house.http, raw_path=f"/omni/download/{path}".encode())
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http:
        assert (await http.get(url)).status_code == 400


async def test_a_revoked_token_ends_what_it_began(house: Any, folder: str) -> None:
    ada = AsyncClient("local://identity", token=await house.token("ada"))
    made = await ada.v1.tokens.post(name="watcher")
    house.tokens["watcher"] = made["token"]
    async with house.wire("watcher") as wire:
        await wire.status("create_directory", path={"path": f"{folder}/"})
        watch = await wire.send("subscribe_list", path={"path": f"{folder}/"})
        await wire.answer(watch)
        await ada.v1.tokens[made["id"]].delete()
        with anyio.fail_after(10):
            last, _ = await wire.answer(watch)
        assert (last["status"], last["fin"]) == ("UNAUTHENTICATED", True)
        assert await wire.status("stat2", path={"path": "/"}) == "UNAUTHENTICATED"
        other = await house.token("ada")
        assert await wire.status("authorize_token", token=other) == "OK"
        assert await wire.status("stat2", path={"path": "/"}) == "OK"


async def test_a_caller_in_other_groups_begins_again(house: Any, folder: str) -> None:
    await house.token("dora")
    operator = await house.operator()
    async with house.wire("dora") as dora:
        await dora.status("create_directory", path={"path": f"{folder}/"})
        watch = await dora.send("subscribe_list", path={"path": f"{folder}/"})
        await dora.answer(watch)
        await operator.v1.users["dora"].patch(groups=["artists"])
        # Groups bring no scopes but those of administrators, so the token still counts.
        with anyio.fail_after(15):
            last, _ = await dora.answer(watch)
        assert (last["status"], last["fin"]) == ("ACCESS_LOST", True)
        assert await dora.status("subscribe_list", path={"path": f"{folder}/"}) == "OK"


async def test_a_slash_at_the_end_tells_folders_from_files(house: Any, folder: str) -> None:
    async with house.wire() as wire:
        await wire.call("create_asset", path={"path": f"{folder}/file"}, blob=b"")
        for path, status in (
            (folder, "INVALID_URI"),
            (f"{folder}/", "OK"),
            (f"{folder}/file", "OK"),
            (f"{folder}/file/", "INVALID_URI"),
        ):
            assert await wire.status("stat2", path={"path": path}) == status
        answer = await wire.call("delete2", paths_to_delete=[{"path": f"{folder}/file/"}])
        assert answer["responses"] == ["INVALID_URI"]


async def test_C07_nucleus_who_may_not_write_takes_no_room(house: Any, folder: str) -> None:
    await house.token("root", "admins")
    reader = await AsyncClient("local://identity", token=await house.token("kim")).v1.tokens.post(
        name=folder, scopes=["files:read"]
    )
    path = {"path": f"{folder}/"}
    both = ["read", "write"]
    rule = {"path_at_version": path, "acl": {"everyone": ["read"], "ada": both, "kim": both}}
    ours, theirs = Uploads(house, await house.token("ada")), Uploads(house, reader["token"])
    others = Uploads(house, await house.token("eve"))
    async with ours.http, theirs.http, others.http, house.wire("root") as root:
        await root.status("create_directory", path=path)
        await root.call("set_acl_v2", paths=[rule])
        assert (await theirs.mint(f"{folder}/file")).status_code == 403
        assert (await others.mint(f"{folder}/file")).status_code == 403
        minted = await ours.mint(f"{folder}/file")
        number = minted.json()["content_id_numeric"]
        operator = await house.content_caller("root")
        await house.content.set_quota(operator, folder, bytes=MIB)
        assert await ours.put(number, 0, bytes(MIB)) == 200
        assert await ours.put(number, MIB, b"x") == 507
        assert await ours.put(number, 9_999_999_999_999_999_999, b"x") == 507


@pytest.mark.parametrize(("path", "most"), [("/omni/discovery", 32), ("/omni/api", 3)])
async def test_T06_nucleus_one_address_does_not_keep_strangers_out(
    house: Any, path: str, most: int
) -> None:
    url = f"ws://127.0.0.1:{house.port}{path}"
    options: dict[str, Any] = {"compression": None, "proxy": None}
    async with AsyncExitStack() as held:
        for _ in range(most):
            one = connect(url, local_addr=("127.0.0.2", 0), **options)
            await held.enter_async_context(one)
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, local_addr=("127.0.0.2", 0), **options)
        assert refused.value.response.status_code == 503
        async with connect(url, local_addr=("127.0.0.3", 0), **options) as socket:
            assert await socket.ping()
    with anyio.fail_after(10):
        while True:  # until the server has seen that they went
            with suppress(InvalidStatus):
                async with connect(url, local_addr=("127.0.0.2", 0), **options) as socket:
                    assert await socket.ping()
                    break
            await anyio.sleep(0.01)
