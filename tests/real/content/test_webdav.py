"""WebDAV as real clients speak it: rclone, cadaver, opendal, and by hand."""

from __future__ import annotations

import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.real

LOCKINFO = (
    '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:{}/></D:lockscope>'
    "<D:locktype><D:write/></D:locktype><D:owner>me</D:owner></D:lockinfo>"
)


def plant(folder: Path) -> Path:
    """A small tree with names that need care, and one file that is no longer small."""
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sp ace").mkdir()
    (folder / "sub" / "one").write_bytes(b"1" * 3000)
    (folder / "sub" / "two").write_bytes(b"")
    (folder / "sub" / "deep" / "big").write_bytes(bytes(range(256)) * 8192)
    (folder / "sp ace" / "ü+%&#;.txt").write_text("hi")
    return folder


@pytest.mark.parametrize("remote", ["dav", "s3"])
def test_rclone_copies_compares_moves_and_deletes(
    rclone: Any, fresh: str, tmp_path: Path, remote: str
) -> None:
    there = f"{remote}:{fresh}"
    tree = plant(tmp_path / "tree")
    rclone("copy", str(tree), f"{there}/t", "--s3-upload-cutoff=0", "--s3-chunk-size=5M")
    rclone("check", "--download", str(tree), f"{there}/t")
    names = {"sp ace/ü+%&#;.txt", "sub/one", "sub/two", "sub/deep/big"}
    assert set(rclone("lsf", "-R", "--files-only", f"{there}/t").splitlines()) == names
    rclone("sync", str(tree / "sub"), f"{there}/t")
    rclone("moveto", f"{there}/t/one", f"{there}/u/uno")
    found = set(rclone("lsf", "-R", "--files-only", there).splitlines())
    assert found == {"t/two", "t/deep/big", "u/uno"}
    rclone("copy", f"{there}/t/deep/big", str(tmp_path / "back"))
    whole = (tree / "sub" / "deep" / "big").read_bytes()
    assert (tmp_path / "back" / "big").read_bytes() == whole
    rclone("deletefile", f"{there}/t/two")
    rclone("purge", there)
    assert f"{fresh}/" not in rclone("lsf", f"{remote}:").splitlines()


def test_cadaver_works_in_a_folder(served: Any, fresh: str, tmp_path: Path) -> None:
    key, secret = served.keys["alice"]
    with served.http() as client:
        client.request("MKCOL", f"/dav/{fresh}")
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login {key} password {secret}\n")
    (tmp_path / ".netrc").chmod(0o600)
    (tmp_path / "here").write_text("from here")
    script = [
        "mkcol inner", "put here inner/there", "copy inner/there second", "lock second",
        "unlock second", "move second third", "propset third colour red", "get third back",
        "delete inner/there", "ls", "quit",
    ]  # fmt: skip
    done = subprocess.run(
        ["cadaver", f"{served.dav}/{fresh}/"],
        input="\n".join(script) + "\n",
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (tmp_path / "back").read_text() == "from here", done.stdout
    assert done.stdout.count("succeeded") >= 8, done.stdout
    assert "failed" not in done.stdout, done.stdout
    assert re.search(r"third\s+9\s", done.stdout), done.stdout
    with served.http() as client:
        assert client.get(f"/dav/{fresh}/inner/there").status_code == 404


@pytest.mark.parametrize(
    ("range_", "status", "body"),
    [
        ("bytes=0-0", 206, b"0"),
        ("bytes=9-9", 206, b"9"),
        ("bytes=4-", 206, b"456789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=-100", 206, b"0123456789"),
        ("bytes=5-100", 206, b"56789"),
        ("bytes=10-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=3-1", 200, b"0123456789"),
        ("lines=1-2", 200, b"0123456789"),
        ("bytes=" + ",".join(["0-1"] * 900), 416, None),
    ],
)
def test_T01_one_range_or_none(folder: Any, range_: str, status: int, body: bytes | None) -> None:
    client, base = folder
    client.put(f"{base}/f", content=b"0123456789")
    answer = client.get(f"{base}/f", headers={"range": range_})
    assert answer.status_code == status
    if body is not None:
        assert answer.content == body
    else:
        assert answer.headers["content-range"] == "bytes */10"


def test_if_range_and_conditions_of_reading(folder: Any) -> None:
    client, base = folder
    etag = client.put(f"{base}/f", content=b"0123").headers["etag"]
    read = client.get(f"{base}/f", headers={"range": "bytes=1-2", "if-range": etag})
    assert (read.status_code, read.content) == (206, b"12")
    read = client.get(f"{base}/f", headers={"range": "bytes=1-2", "if-range": '"x"'})
    assert (read.status_code, read.content) == (200, b"0123")
    assert client.get(f"{base}/f", headers={"if-none-match": etag}).status_code == 304
    assert client.get(f"{base}/f", headers={"if-match": '"x"'}).status_code == 412
    since = {"if-modified-since": read.headers["last-modified"]}
    assert client.get(f"{base}/f", headers=since).status_code == 304


def test_C04_what_users_store_is_never_run(folder: Any) -> None:
    client, base = folder
    client.put(f"{base}/x.html", content=b"<script>alert(1)</script>")
    headers = client.get(f"{base}/x.html").headers
    assert headers["content-disposition"] == "attachment"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("sandbox")


def test_C07_a_stale_writer_changes_nothing(folder: Any) -> None:
    client, base = folder
    first = client.put(f"{base}/f", content=b"1", headers={"if-none-match": "*"})
    assert first.status_code == 201
    assert client.put(f"{base}/f", content=b"2", headers={"if-none-match": "*"}).status_code == 412
    etag = first.headers["etag"]
    assert client.put(f"{base}/f", content=b"2", headers={"if-match": etag}).status_code == 204
    for stale in ({"if-match": etag}, {"if": f"([{etag}])"}):
        assert client.put(f"{base}/f", content=b"3", headers=stale).status_code == 412
        assert client.request("DELETE", f"{base}/f", headers=stale).status_code == 412
        for method in ("COPY", "MOVE"):
            away = {**stale, "destination": f"{base}/g"}
            assert client.request(method, f"{base}/f", headers=away).status_code == 412
    assert client.get(f"{base}/g").status_code == 404
    assert client.get(f"{base}/f").content == b"2"


@pytest.mark.parametrize("form", ["if-match", "if"])
def test_C07_of_writers_who_know_the_same_etag_one_writes(folder: Any, form: str) -> None:
    client, base = folder

    def write(number: int) -> int:
        body = b"%d" % number * 9
        return client.put(f"{base}/f", content=body, headers={form: told}).status_code

    for number in range(5):
        etag = client.put(f"{base}/f", content=b"%d" % number).headers["etag"]
        told = etag if form == "if-match" else f"([{etag}])"
        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(write, range(4))) == [204, 412, 412, 412]


def lock(client: Any, path: str, scope: str = "exclusive", **headers: str) -> Any:
    return client.request("LOCK", path, content=LOCKINFO.format(scope), headers=headers)


def token_of(answer: Any) -> str:
    return answer.headers["lock-token"].strip("<>")


def test_C07_a_dav_lock_binds_every_dialect(served: Any, folder: Any, s3: Any, fresh: str) -> None:
    client, base = folder
    client.put(f"{base}/f", content=b"1")
    held = lock(client, f"{base}/f")
    token = token_of(held)
    native = f"/v1/files/{fresh}/f"
    bearer = {"authorization": f"Bearer {served.tokens['alice']}"}
    assert client.put(f"{base}/f", content=b"2").status_code == 423
    refused = client.put(native, content=b"2", headers=bearer, auth=None)
    assert refused.status_code == 423, refused.text
    with pytest.raises(s3.exceptions.ClientError) as error:
        s3.put_object(Bucket=fresh, Key="f", Body=b"2")
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 423
    allowed = client.put(f"{base}/f", content=b"2", headers={"if": f"(<{token}>)"})
    assert allowed.status_code == 204
    freed = client.request("UNLOCK", f"{base}/f", headers={"lock-token": f"<{token}>"})
    assert freed.status_code == 204
    s3.put_object(Bucket=fresh, Key="f", Body=b"3")


def test_C07_somebody_elses_token_opens_nothing(served: Any, folder: Any) -> None:
    client, base = folder
    client.put(f"{base}/f", content=b"1")
    token = token_of(lock(client, f"{base}/f"))
    with served.http("bob") as bob:
        shown = {"if": f"(<{token}>)"}
        assert bob.put(f"{base}/f", content=b"2", headers=shown).status_code == 423
        freed = bob.request("UNLOCK", f"{base}/f", headers={"lock-token": f"<{token}>"})
        assert freed.status_code == 403
        assert lock(bob, f"{base}/f").status_code == 423


def test_two_locks_are_shown_to_move_from_one_to_the_other(folder: Any) -> None:
    client, base = folder
    client.put(f"{base}/a", content=b"a")
    client.put(f"{base}/b", content=b"b")
    first, second = token_of(lock(client, f"{base}/a")), token_of(lock(client, f"{base}/b"))
    to = {"destination": f"{base}/b"}
    one = {**to, "if": f"<{base}/a> (<{first}>)"}
    assert client.request("MOVE", f"{base}/a", headers=one).status_code == 423
    both = {**to, "if": f"<{base}/a> (<{first}>) <{base}/b> (<{second}>)"}
    assert client.request("MOVE", f"{base}/a", headers=both).status_code == 204
    assert client.get(f"{base}/b").content == b"a"
    assert client.put(f"{base}/b", content=b"free").status_code == 204


def test_a_shared_lock_lasts_as_long_as_one_who_shares_it(folder: Any) -> None:
    client, base = folder
    client.put(f"{base}/f", content=b"1")
    first = token_of(lock(client, f"{base}/f", "shared"))
    second = token_of(lock(client, f"{base}/f", "shared"))
    assert first != second
    assert lock(client, f"{base}/f").status_code == 423
    client.request("UNLOCK", f"{base}/f", headers={"lock-token": f"<{first}>"})
    assert client.put(f"{base}/f", content=b"2").status_code == 423
    gone = client.put(f"{base}/f", content=b"2", headers={"if": f"(<{first}>)"})
    assert gone.status_code == 412
    mine = client.put(f"{base}/f", content=b"2", headers={"if": f"(<{second}>)"})
    assert mine.status_code == 204
    client.request("UNLOCK", f"{base}/f", headers={"lock-token": f"<{second}>"})
    assert client.put(f"{base}/f", content=b"3").status_code == 204


def test_copy_over_a_folder_replaces_it(folder: Any) -> None:
    client, base = folder
    for name in ("a", "b"):
        client.request("MKCOL", f"{base}/{name}")
        client.put(f"{base}/{name}/of-{name}", content=b"x")
    to = {"destination": f"{base}/b"}
    kept = client.request("COPY", f"{base}/a", headers={**to, "overwrite": "F"})
    assert kept.status_code == 412
    assert client.request("COPY", f"{base}/a", headers=to).status_code == 204
    assert client.get(f"{base}/b/of-a").status_code == 200
    assert client.get(f"{base}/b/of-b").status_code == 404
    shallow = {"destination": f"{base}/c", "depth": "0"}
    assert client.request("COPY", f"{base}/a", headers=shallow).status_code == 201
    assert client.get(f"{base}/c/of-a").status_code == 404
    into = {"destination": f"{base}/a/inner"}
    assert client.request("COPY", f"{base}/a", headers=into).status_code == 403
    nowhere = {"destination": f"{base}/none/c"}
    assert client.request("MOVE", f"{base}/a", headers=nowhere).status_code == 409


def test_an_answer_before_the_body_ends_the_connection(served: Any, fresh: str) -> None:
    """Who waits to be asked for a body never sends it after a refusal: T07, smuggling."""
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
        sock.sendall(
            f"PUT /dav/{fresh}/f HTTP/1.1\r\nHost: {address.netloc}\r\n"
            "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n".encode()
        )
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()
