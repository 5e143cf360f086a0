"""What clients of AMS do, step by step, against a running platform."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.real.manager.ams.conftest import Client, package, tls

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(120)]

APPLICATION = """
name = "echo"
title = "Echo"
command = ["xterm"]
"""
STREAMED = {
    "app_version": -1,
    "config": {
        "platform": "webrtc",
        "enable_streaming": True,
        "display": {"width": 1280, "height": 720, "fps": 30, "density": 240},
    },
    "no_start": False,
}


async def test_the_browser_tests_of_the_sdk_find_what_they_need(
    trusted: Client, platform: PlatformProcess
) -> None:
    status, nodes = await trusted.call("GET", "/nodes")
    assert (status, nodes["metadata"]) == (200, ["/1.0/nodes/local"])
    archive, headers = package(application__toml=APPLICATION)
    begun = await trusted.call("POST", "/applications", headers=headers, data=archive)
    operation = await trusted.finish(begun)
    assert operation["status_code"] == 200, operation
    (path,) = operation["resources"]["applications"]
    status, said = await trusted.call("GET", path.partition("/1.0")[2])
    assert said["metadata"]["status"] == "ready"
    status, all_of_them = await trusted.call("GET", "/applications?recursion=1")
    names = {item["name"]: item["id"] for item in all_of_them["metadata"]}
    assert {"echo", "test-card"} <= names.keys()
    listed = platform.call("GET", "/1.0/applications").body["metadata"]
    assert "test-card" in [item["name"] for item in listed]
    created = await trusted.call("POST", "/instances", {"app_id": names["test-card"], **STREAMED})
    key = created[1]["metadata"]["resources"]["instances"][0].rpartition("/")[2]
    shown = await trusted.instance(key, "running")
    (tag,) = [tag for tag in shown["tags"] if tag.startswith("session=")]
    session = tag.removeprefix("session=")
    joined = platform.call(
        "POST", f"/1.0/sessions/{session}/join", {"screen": {"width": 1280, "height": 720}}
    )
    assert joined.status == 200, joined.body
    assert joined.body["metadata"]["url"].startswith("ws://")
    done = await trusted.finish(await trusted.call("DELETE", f"/instances/{key}", {"force": True}))
    assert done["status"] == "success", done
    platform.wait_state(session, "ended")
    assert (await trusted.call("GET", f"/instances/{key}"))[0] == 404
    await trusted.finish(await trusted.call("DELETE", "/applications/echo", {"force": True}))


async def test_the_go_client_reads_what_it_may_rely_on_and_waits_by_events(
    trusted: Client,
) -> None:
    status, said = await trusted.call("GET", "")
    assert (status, said["status"], said["metadata"]["auth"]) == (200, "Success", "trusted")
    assert "instance_support" in said["metadata"]["api_extensions"]
    events = await trusted.http.ws_connect(f"{trusted.base}/events?type=operation,lifecycle")
    plain = {"app_id": "test-card", "name": "quiet", "tags": ["a"]}
    created = await trusted.call("POST", "/instances", plain)
    path = created[1]["operation"]
    seen, lives = list[int](), list[str]()
    async with asyncio.timeout(40):
        async for message in events:
            event = json.loads(message.data)
            if event["type"] == "lifecycle":
                lives.append(event["metadata"]["action"])
            elif event["metadata"]["id"] == path.rpartition("/")[2]:
                seen.append(event["metadata"]["status_code"])
            if seen[-1:] == [200] and "instance-running" in lives:
                break
    await events.close()
    assert lives[:2] == ["instance-created", "instance-scheduled"]
    status, found = await trusted.call("GET", "/instances?tags=a&recursion=1")
    (instance,) = found["metadata"]
    assert (instance["name"], instance["status"], instance["status_code"]) == (
        "quiet",
        "running",
        4,
    )
    assert instance["tags"] == ["a"]
    status, _ = await trusted.call("GET", "/instances/quiet/logs")
    assert status == 200
    stopped = await trusted.call("PATCH", "/instances/quiet", {"desired_status": "stopped"})
    await trusted.finish(stopped)
    await trusted.instance("quiet", "stopped")
    await trusted.finish(await trusted.call("DELETE", "/instances/quiet", {}))


async def test_a_program_runs_inside_and_its_streams_are_attached(trusted: Client) -> None:
    await trusted.finish(
        await trusted.call("POST", "/instances", {"app_id": "test-card", "name": "inside"})
    )
    asked = {"command": ["sh", "-c", "read line; echo got $line; echo no >&2; exit 7"]}
    status, said = await trusted.call("POST", "/instances/inside/exec", asked)
    assert status == 202, said
    assert said["metadata"]["class"] == "websocket"
    secrets, path = said["metadata"]["metadata"]["fds"], said["operation"].partition("/1.0")[2]
    base = f"{trusted.base}{path}/websocket?secret="
    streams = {name: await trusted.http.ws_connect(base + secrets[name]) for name in "012"}
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await trusted.http.ws_connect(base + secrets["0"])
    await streams["0"].send_bytes(b"hello\n")
    assert await _all(streams["1"]) == b"got hello\n"
    assert await _all(streams["2"]) == b"no\n"
    done = await trusted.finish((202, said))
    assert done["metadata"] == {"return": 7}
    for stream in streams.values():
        await stream.close()
    await trusted.finish(await trusted.call("DELETE", "/instances/inside", {}))


async def _all(socket: aiohttp.ClientWebSocketResponse) -> bytes:
    found = b""
    async with asyncio.timeout(20):
        async for message in socket:
            found += message.data
    return found


async def test_each_port_answers_with_the_prefix_it_was_called_by(
    public: Client, trusted: Client
) -> None:
    for client, prefix in ((public, "/ams/1.0"), (trusted, "/1.0")):
        _, said = await client.call("GET", "/applications")
        assert all(path.startswith(f"{prefix}/applications/") for path in said["metadata"])


async def test_nodes_are_changed_by_who_saw_how_they_were(trusted: Client) -> None:
    async with trusted.http.get(f"{trusted.base}/nodes/local") as answer:
        etag = answer.headers["etag"]
    change = {"unschedulable": True}
    stale = {"if-match": '"another"'}
    status, said = await trusted.call("PATCH", "/nodes/local", change, headers=stale)
    assert (status, said["error_code"]) == (412, 412)
    await trusted.finish(
        await trusted.call("PATCH", "/nodes/local", change, headers={"if-match": etag})
    )
    refused = await trusted.finish(
        await trusted.call("POST", "/instances", {"app_id": "test-card"})
    )
    assert (refused["status"], refused["status_code"]) == ("failure", 400)
    assert refused["err"]
    await trusted.finish(await trusted.call("PATCH", "/nodes/local", {"unscheduable": False}))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/instances", {"app_id": "nothing"}, 404),
        ("POST", "/instances", {}, 400),
        ("POST", "/instances", {"app_id": "test-card", "type": "vm"}, 400),
        ("POST", "/instances", {"app_id": "test-card", "no_start": True}, 400),
        ("POST", "/instances", {"app_id": "test-card", "user_data": "x" * 10_241}, 400),
        ("GET", "/instances/nothing", None, 404),
        ("GET", "/operations/nothing", None, 404),
        ("GET", "/applications?limit=x", None, 400),
        ("PATCH", "/config", {"name": "nothing", "value": "1"}, 404),
        ("POST", "/certificates", {"certificate": "none"}, 400),
        ("PATCH", "/nodes/local", {"cpu-allocation-rate": "much"}, 400),
        ("PATCH", "/applications/test-card", {"tags": 7}, 400),
    ],
)
async def test_what_cannot_be_done_is_told_in_the_envelope(
    trusted: Client, method: str, path: str, body: Any, status: int
) -> None:
    found, said = await trusted.call(method, path, body)
    assert (found, said["type"], said["error_code"]) == (status, "error", status)
    assert said["error"]


async def test_S09_nobody_comes_in_without_a_certificate_or_token(
    platform: PlatformProcess, port: int, public: Client, tmp_path: Path
) -> None:
    server = platform.data / "ams" / "server.crt"
    base = f"https://127.0.0.1:{port}/1.0"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls(server, None))) as http:
        nobody = Client(http, base, {})
        _, said = await nobody.call("GET", "")
        assert said["metadata"]["auth"] == "untrusted"
        assert (await nobody.call("GET", "/instances"))[0] == 401
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{base}/events")
        assert refused.value.status == 401
        by_token = Client(http, base, public.headers)
        assert (await by_token.call("GET", "/instances"))[0] == 200
        async with http.get(f"https://127.0.0.1:{port}/v1/nodes") as answer:
            assert answer.status == 404  # nothing but the dialect is here
    import trustme

    stranger = tmp_path / "stranger.pem"
    authority = trustme.CA()
    authority.private_key_pem.write_to_path(stranger)
    authority.cert_pem.write_to_path(stranger, append=True)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls(server, stranger))
    ) as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(base)


async def test_a_certificate_that_is_distrusted_is_let_in_no_more(
    trusted: Client, public: Client
) -> None:
    assert (await trusted.call("GET", "/instances"))[0] == 200
    _, said = await public.call("GET", "/certificates")
    (path,) = said["metadata"]
    assert (await public.call("DELETE", path.partition("/1.0")[2]))[0] == 200
    assert (await trusted.call("GET", "/instances"))[0] == 401


async def test_A10_a_certificate_counts_as_long_as_the_token_that_had_it_trusted(
    platform: PlatformProcess, port: int, identity: tuple[Path, str], public: Client
) -> None:
    asked = {"name": "for a while", "scopes": ["operate", "instances:read"], "expires_in_s": 3600}
    made = platform.call("POST", "/v1/tokens", asked)
    assert made.status == 201, made.body
    by_it = Client(public.http, public.base, {"authorization": f"Bearer {made.body['token']}"})
    await public.call("DELETE", f"/certificates/{_fingerprint(identity[1])}")
    assert (await by_it.call("POST", "/certificates", {"certificate": identity[1]}))[0] == 200
    server = platform.data / "ams" / "server.crt"
    connector = aiohttp.TCPConnector(ssl=tls(server, identity[0]))
    async with aiohttp.ClientSession(connector=connector) as http:
        client = Client(http, f"https://127.0.0.1:{port}/1.0", {})
        assert (await client.call("GET", "/instances"))[0] == 200
        events = await http.ws_connect(f"{client.base}/events")
        told = await public.http.ws_connect(f"{public.base}/events", headers=by_it.headers)
        gone = platform.call("DELETE", f"/v1/tokens/{made.body['id']}")
        assert gone.status in (200, 204)
        async with asyncio.timeout(20):
            while (await client.call("GET", "/instances"))[0] != 401:
                await asyncio.sleep(0.1)
        # What was open stays open no longer.
        for followed in (events, told):
            async with asyncio.timeout(20):
                while (await followed.receive()).type is not aiohttp.WSMsgType.CLOSE:
                    pass
            assert followed.close_code == 1008
    await public.call("DELETE", f"/certificates/{_fingerprint(identity[1])}")


def _fingerprint(pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()
