"""The first start, a demo's start, and what may never lie about in clear."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import structlog

from downstage.kernel.errors import SetupError
from downstage.kernel.logging import redact

pytestmark = [pytest.mark.real, pytest.mark.anyio]

PASSWORD = "correct horse battery"


async def test_the_first_starts_code_makes_one_administrator(house: Any, refused: Any) -> None:
    code = await house.identity.setup_code()
    setup = house.client().v1.auth.setup
    await refused(setup.post(code="x" * 32, username="root", password=PASSWORD), 401)
    await refused(setup.post(code=code, username="../x", password=PASSWORD), 422)
    answer = await setup.post(code=code, username="root", password=PASSWORD)
    me = await house.client(answer["token"]).v1.auth.me.get()
    assert "users:write" in me["scopes"]
    await refused(setup.post(code=code, username="eve", password=PASSWORD), 401)
    assert await house.identity.setup_code() is None


async def test_a_code_is_good_for_a_day_and_until_the_next(house: Any, refused: Any) -> None:
    setup = house.client().v1.auth.setup
    first, second = [await house.identity.setup_code() for _ in range(2)]
    await refused(setup.post(code=first, username="root", password=PASSWORD), 401)
    house.clock.advance(24 * 3600)
    await refused(setup.post(code=second, username="root", password=PASSWORD), 401)


async def test_a_code_is_worthless_once_there_is_an_administrator(house: Any, refused: Any) -> None:
    code = await house.identity.setup_code()
    await house.add("root", "admins")
    setup = house.client().v1.auth.setup
    await refused(setup.post(code=code, username="eve", password=PASSWORD), 401)


async def test_A13_set_up_codes_cannot_be_guessed_at_leisure(start: Any, refused: Any) -> None:
    async with start(identity__login_attempts=3) as house:
        setup = house.client().v1.auth.setup
        for n in range(3):
            await refused(setup.post(code=f"guess-{n}", username="eve", password=PASSWORD), 401)
        error = await refused(setup.post(code="x", username="eve", password=PASSWORD), 429)
        assert int(error.headers["retry-after"]) > 0


async def test_a_demo_keeps_its_user_and_password(start: Any) -> None:
    async with start(platform__demo=True) as house:
        first = await house.identity.demo_credentials()
        me = await (await house.sign_in(*first)).v1.auth.me.get()
        assert (me["subject"], me["name"]) == ("demo", "demo")
        assert "users:write" not in me["scopes"]
        assert await house.identity.setup_code() is None
    async with start(platform__demo=True) as house:
        assert await house.identity.demo_credentials() == first


async def test_two_demos_have_different_passwords(start: Any, data: Path) -> None:
    passwords = set[str]()
    for folder in ("a", "b"):
        async with start(platform__demo=True, platform__data=data / folder) as house:
            passwords.add((await house.identity.demo_credentials())[1])
    assert len(passwords) == 2


async def test_a_demo_folder_never_becomes_a_real_one(start: Any, data: Path) -> None:
    async with start(platform__demo=True):
        assert (data / "demo").exists()
    with pytest.raises(SetupError, match="belongs to a demo"):
        await started(start)
    (data / "demo").unlink()
    with pytest.raises(SetupError, match="demo"):
        await started(start)


async def test_a_real_folder_never_becomes_a_demo(start: Any, data: Path) -> None:
    async with start():
        pass
    with pytest.raises(SetupError, match="real installation"):
        await started(start, platform__demo=True)
    assert not (data / "demo").exists()
    (data / "demo").touch()
    with pytest.raises(SetupError, match="real"):
        await started(start, platform__demo=True)


async def started(start: Any, **settings: Any) -> None:
    """Start and stop; what went wrong is raised as itself, not in a group."""
    try:
        async with start(**settings):
            pass
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            (error,) = error.exceptions
        raise error from None


async def test_A16_no_secret_lies_in_the_data_folder(start: Any, data: Path) -> None:
    secrets = {"password": PASSWORD}
    async with start(platform__demo=True) as house:
        secrets["demo"] = (await house.identity.demo_credentials())[1]
        secrets["boot"] = house.boot_secret
        await house.add("ada")
        login = await house.client().v1.auth.login.post(username="ada", password=PASSWORD)
        secrets["sign-in"] = login["token"]
        ada, gateway = house.client(login["token"]), await house.service()
        secrets["api"] = (await ada.v1.tokens.post(name="ci"))["token"]
        ticket = await gateway.v1.tickets.post(use="join", subject="ada", session_id="s", ttl_s=60)
        secrets["ticket"] = ticket["ticket"]
        await gateway.v1.tickets.redeem.post(ticket=ticket["ticket"], use="join", session_id="s")
        instance = await gateway.v1.instance_tokens.post(
            instance_id="i", session_id="s", tenant="main", ttl_s=60
        )
        secrets["instance"] = instance["token"]
        keys = house.identity.service.keys
        secrets["private key"] = keys._signer._key.as_dict(private=True)["d"]
        assert_clean(data, secrets)  # while it runs: the write-ahead log too
    assert_clean(data, secrets)


def assert_clean(data: Path, secrets: dict[str, str]) -> None:
    files = [path for path in data.rglob("*") if path.is_file()]
    assert any(path.name == "identity.db" for path in files)
    for path in files:
        content = path.read_bytes()
        found = [name for name, secret in secrets.items() if secret.encode() in content]
        assert not found, (path.name, found)
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name


async def test_A16_S10_no_secret_reaches_the_log_or_an_error(
    start: Any, refused: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with structlog.testing.capture_logs(processors=[redact]) as events:
        async with start() as house:
            code = await house.identity.setup_code()
            answer = await house.client().v1.auth.setup.post(
                code=code, username="root", password=PASSWORD
            )
            bad = await refused(house.sign_in("root", "guess-guess"), 401)
            worse = await refused(
                house.client().v1.auth.login.post(username=["x"], password="guess-guess"), 422
            )
            await refused(house.sign_in("x" * 100, "guess-guess"), 401)
            ticket = "no-such-ticket-at-all"
            gateway = await house.service()
            lost = await refused(
                gateway.v1.tickets.redeem.post(ticket=ticket, use="join", session_id="s"), 401
            )
            secrets = [PASSWORD, "guess-guess", code, answer["token"], ticket, house.boot_secret]
    out, err = capfd.readouterr()
    texts = [out, err, repr(events), str(bad.body), str(worse.body), str(lost.body), repr(bad)]
    assert any(event["event"] == "sign_in.refused" for event in events)
    for text in texts:
        assert not [secret for secret in secrets if secret in text]


async def test_A16_openapi_shows_no_secret_as_example(house: Any) -> None:
    schema = str(house.host.app("identity").openapi())
    assert house.boot_secret not in schema
    assert "example" not in schema.lower()
