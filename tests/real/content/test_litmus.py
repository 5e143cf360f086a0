"""litmus, the suite that WebDAV servers are measured by: all of it passes, nothing is skipped."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.real

HTDOCS = "/usr/share/litmus/htdocs"
COUNTS = {"basic": 16, "copymove": 13, "props": 30, "locks": 41, "http": 4}


@pytest.mark.parametrize("suite", COUNTS)
def test_litmus(served: Any, fresh: str, tmp_path: Path, suite: str) -> None:
    with served.http() as client:
        assert client.request("MKCOL", f"/dav/{fresh}").status_code == 201
    key, secret = served.keys["alice"]
    done = subprocess.run(
        ["/usr/libexec/litmus/" + suite, "--htdocs", HTDOCS, f"{served.dav}/{fresh}/", key, secret],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = re.search(r"of (\d+) tests run: (\d+) passed", done.stdout)
    assert found is not None, done.stdout
    assert (int(found[1]), int(found[2])) == (COUNTS[suite], COUNTS[suite]), done.stdout
