"""Record what really happens to sessions, instances and the queue.

Starts platforms, does to them what `SCENARIOS` says, and writes down every step that their state
machines take, in order. A later release must take the same steps from the same states: a test
replays each file. Record anew beside the old ones, never over those of a release::

    .venv/bin/python tests/data/histories/record.py
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
VARIABLE = "RECORDED_STEPS"
ENOUGH_S = 60


# In the platform's process ---------------------------------------------------------------------


def plain(value: Any) -> Any:
    """*value* as JSON has it; a dataclass says its type where it is an event."""
    from pydantic import TypeAdapter

    return TypeAdapter(type(value)).dump_python(value, mode="json")


def event(value: Any) -> dict[str, Any]:
    return {"event": type(value).__name__, **plain(value)}


def install(path: str) -> None:
    """Have the machines write down their steps."""
    from downstage.gateway import queue
    from downstage.gateway import states as sessions

    out = Path(path).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115 - of the process

    def write(**facts: Any) -> None:
        out.write(json.dumps(facts) + "\n")

    step, arrange = sessions.step, queue.arrange

    @wraps(step)
    def recorded_step(life: Any, happened: Any, now: Any, policy: Any) -> Any:
        done = step(life, happened, now, policy)
        write(
            machine="session",
            of=life.instance_id,
            before=plain(life),
            event=event(happened),
            now=plain(now),
            policy=plain(policy),
            after=plain(done.life),
            effects=[effect.value for effect in done.effects],
        )
        return done

    @wraps(arrange)
    def recorded_arrange(waiting: Any) -> Any:
        asked = list(waiting)
        found = arrange(asked)
        if found:
            order = [one.id for one in found]
            write(machine="queue", waiting=[plain(one) for one in asked], order=order)
        return found

    sessions.step, queue.arrange = recorded_step, recorded_arrange
    install_instances(write)


def install_instances(write: Callable[..., None]) -> None:
    """The same for instances, which are known by the reports that come of them."""
    from downstage.manager import states

    known = dict[int, tuple[Any, str]]()

    def record(name: str) -> None:
        function = getattr(states, name)

        @wraps(function)
        def recorded(instance: Any, *given: Any) -> Any:
            after = function(instance, *given)
            report = given[0] if name in ("learn", "lose") else None
            of = getattr(report, "instance_id", None) or known.get(id(instance), (None, None))[1]
            if of is not None:
                known[id(after)] = (after, of)  # which keeps it, so that its id is not another's
                asked = [plain(one) if dataclasses.is_dataclass(one) else one for one in given]
                facts = {"before": plain(instance), "given": asked, "after": plain(after)}
                write(machine="instance", of=of, event={"event": name}, **facts)
            return after

        setattr(states, name, recorded)

    for name in ("learn", "ask_to_end", "lose", "has_ended_by"):
        record(name)


# What is done to platforms ----------------------------------------------------------------------


def create(platform: Any, *, ready: bool = True) -> str:
    answer = platform.call("POST", "/v1/sessions", {"application": "test-card"})
    assert answer.status == 201, answer
    if ready:
        platform.wait_state(answer.body["id"], "ready")
    return str(answer.body["id"])


def end(platform: Any, session_id: str) -> None:
    platform.call("DELETE", f"/v1/sessions/{session_id}")
    platform.wait_state(session_id, "ended")


def state(platform: Any, session_id: str, *states: str) -> None:
    platform.wait_state(session_id, *states, deadline_s=ENOUGH_S)


def kill(platform: Any, marker: str) -> None:
    for pid, command in platform.processes().items():
        if marker in command:
            os.kill(pid, signal.SIGKILL)


def watch(platform: Any, session_id: str, seconds: float) -> None:
    """Somebody looks for a while."""
    from websockets.sync.client import connect

    code = platform.call("POST", f"/v1/sessions/{session_id}/links").body["code"]
    headers = {"origin": platform.url}
    path = f"/v1/sessions/{session_id}/seat"
    seat = platform.call("POST", path, {"code": code}, token=None, headers=headers).body
    protocols: Any = ["downstage.v1", f"downstage.ticket.{seat['media_ticket']}"]
    url = f"{platform.url.replace('http', 'ws', 1)}/v1/sessions/{session_id}/media"
    origin: Any = platform.url
    with connect(url, subprotocols=protocols, origin=origin, compression=None, max_size=None) as ws:
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            ws.recv()
        state(platform, session_id, "active")


def used(platform: Any) -> None:
    """Started, looked at, left, come back to, ended."""
    session_id = create(platform)
    watch(platform, session_id, 1.5)
    state(platform, session_id, "disconnected")
    watch(platform, session_id, 1.0)
    end(platform, session_id)


def left(platform: Any) -> None:
    """One that nobody came to, one that nobody came back to, one that grew too old."""
    nobody, gone = create(platform), create(platform)
    watch(platform, gone, 1.0)
    for session_id in (nobody, gone):
        state(platform, session_id, "ended")


def queued(platform: Any) -> None:
    """Two places, five people; one of those who wait gives up."""
    first, second = create(platform), create(platform)
    third, fourth, fifth = (create(platform, ready=False) for _ in range(3))
    end(platform, fourth)
    end(platform, first)
    state(platform, third, "ready")
    end(platform, second)
    state(platform, fifth, "ready")
    end(platform, third)
    end(platform, fifth)


def broken(platform: Any) -> None:
    """The application, the display, the keeper, and the streamer are killed."""
    for marker in ("test_card", "Xvfb", "spawners.keeper", "downstage.streamer"):
        session_id = create(platform)
        kill(platform, marker)
        if marker == "downstage.streamer":
            time.sleep(2)
            end(platform, session_id)
        else:
            state(platform, session_id, "ended")


def hasty(platform: Any) -> None:
    """Ended before they had begun."""
    made = [create(platform, ready=False) for _ in range(3)]
    for session_id in made:
        platform.call("DELETE", f"/v1/sessions/{session_id}")
    for session_id in made:
        state(platform, session_id, "ended")


def killed(platform: Any) -> None:
    """The platform is killed and comes back, to one that plays and one that starts."""
    first = create(platform)
    second = create(platform, ready=False)
    platform.kill()
    platform.start()
    state(platform, first, "ready")
    state(platform, second, "ready", "ended")  # it may not have begun
    end(platform, first)
    platform.kill()
    platform.start()
    end(platform, second)


SCENARIOS: dict[str, tuple[Callable[[Any], None], dict[str, str]]] = {
    "used": (used, {}),
    "left": (left, {"GATEWAY__CONNECT_LEASE": "6", "GATEWAY__RESUME_LEASE": "2"}),
    "queued": (queued, {"MANAGER__CAPACITY": "2"}),
    "broken": (broken, {}),
    "hasty": (hasty, {}),
    "killed": (killed, {"MANAGER__ATTACH_DEADLINE": "60"}),
}


# What is kept ------------------------------------------------------------------------------------


def told(lines: list[str], data: Path) -> list[dict[str, Any]]:
    """The steps, without what changes nothing twice over, and without this machine's own names."""
    names = dict[str, str]()
    found = list[dict[str, Any]]()
    for line in lines:
        text = line.replace(str(data), "/data").replace(str(ROOT), "/opt/downstage")
        one = json.loads(text)
        if one["machine"] == "queue" and found and found[-1] == one:
            continue
        if one["machine"] != "queue":
            names.setdefault(one["of"], f"i-{len(names) + 1}")
        found.append(one)
    whole = json.dumps(found)
    for name, short in names.items():
        whole = whole.replace(name, short)
    return json.loads(whole)


def record_scenario(name: str) -> None:
    from downstage import __version__
    from downstage.testing.platform import PlatformProcess

    scenario, settings = SCENARIOS[name]
    with tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp") as folder:
        site = Path(folder, "site")
        site.mkdir()
        steps = Path(folder, "steps")
        steps.touch()
        (site / "sitecustomize.py").write_text(
            f"import os, sys\nsys.path.insert(0, {str(HERE)!r})\n"
            f"import record\nrecord.install(os.environ[{VARIABLE!r}])\n"
        )
        environment = {f"DOWNSTAGE_{key}": value for key, value in settings.items()}
        environment |= {"PYTHONPATH": str(site), VARIABLE: str(steps)}
        data = Path(folder, "d")
        with PlatformProcess(data, environment=environment) as platform:
            scenario(platform)
        found = told(steps.read_text().splitlines(), data)
    made = {"scenario": name, "downstage": __version__, "steps": found}
    path = HERE / f"{__version__}-{name}.json"
    path.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"{path}: {len(found)} steps")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or SCENARIOS:
        record_scenario(chosen)
