"""What a session brings to an instance that waited for one: a configuration, a token, data.

The application runs already and may write in its folder, so what is put there is made under a name
of its own, never through a link that lies there, and moved into place whole.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from downstage.spawners.plan import Plan, write_private

__all__ = ["TOKEN", "USER_DATA", "adopt", "hand"]

TOKEN, USER_DATA = "token", "user-data"
BROUGHT = frozenset(
    [
        "instance_id",
        "session_id",
        "instance_token",
        "link_url",
        "link_urls",
        "display",
        "ice_servers",
    ]
)


def adopt(folder: Path, plan: Plan, request: dict[str, Any]) -> list[str]:
    """Write *request* into the streamer's configuration and the application's folder.

    Returns:
        What is secret of it.

    Raises:
        OSError, ValueError: it cannot be written; the configuration is as it was.
    """
    path = folder / "streamer.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    brought = {key: value for key, value in request["streamer"].items() if key in BROUGHT}
    for name, key in ((TOKEN, "token"), (USER_DATA, "user_data")):
        if isinstance(request.get(key), str):
            hand(folder / "app", name, request[key], plan)
    write_private(path, {**config, **brought})
    return [str(brought.get("instance_token", "")), str(request.get("token") or "")]


def hand(app: Path, name: str, text: str, plan: Plan) -> None:
    """Give the application a file that it alone may read."""
    draft = app / f".{name}.new"
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        if plan.is_other_user:
            os.fchown(file.fileno(), plan.uid, plan.gid)
    draft.replace(app / name)
