"""``downstage session …`` and ``downstage status``."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from downstage.cli.access import platform_client
from downstage.kernel.errors import InvalidField, NotFound
from downstage.kernel.settings import Settings
from downstage.services import AsyncClient
from downstage.services.errors import ServiceNotFoundError

__all__ = [
    "create_session",
    "list_sessions",
    "open_session",
    "remove_session",
    "show_place",
    "show_queue",
    "show_status",
]


async def list_sessions(settings: Settings) -> None:
    """Print all sessions of the platform."""
    async with platform_client(settings) as (client, _):
        Console().print(_table(await _all(client)))


async def show_queue(settings: Settings) -> None:
    """Print who waits for a place, who is next first."""
    async with platform_client(settings) as (client, _):
        waiting = [item for item in await _all(client) if item["state"] == "queued"]
    if not waiting:
        Console().print("Nobody waits.")
        return
    waiting.sort(key=lambda item: (item["region"], item["position"] or 0))
    Console().print(_queue_table(waiting))


async def show_place(settings: Settings, session_id: str) -> None:
    """Print where one session stands in the queue, or that it waits no more.

    Raises:
        NotFound: there is none of that id.
    """
    async with platform_client(settings) as (client, _):
        try:
            item = await client.v1.sessions[session_id].get()
        except ServiceNotFoundError as error:
            raise NotFound(
                f"There is no session {session_id[:80]}. This lists those there are: "
                "downstage session ls"
            ) from error
    if item["state"] == "queued":
        Console().print(_queue_table([item]))
        return
    told = item["state"] + (f" ({item['outcome']})" if item.get("outcome") else "")
    Console().print(f"Session {item['id']} does not wait: it is {told}.")


def _queue_table(items: list[dict[str, Any]]) -> Table:
    table = Table("place", "session", "application", "owner", "region", "since", "starts in")
    for item in items:
        eta = item.get("eta_s")
        table.add_row(
            str(item["position"] or "–"),
            item["id"],
            item["application"],
            item["owner"],
            item["region"],
            item["created_at"][:19].replace("T", " "),
            "not known" if eta is None else f"about {round(eta)} s",
        )
    return table


async def create_session(
    settings: Settings, application: str, *, stage: str | None, size: str
) -> None:
    """Start *application*; prints its link alone on standard output."""
    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise InvalidField("size", f"The size is WIDTHxHEIGHT, for example 1280x720, not {size}.")
    body: dict[str, object] = {
        "application": application,
        "display": {"width": int(width), "height": int(height)},
    }
    if stage:
        body["stage"] = stage
    async with platform_client(settings) as (client, _):
        created = await client.v1.sessions.post(**body)
    Console(stderr=True).print(f"Session {created['id']} is {created['state']}.")
    print(created["join_url"])


async def open_session(settings: Settings, session_id: str) -> None:
    """Print a new join link."""
    async with platform_client(settings) as (client, _):
        link = await client.v1.sessions[session_id].links.post()
    print(link["join_url"])


async def remove_session(settings: Settings, session_id: str) -> None:
    """End a session."""
    async with platform_client(settings) as (client, _):
        ended = await client.v1.sessions[session_id].delete()
    Console().print(f"Session {session_id} is {ended['state']}.")


async def show_status(settings: Settings) -> None:
    """Print address, services and sessions."""
    console = Console()
    async with platform_client(settings) as (client, facts):
        operator = AsyncClient(facts.operator_url, raise_for_status=False, timeout_s=5)
        ready = await operator.ready.get()
        health = await AsyncClient(facts.url, raise_for_status=False, timeout_s=5).healthcheck.get()
        sessions = await _all(client)
    console.print(f"[bold]{facts.url}[/]  process {facts.pid}")
    for name, state in {**ready["services"], **ready["extensions"]}.items():
        console.print(f"  {name:<10} {state}")
    console.print("  healthy" if health.get("ok") else f"  [red]{health.get('message')}[/]")
    running = [s for s in sessions if s["state"] != "ended"]
    console.print(_table(running) if running else "  no sessions")


async def _all(client: AsyncClient) -> list[dict[str, Any]]:
    items, after = list[dict[str, Any]](), None
    while True:
        page = await client.v1.sessions.get(after=after, limit=100)
        items += page["items"]
        after = page.get("next")
        if after is None:
            return items


def _table(sessions: list[dict[str, Any]]) -> Table:
    table = Table("session", "application", "owner", "state", "since", "note")
    for item in sessions:
        note = item.get("detail") or item.get("progress") or ""
        state = item["state"] + (f" ({item['outcome']})" if item.get("outcome") else "")
        since = item["created_at"][:19].replace("T", " ")
        table.add_row(item["id"], item["application"], item["owner"], state, since, note[:80])
    return table
