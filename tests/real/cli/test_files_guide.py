"""Every command of the guide to ``downstage files``, in its order."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.real.cli.conftest import Commands, Served

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "files-from-the-command-line.md"


def test_the_guide(
    downstage: Commands, served: Served, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downstage.means(served.authority, served.server.token("admin"))
    (data / "scenes" / "props").mkdir(parents=True)
    (data / "scenes" / "a.usda").write_text("#usda 1.0\n")
    (data / "scenes" / "props" / "b").write_text("b")
    monkeypatch.chdir(data)
    text = GUIDE.read_text(encoding="utf-8").replace("//localhost", f"//{served.authority}")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) > 20
    for command in commands:
        ran = downstage(*shlex.split(command)[1:])
        assert ran.status == 0, f"{command}: {ran.err}"
    assert (data / "back" / "scenes" / "a.usda").exists()
