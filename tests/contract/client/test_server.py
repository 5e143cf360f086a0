"""Our content service: what no other kind of place has, and what happens when it is not there."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from downstage import client
from downstage.client import AccessFlags, ChannelEvent, ConnectionStatus, ListEvent, Result
from downstage.client.client import Client, default_client
from downstage.client.operations import versions, writing
from downstage.kernel import errors

from .conftest import Served
from .kinds import Kind, place_of

pytestmark = pytest.mark.contract

WAIT_S = 20.0


class Heard:
    """Collects what callbacks get, and waits for something among it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._changed = threading.Condition()

    def __call__(self, *values: Any) -> None:
        with self._changed:
            self.calls.append(values)
            self._changed.notify_all()

    def wait(self, fits: Callable[[tuple[Any, ...]], bool]) -> tuple[Any, ...]:
        def found() -> tuple[Any, ...] | None:
            return next((values for values in self.calls if fits(values)), None)

        with self._changed:
            values = self._changed.wait_for(found, WAIT_S)
            assert values is not None, self.calls
            return values

    def event(self, event: ListEvent, name: str) -> client.ListEntry:
        return self.wait(lambda v: v[1] is event and v[2].relative_path == name)[2]


@pytest.fixture
def place(served: Served, tmp_path: Path, fresh: None) -> Iterator[Kind]:
    del fresh
    token = served.server.token("alice")
    with (
        client.register_authorize_callback(lambda _: token),
        place_of("omniverse", served, tmp_path) as found,
    ):
        yield found


@pytest.fixture
def bob(served: Served, place: Kind, tmp_path: Path) -> Iterator[Client]:
    """Another client, of another person."""
    del place
    other = Client()
    other.options.cache_folder = tmp_path / "bobs"
    token = served.server.token("bob")
    with other.callbacks.authorize.add(lambda _: token):
        yield other
    other.close()


def test_watching_a_folder(place: Kind) -> None:
    first, heard = Heard(), Heard()
    with client.list_subscribe_with_callback(place.folder, first, heard):
        assert first.wait(lambda v: True) == (Result.OK, ())
        assert client.write_file(place.at("a"), b"1") is Result.OK
        assert heard.event(ListEvent.CREATED, "a").size == 1
        assert client.write_file(place.at("a"), b"22") is Result.OK
        assert heard.event(ListEvent.UPDATED, "a").size == 2
        assert client.move(place.at("a"), place.at("b"))[0] is Result.OK
        heard.event(ListEvent.DELETED, "a")
        assert heard.event(ListEvent.CREATED, "b").url == place.at("b")
        assert client.delete(place.at("b")) is Result.OK
        heard.event(ListEvent.DELETED, "b")
    count = len(heard.calls)
    assert client.write_file(place.at("c"), b"1") is Result.OK
    assert client.stat(place.at("c"))[0] is Result.OK
    assert len(heard.calls) == count


def test_watching_what_is_not_there_yet(place: Kind) -> None:
    first, heard = Heard(), Heard()
    with client.stat_subscribe_with_callback(place.at("in/later"), first, heard):
        assert first.wait(lambda v: True)[0] is Result.OK_NOT_YET_FOUND
        for turn in (b"1", b"22"):
            assert client.write_file(place.at("in/later"), turn) is Result.OK
            heard.wait(lambda v: v[1] is ListEvent.CREATED)
            assert client.delete(place.at("in")) is Result.OK
            heard.wait(lambda v: v[1] is ListEvent.DELETED)
            heard.calls.clear()


def test_watching_goes_on_after_a_broken_connection(place: Kind, bob: Client) -> None:
    """What happened while there was none is told too."""
    first, heard = Heard(), Heard()
    with client.list_subscribe_with_callback(place.folder, first, heard):
        first.wait(lambda v: True)

        async def cut(the_client: Client) -> None:
            provider: Any = await the_client.provider(the_client.place(place.folder))
            await (await provider.connection()).close()

        default_client().run(cut)
        bob.run(writing.write_file, place.at("meanwhile"), b"1")
        heard.event(ListEvent.CREATED, "meanwhile")
        bob.run(writing.write_file, place.at("later"), b"1")
        heard.event(ListEvent.CREATED, "later")


def test_watching_what_may_no_longer_be_seen(place: Kind, bob: Client) -> None:
    del bob
    assert client.create_folder(place.at("d")) is Result.OK
    first, heard = Heard(), Heard()
    with client.list_subscribe_with_callback(place.at("d"), first, heard):
        first.wait(lambda v: True)
        assert client.delete(place.at("d")) is Result.OK
        heard.wait(lambda v: v[0] is Result.ERROR_ACCESS_LOST)


def test_locks_keep_others_out(place: Kind, bob: Client) -> None:
    url = place.at("a.txt")
    assert client.write_file(url, b"1") is Result.OK
    assert client.lock(url) is Result.OK
    assert client.stat(url)[1].locked_by == "alice"
    with pytest.raises(errors.Locked):
        bob.run(writing.write_file, url, b"2")
    assert client.write_file(url, b"3") is Result.OK
    assert client.unlock(url) is Result.OK
    bob.run(writing.write_file, url, b"4")


def test_locks_outlive_a_broken_connection_but_not_their_client(place: Kind, bob: Client) -> None:
    url = place.at("a.txt")
    bob.run(writing.write_file, url, b"1")
    bob.run(versions.lock, url)

    async def cut(other: Client) -> None:
        provider: Any = await other.provider(other.place(url))
        await (await provider.connection()).close()

    bob.run(cut)
    time.sleep(2.5)  # longer than the grace of the settings
    assert client.write_file(url, b"2") is Result.ERROR_LOCKED
    bob.close()
    deadline = time.monotonic() + WAIT_S
    while client.write_file(url, b"2") is Result.ERROR_LOCKED:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert client.write_file(url, b"2") is Result.OK


def test_rights(place: Kind, bob: Client, served: Served) -> None:
    url = place.at("secret.txt")
    assert client.write_file(url, b"1") is Result.OK
    subject = served.do(served.server.caller("bob")).subject
    denied = client.AclEntry(f"user:{subject}", AccessFlags(0), AccessFlags.WRITE)
    assert client.set_acls(url, [denied]) is Result.OK
    result, found = client.get_acls(url)
    assert (result, found) == (Result.OK, (denied,))
    with pytest.raises(errors.Forbidden):
        bob.run(writing.write_file, url, b"2")


def test_channels(place: Kind, bob: Client) -> None:
    url, heard, other = place.at("talk.channel"), Heard(), Heard()
    del bob
    first = client.join_channel_with_callback(url, heard)
    assert client.send_message(first.id, b"to nobody") is Result.OK
    second = client.join_channel_with_callback(url, other)
    other.wait(lambda v: v[1] is ChannelEvent.HELLO)
    heard.wait(lambda v: v[1] is ChannelEvent.JOIN)
    assert client.send_message(first.id, b"good day") is Result.OK
    said = other.wait(lambda v: v[1] is ChannelEvent.MESSAGE)
    assert (said[0], bytes(said[3])) == (Result.OK, b"good day")
    second.stop()
    heard.wait(lambda v: v[1] is ChannelEvent.LEFT)
    assert client.send_message(second.id, b"?") is Result.ERROR_NOT_FOUND
    first.stop()


def test_signing_out_lets_whoever_waits_go(place: Kind) -> None:
    statuses = Heard()
    ended, waiting = Heard(), threading.Event()
    with client.register_connection_status_callback(statuses):

        async def wait(_: Any) -> None:
            the_client = default_client()
            provider: Any = await the_client.provider(the_client.place(place.folder))
            connection = await provider.connection()
            async with connection.opened("subscribe", "/", "node") as stream:
                waiting.set()
                async for _ in stream:
                    pass

        default_client().start(wait, ended)
        assert waiting.wait(WAIT_S)
        client.sign_out(place.folder)
        error = ended.wait(lambda v: True)[0]
        assert isinstance(error, errors.Unavailable)
        statuses.wait(lambda v: v[1] is ConnectionStatus.SIGNED_OUT)
        assert client.stat(place.folder)[0] is Result.OK
        client.reconnect(place.folder)
        statuses.wait(lambda v: v[1] is ConnectionStatus.CONNECTED)
    client.sign_out("file:///nobody")


def test_tokens_that_do_not_count(served: Served, fresh: None) -> None:
    del fresh
    url, asked = f"omniverse://{served.authority}", list[str]()
    statuses = Heard()

    def answer(prefix: str) -> str:
        asked.append(prefix)
        return served.server.token("alice") if len(asked) > 1 else "no token at all"

    with (
        client.register_connection_status_callback(statuses),
        client.register_authorize_callback(answer),
    ):
        assert client.stat(url)[0] is Result.OK
        assert asked == [url, url]
        client.refresh_auth_token(url)
    client.sign_out(url)
    assert client.stat(url)[0] is Result.ERROR_ACCESS_DENIED
    client.sign_out(url)
    with client.register_authorize_callback(lambda _: True):
        assert client.stat(url)[0] is Result.ERROR_ACCESS_DENIED
    with client.register_authorize_callback(lambda _: ("alice", "wrong")):
        assert client.stat(url)[0] is Result.ERROR_ACCESS_DENIED


def test_credentials_from_the_environment(
    served: Served, fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del fresh
    url = f"omniverse://{served.authority}"
    file = tmp_path / "token"
    file.write_text(served.server.token("alice") + "\n")
    monkeypatch.setenv("DOWNSTAGE_TOKEN_FILE", str(file))
    said = list[str]()
    client.set_log_callback(lambda _thread, _part, _level, text: said.append(text))
    assert client.stat(url)[0] is Result.ERROR_ACCESS_DENIED
    assert any("credentials_withheld" in text for text in said)
    monkeypatch.setenv("DOWNSTAGE_CONTENT_HOST", served.authority)
    client.sign_out(url)
    assert client.get_server_info(url)[1].username == "alice"
    monkeypatch.delenv("DOWNSTAGE_TOKEN_FILE")
    monkeypatch.setenv("OMNI_USER", "$omni-api-token")
    monkeypatch.setenv("OMNI_PASS", served.server.token("bob"))
    client.sign_out(url)
    assert client.get_server_info(url)[1].username == "bob"
    client.set_log_callback(None)


def test_A16_secrets_are_not_logged(served: Served, fresh: None, capfd: Any) -> None:
    del fresh
    url, said = f"omniverse://{served.authority}", list[str]()
    secrets = [served.server.token("alice"), "geheimes-wort", served.key[1]]
    client.set_log_level(client.LogLevel.DEBUG)
    client.set_log_callback(lambda _thread, _part, _level, text: said.append(text))
    client.set_http_header("X-Api-Key", secrets[1])
    client.set_s3_configuration(
        "s3://*", access_key_id="k", secret_access_key=secrets[2], endpoint="http://127.0.0.1:9"
    )
    with client.register_authorize_callback(lambda _: secrets[0]):
        client.stat(url)
        client.stat(f"omniverse://u:{secrets[1]}@{served.authority}/x")
        client.stat(f"http://u:{secrets[1]}@127.0.0.1:9/x?token={secrets[1]}")
        client.stat("s3://b/x")
        client.sign_out(url)
    with client.register_authorize_callback(lambda _: ("alice", secrets[1])):
        client.stat(url)
    client.set_http_header("X-Api-Key", "")
    client.set_log_level(client.LogLevel.WARNING)
    client.set_log_callback(None)
    assert len(said) > 3
    captured = capfd.readouterr()
    everything = "\n".join([*said, captured.out, captured.err])
    assert [secret for secret in secrets if secret in everything] == []


def test_copies_are_kept_and_checked(place: Kind, tmp_path: Path) -> None:
    url, data = place.at("big.bin"), bytes(range(256)) * 8192
    assert client.write_file(url, data) is Result.OK
    assert client.read_file(url)[2] == data
    (copy,) = (tmp_path / "cache").glob("??/*")
    before = copy.stat()
    assert client.read_file(url)[2] == data
    assert copy.stat().st_ctime_ns >= before.st_ctime_ns
    copy.chmod(0o600)
    copy.write_bytes(b"x" + data[1:])
    assert client.read_file(url)[2] == data
    assert copy.read_bytes() == data
    assert client.get_local_file(url) == (Result.OK, str(copy))


def test_a_large_upload_goes_on_where_it_broke(
    place: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    from downstage.client.providers import bulk

    monkeypatch.setattr(bulk, "RESUMABLE", 1)
    whole, cut = bulk._told, list[int]()

    async def told(pieces: Any, total: int, progress: Any) -> Any:
        sent = 0
        async for piece in whole(pieces, total, progress):
            yield piece
            sent += len(piece)
            if not cut and sent > total // 2:
                cut.append(sent)
                raise errors.Unavailable("cut")

    monkeypatch.setattr(bulk, "_told", told)
    data = uuid4().bytes * 200_000
    result, info = client.write_file_ex(place.at("big"), data, message="whole")
    assert (result, len(cut)) == (Result.OK, 1)
    assert client.read_file(place.at("big"))[1:] == (info.version, data)
    assert client.list_checkpoints(place.at("big"))[1][0].comment == "whole"


def test_C01_names_that_lead_elsewhere(place: Kind, tmp_path: Path) -> None:
    """Names out of a listing are joined, never combined."""
    for name in ("//h", "a:b", "../up", "..%2fup", "%2e%2e", "a\\b", "x\n"):
        url = client.join(place.folder, name)
        result = client.write_file(url, b"1")
        assert result in {Result.OK, Result.ERROR_BAD_REQUEST}, name
    assert client.list(place.folder)[0] is Result.OK
    names = {
        entry.relative_path for entry in client.list(client.combine_urls(place.folder, "."))[1]
    }
    assert not names & {"up", "h"}
    base = client.make_file_url(str(tmp_path / "in"))
    assert client.write_file(f"{base}/../../etc-passwd", b"x") is Result.OK
    assert (tmp_path.parent / "etc-passwd").exists()  # an address says where; names cannot
    (tmp_path.parent / "etc-passwd").unlink()


def test_what_is_given_up_while_it_opens_is_closed_at_the_server(place: Kind) -> None:
    """Otherwise it would push for ever what nobody reads."""
    entered = threading.Event()

    async def work(_: Any) -> int:
        the_client = default_client()
        provider: Any = await the_client.provider(the_client.place(place.folder))
        connection = await provider.connection()
        path = provider.path(the_client.place(place.folder))
        for _turn in range(3):
            opening = asyncio.ensure_future(_open(connection, path))
            await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait([opening])
        posted = list[tuple[int, str, Any]]()
        whole = connection._call

        async def held(number: int, op: str, args: Any) -> Any:
            posted.append((number, op, args))
            entered.set()
            return await whole(number, op, args)

        connection._call = held
        before = connection._last_id
        opening = asyncio.ensure_future(_open(connection, path))
        await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        connection._call = whole
        assert posted[0][:2] == (before + 1, "subscribe")
        assert connection._last_id == before + 2  # the close
        assert connection._streams == {}
        assert await connection.request("ping", returns=Any) is not ...
        return len(connection._answers)

    assert default_client().run(work) == 0
    assert entered.is_set()


async def _open(connection: Any, path: str) -> None:
    async with connection.opened("subscribe", path, "node") as stream:
        await anext(stream)


def test_an_answer_that_is_none_ends_the_connection(place: Kind) -> None:
    """Its reader must not end alone: whoever waits would wait for ever."""
    from downstage.client.providers import connection as connections

    async def work(_: Any) -> None:
        the_client = default_client()
        provider: Any = await the_client.provider(the_client.place(place.folder))
        connection = await provider.connection()

        def wrong(*_: Any) -> Any:
            raise KeyError("something nobody thought of")

        connection._take = wrong
        await connection.request("ping")

    with pytest.raises(errors.Unavailable):
        default_client().run(work)
    assert client.stat(place.folder)[0] is Result.OK
    stream = connections.Stream(1, None)
    stream.end(errors.Unavailable("lost"))
    stream.push("event", Any)  # pyright: ignore[reportArgumentType]
    with pytest.raises(errors.Unavailable):
        asyncio.run(anext(stream))  # pyright: ignore[reportArgumentType]


def test_C01_names_that_are_no_utf8_stay_here(place: Kind, tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / name).write_bytes(b"1")
    assert client.copy(str(tmp_path / "d"), place.at("up")) is Result.ERROR_BAD_REQUEST
    assert client.write_file(client.join(place.folder, name), b"1") is Result.ERROR_BAD_REQUEST
