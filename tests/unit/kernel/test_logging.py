"""No secret reaches a log, no line is forged, none grows without bound."""

from __future__ import annotations

import io
import json
import logging
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.logging import configure, get_logger, redact
from downstage.kernel.settings import Log

pytestmark = pytest.mark.unit

SECRET = "S3cr3tValue" + "x" * 30
JWT = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiJhbm5hIn0.c2lnbmF0dXJlLXRleHQ"
SDP = (
    "v=0\r\no=- 4611731 2 IN IP4 192.0.2.77\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"
    "c=IN IP4 192.0.2.77\r\na=ice-ufrag:abcd\r\na=ice-pwd:thepasswordofice\r\n"
    "a=candidate:1 1 udp 2113937151 192.0.2.77 50000 typ host\r\n"
)
SECRET_KEYS = [
    "token", "access_token", "password", "new_password", "client_secret", "Authorization",
    "cookie", "set_cookie", "credential", "sdp", "local_sdp", "ticket", "join_code",
]  # fmt: skip
words = st.text(alphabet=string.ascii_letters + " .,", max_size=60)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


def clean(**facts: Any) -> dict[str, Any]:
    return dict(redact(None, "info", {"event": "thing.happened", **facts}))


def written(*, as_json: bool = True, **facts: Any) -> str:
    out = io.StringIO()
    configure(Log(json_lines=as_json), stream=out)
    get_logger("test").info(facts.pop("event", "thing.happened"), **facts)
    return out.getvalue()


@given(key=st.sampled_from(SECRET_KEYS), depth=st.integers(0, 6), in_list=st.booleans())
def test_a_secret_key_is_dropped_at_any_depth(key: str, depth: int, in_list: bool) -> None:
    value: Any = {key: SECRET}
    for _ in range(depth):
        value = [value] if in_list else {"inner": value}
    assert SECRET not in repr(clean(facts=value, **{key: SECRET}))


@given(
    before=words,
    after=words,
    form=st.sampled_from(
        [
            "Bearer {}", "bearer {}", "ticket.{}", "https://h/x?token={}&a=1",
            "https://h/#join={}", "?accessToken={}", "access_token={}", '{{"password": "{}"}}',
            "{{'password': '{} {}'}}", "password={}", "Authorization: Basic {}",
            "authorization={}", 'headers={{"Authorization": "Bearer {}"}}', "ice-pwd:{}",
            "http://anna:{}@host/", '\\"secret\\": \\"{}\\"', "Cookie: {}",
        ]
    ),
)  # fmt: skip
def test_a_secret_inside_text_is_masked(before: str, after: str, form: str) -> None:
    text = before + " " + form.replace("{}", SECRET).replace("{{", "{").replace("}}", "}") + " "
    masked = clean(event=text + after, note=text + after, deep=[{"x": text + after}])
    assert SECRET not in repr(masked)


@given(before=words, cut=st.integers(0, 300))
def test_a_token_that_the_cut_halves_is_masked_too(before: str, cut: int) -> None:
    shown = clean(note="x" * cut + " " + before + " " + JWT)["note"]
    assert "eyJhbGciOi" not in shown
    assert "YW5uY" not in shown


@given(st.text(max_size=100), st.sampled_from(["event", "note", "error"]))
def test_session_descriptions_and_addresses_vanish(text: str, key: str) -> None:
    for form in (SDP, json.dumps(SDP)):
        shown = repr(clean(**{key: text + form}))
        assert "192.0.2.77" not in shown
        assert "thepasswordofice" not in shown


@given(st.text(max_size=2000))
def test_text_is_one_short_line_without_control_characters(text: str) -> None:
    shown = clean(note=text)["note"]
    assert len(shown) <= 257 * 10  # an escape is at most ten characters long
    assert shown.isprintable() or not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    shown.encode()


@given(st.text(max_size=300))
def test_the_console_writes_one_line_for_one_event(text: str) -> None:
    out = written(as_json=False, event=text + "\n\x1b[31mforged", user=text + "\r\nforged")
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert "\r" not in out


def test_long_text_is_cut_at_256() -> None:
    assert clean(user="u" * 10_000_000)["user"] == "u" * 256 + "…"
    assert clean(user="u" * 256)["user"] == "u" * 256


def test_containers_are_bounded() -> None:
    deep: Any = "end"
    for _ in range(10_000):
        deep = [deep]
    shown = clean(many=list(range(100_000)), deep=deep, keys={f"k{i}": i for i in range(1000)})
    assert len(shown["many"]) == 32
    assert len(shown["keys"]) == 32
    assert len(repr(shown)) < 2048


def test_unknown_objects_are_cleaned_as_text() -> None:
    class Request:
        def __repr__(self) -> str:
            return f"<Request Authorization: Bearer {SECRET}>"

    shown = clean(a=Request(), b=ValueError(f"token={SECRET}"), c=Path("/x"), d=b"abc")
    assert SECRET not in repr(shown)
    assert shown["c"] == "/x"
    assert shown["d"] == "<3 bytes>"


def test_plain_facts_stay() -> None:
    facts = {"exit_code": 3, "status_code": 200, "seats": 2, "is_ready": True, "why": None}
    assert clean(**facts, deep={"code": "capacity"}) == {
        "event": "thing.happened", **facts, "deep": {"code": "capacity"}
    }  # fmt: skip


def test_json_lines_are_json_with_bound_facts() -> None:
    with structlog.contextvars.bound_contextvars(session="s1"):
        line = json.loads(written(user="anna"))
    assert (line["event"], line["user"], line["session"]) == ("thing.happened", "anna", "s1")
    assert {"level", "timestamp"} <= line.keys()


@pytest.mark.parametrize("as_json", [True, False])
def test_an_exception_is_shown_without_its_secrets(as_json: bool) -> None:
    out = io.StringIO()
    configure(Log(json_lines=as_json), stream=out)
    try:
        int(f"password={SECRET} \x1b[31m {JWT}")
    except ValueError:
        get_logger("test").exception("task.crashed")
        logging.getLogger("other").exception("failed with Bearer %s", SECRET)
    shown = out.getvalue()
    assert shown.count("Traceback") == 2
    for secret in (SECRET, JWT, "\x1b"):
        assert secret not in shown


def test_the_level_holds_and_noise_is_kept_down() -> None:
    out = io.StringIO()
    configure(Log(level="warning", json_lines=True), stream=out)
    get_logger("test").info("thing.happened")
    logging.getLogger("uvicorn.access").info("GET /?token=abc")
    get_logger("test").warning("thing.failed")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["thing.failed"]


def test_S10_nothing_private_reaches_the_log() -> None:
    out = written(
        offer=SDP, event=f"offer {SDP}", candidate="candidate:1 1 udp 1 192.0.2.77 5 typ host",
        token=JWT, note=f"from {JWT}", clipboard_secret="pasted", headers={"cookie": SECRET},
        url=f"/v1/sessions/1/signalling?ticket={SECRET}",
    )  # fmt: skip
    for private in ("192.0.2.77", JWT, "pasted", SECRET, "thepasswordofice"):
        assert private not in out
