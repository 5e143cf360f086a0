"""A stranger at the command line: new, test, dev, up, list, disable, and gone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from downstage.testing.platform import PlatformProcess

pytestmark = pytest.mark.real

NAME = "company.tools.hello-world"
PATH = "/company/tools/hello-world/greet"


def downstage(*words: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "downstage", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def made(data: Path) -> Path:
    downstage("ext", "new", NAME, "--folder", data)
    return data / NAME


class Dev:
    """``downstage ext dev`` as a process, and what it says."""

    def __init__(self, *words: str | Path) -> None:
        command = [sys.executable, "-m", "downstage", "ext", "dev", *map(str, words)]
        self._process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        )
        self.said = ""
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._news:
                self.said += line
                self._news.notify_all()

    def wait_for(self, pattern: str) -> re.Match[str]:
        with self._news:
            found = self._news.wait_for(lambda: re.search(pattern, self.said), timeout=30)
            assert found, f"{pattern!r} was not said in: {self.said}"
            end = found.end()
            self.said = self.said[end:]
            return found

    def end(self) -> int:
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(15)
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code


@contextmanager
def developing(*words: str | Path) -> Iterator[Dev]:
    dev = Dev(*words)
    try:
        yield dev
    finally:
        code = dev.end()
    assert code == 0


def test_a_new_extension_passes_its_own_test(made: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(made)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=made,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("name", ["../x", "a b", "1st", "a..b", "x-", "import os"])
def test_names_that_will_not_do(data: Path, name: str) -> None:
    assert "no name for an extension" in downstage("ext", "new", name, "--folder", data, code=2)
    assert list(data.iterdir()) == []


@pytest.mark.parametrize("name", ["agent", "calendar", "class", "my.import", "downstage.mine"])
def test_names_that_others_have(data: Path, name: str) -> None:
    """What is made of them could not run, or would be in the way of what runs."""
    said = downstage("ext", "new", name, "--folder", data, code=2)
    assert f"for example my-{name}." in said
    assert list(data.iterdir()) == []


def test_a_name_that_a_service_has_is_told(made: Path, data: Path) -> None:
    manifest = made / "config" / "extension.toml"
    manifest.write_text(manifest.read_text().replace(f'name = "{NAME}"', 'name = "agent"', 1))
    with developing(made, "--port", "0", "--data", data / "d") as dev:
        dev.wait_for("✗ agent: this name is a service's of the platform")


def test_an_existing_folder_is_left_alone(made: Path) -> None:
    said = downstage("ext", "new", NAME, "--folder", made.parent, code=2)
    assert "exists already" in said


def test_it_is_served_edited_broken_and_mended(made: Path, data: Path) -> None:
    routes = made / "company/tools/hello_world/routes.py"
    began = time.monotonic()
    with developing(made, "--port", "0", "--data", data / "d", "--/exts/x/y=1") as dev:
        dev.wait_for(rf"✓ {re.escape(NAME)}-0\.1\.0 runs in \d+ ms")
        start_ms = (time.monotonic() - began) * 1000
        dev.wait_for(r'exts\."x" .*not here')
        url = dev.wait_for(r"Serving on (http://127\.0\.0\.1:\d+)")[1]
        port = dev.wait_for(r"on port (\d+)")[1]
        operator = f"http://127.0.0.1:{port}"
        dev.wait_for(r"GET +/company/tools/hello-world/greet +Greet somebody")
        assert get(url + PATH) == (200, '{"text":"Hello, World!"}')
        assert "hello_world_greetings_total 1.0" in get(f"{operator}/metrics")[1]
        assert json.loads(get(f"{operator}/extensions")[1])[0]["id"] == f"{NAME}-0.1.0"

        routes.write_text(routes.read_text().replace("{word}, {name}", "{word} dear {name}"))
        took = dev.wait_for(r"runs in (\d+) ms after routes\.py")[1]
        assert int(took) < start_ms / 2, "nearly as long as the program itself"
        assert get(url + PATH) == (200, '{"text":"Hello dear World!"}')

        whole = routes.read_text()
        routes.write_text(whole + "\ndef (\n")
        dev.wait_for(r"✗ .* failed: SyntaxError")
        dev.wait_for(r"routes\.py")
        assert get(url + PATH)[0] == 404
        routes.write_text(whole)
        dev.wait_for(r"✓ .* after routes\.py")
        assert get(url + PATH)[0] == 200

        shutil.rmtree(made)
        dev.wait_for(r"is gone")
        assert get(url + PATH)[0] == 404
        assert "hello_world_greetings" not in get(f"{operator}/metrics")[1]


def test_a_public_address_needs_tls_or_demo(made: Path, data: Path) -> None:
    manifest = made / "config" / "extension.toml"
    key = 'exts."omni.services.transport.server.http".host'
    manifest.write_text(manifest.read_text() + f'{key} = "0.0.0.0"\n')
    said = downstage("ext", "dev", made, "--data", data / "d", code=2)
    for way in ("0.0.0.0", "--host 127.0.0.1", key, "--tls CERT KEY", "--demo"):
        assert way in said.replace("\n", " ")
    with developing(made, "--port", "0", "--data", data / "d", "--host", "127.0.0.1") as dev:
        dev.wait_for("Serving on http://127")
    with developing(made, "--port", "0", "--data", data / "d", "--demo") as dev:
        dev.wait_for("Serving on http://0")


def test_over_tls(made: Path, data: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    chain, key = data / "chain.pem", data / "key.pem"
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    at = (made, "--port", "0", "--data", data / "d", "--host", "0.0.0.0")
    with developing(*at, "--tls", chain, key) as dev:
        port = dev.wait_for(r"Serving on https://0\.0\.0\.0:(\d+)")[1]
        url = f"https://127.0.0.1:{port}{PATH}"
        with urllib.request.urlopen(url, timeout=10, context=trusted) as answer:
            assert answer.status == 200
    said = downstage("ext", "dev", *at, "--tls", key, chain, code=2)
    assert "no certificate and key" in said.replace("\n", " ")


def test_nothing_to_serve(data: Path) -> None:
    assert "config/extension.toml is missing" in downstage("ext", "dev", data, code=2)
    assert "no folder" in downstage("ext", "dev", data / "none", code=2)


def test_in_the_platform(made: Path, data: Path) -> None:
    words = ("--ext-folder", str(made), f"--/exts/{NAME}/greeting=Ahoy")
    with PlatformProcess(data / "d", *words) as platform:
        assert get(platform.url + PATH) == (200, '{"text":"Ahoy, World!"}')
        at = ("--data", data / "d")
        assert re.search(rf"{re.escape(NAME)}-0\.1\.0 +running", downstage("ext", "list", *at))
        assert "stopped" in downstage("ext", "disable", NAME, *at)
        assert get(platform.url + PATH)[0] == 404
        assert "running" in downstage("ext", "enable", NAME, *at)
        (made / "company/tools/hello_world/__init__.py").write_text("raise SystemExit('no')")
        assert "SystemExit: no" in downstage("ext", "reload", NAME, *at, code=2)
        assert get(platform.url + PATH)[0] == 404
        assert get(f"{platform.url}/status")[0] == 200
        assert "cannot be disabled" in downstage("ext", "disable", "gateway", *at, code=1)
    began = time.monotonic()
    assert "No platform runs" in downstage("ext", "list", *at, code=2)
    assert time.monotonic() - began < 30
