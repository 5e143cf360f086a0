"""Settings come from four places in order, and what none of them knows is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Settings, load

pytestmark = pytest.mark.unit


def write(folder: Path, text: str) -> Path:
    path = folder / "downstage.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_loopback_and_without_demo() -> None:
    settings = load(environment={})
    assert settings == Settings()
    assert settings.platform.host == "127.0.0.1"
    assert not settings.platform.demo


def test_each_place_overrules_the_one_before(tmp_path: Path) -> None:
    file = write(tmp_path, "[platform]\nport = 1\noperator_port = 2\nhost = 'file'\n")
    env = {"DOWNSTAGE_PLATFORM__PORT": "3", "DOWNSTAGE_PLATFORM__OPERATOR_PORT": "4"}
    got = load(file=file, environment=env, overrides={"platform.port": 5}).platform
    assert (got.host, got.operator_port, got.port) == ("file", 4, 5)


def test_an_override_of_none_says_nothing() -> None:
    env = {"DOWNSTAGE_PLATFORM__PORT": "3"}
    assert load(environment=env, overrides={"platform.port": None}).platform.port == 3


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = write(tmp_path, "[platform]\nport = 1\n")
    assert load(environment={"DOWNSTAGE_CONFIG": str(file)}).platform.port == 1


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("[gateway]\nprot = 1\n", "gateway.prot", id="key in a file"),
        pytest.param("[gatewai]\nport = 1\n", "gatewai", id="section in a file"),
        pytest.param("port = 1\n", "port", id="key at the top of a file"),
        pytest.param("gateway = 1\n", "gateway", id="section that is a value"),
        pytest.param("[gateway\n", "is not TOML", id="no TOML"),
        pytest.param("[platform]\nport = 70000\n", "platform.port", id="port out of range"),
        pytest.param("[gateway]\nidle_lease = -5\n", "gateway.idle_lease", id="negative time"),
        pytest.param("[gateway]\nidle_lease = inf\n", "gateway.idle_lease", id="endless time"),
        pytest.param("[log]\nlevel = 'loud'\n", "log.level", id="level"),
        pytest.param("[platform]\nbehind_proxy = ['x']\n", "behind_proxy", id="network"),
    ],
)
def test_what_a_file_says_wrongly_is_named(tmp_path: Path, text: str, names: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(SetupError, match=names) as caught:
        load(file=file, environment={})
    assert str(file) in caught.value.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOWNSTAGE_GATEWAY__PROT", "1"),
        ("DOWNSTAGE_GATEWAI__PORT", "1"),  # pydantic-settings would pass this over in silence
        ("DOWNSTAGE_GATEWAY", "1"),
        ("DOWNSTAGE_GATEWAY__", "1"),
        ("DOWNSTAGE_PORT", "1"),
        ("DOWNSTAGE_", "1"),
        ("DOWNSTAGE_GATEWAY__REGION__X", "1"),
        ("DOWNSTAGE_PLATFORM__PORT", "many"),
        ("DOWNSTAGE_PLATFORM__PORT", ""),
        ("DOWNSTAGE_MEDIA__UDP_PORTS", "5-4"),
        ("DOWNSTAGE_MEDIA__UDP_PORTS", "0-70000"),
        ("DOWNSTAGE_MEDIA__UDP_PORTS", "a-b"),
        ("DOWNSTAGE_MANAGER__APPLICATIONS", "5"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SetupError, match=name):
        load(environment={name: value})


@pytest.mark.parametrize("key", ["platform.prot", "platfrom.port", "port", "platform.port.x"])
def test_a_wrong_override_is_refused(key: str) -> None:
    with pytest.raises(SetupError, match=key.partition(".")[0]):
        load(environment={}, overrides={"platform.port": 1, key: 1})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        load(file=tmp_path / "absent.toml", environment={})
    with pytest.raises(SetupError, match="absent"):
        load(environment={"DOWNSTAGE_CONFIG": str(tmp_path / "absent.toml")})


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOWNSTAGE_PLATFORM__PORT", "77")
    assert load().platform.port == 77
    monkeypatch.setenv("DOWNSTAGE_GATEWAI__PORT", "1")
    with pytest.raises(SetupError):
        load()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("MEDIA__UDP_PORTS", "50000-50100", (50000, 50100)),
        ("MEDIA__UDP_PORTS", "50000", (50000, 50000)),
        ("MEDIA__UDP_PORTS", "", None),
        ("PLATFORM__PUBLIC_URL", "", None),
        ("PLATFORM__ORIGINS", "https://a, https://b", ["https://a", "https://b"]),
        ("PLATFORM__ORIGINS", '["https://a"]', ["https://a"]),
        ("PLATFORM__ORIGINS", "", []),
        ("PLATFORM__DEMO", "true", True),
        ("GATEWAY__IDLE_LEASE", "90", timedelta(seconds=90)),
        ("GATEWAY__IDLE_LEASE", "PT5M", timedelta(minutes=5)),
        ("MEDIA__ICE_SERVERS", '[{"urls": "stun:h"}]', [{"urls": "stun:h"}]),
        ("LOG__JSON_LINES", "", None),
    ],
)
def test_text_of_variables_becomes_values(name: str, text: str, value: object) -> None:
    section, key = name.lower().split("__")
    settings = load(environment={f"DOWNSTAGE_{name}": text})
    assert getattr(getattr(settings, section), key) == value


def test_other_variables_and_reserved_ones_are_nobodys_business() -> None:
    env = {"PATH": "/bin", "DOWNSTAGEX": "1", "DOWNSTAGE_TOKEN_FILE": "/x", "DOWNSTAGE_CONFIG": ""}
    assert load(environment=env) == Settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load(environment={}).platform.port = 5  # type: ignore[misc]


def test_a_refusal_never_repeats_the_value() -> None:
    env = {"DOWNSTAGE_MEDIA__ICE_SERVERS": '[{"credential": ["hunter2"]}]'}
    with pytest.raises(SetupError) as caught:
        load(environment=env)
    assert "hunter2" not in caught.value.detail


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30), max_size=4))
def test_any_environment_is_read_or_refused(extra: dict[str, str]) -> None:
    env = {f"DOWNSTAGE_{name}": value for name, value in extra.items()}
    try:
        load(environment=env)
    except SetupError:
        assert extra
