"""Calls that must not type-check: each line that says so, and no other."""

from __future__ import annotations

from client import AsyncClient, Client, NewSession


async def mistaken(client: AsyncClient) -> None:
    await client.v1.sesions.get()  # error: no such path
    await client.v1.sessions.patch()  # error: no such verb
    await client.v1.sessions.post()  # error: the application is missing
    await client.v1.sessions.post(application=1)  # error: a number
    await client.v1.sessions.post(application="x", knd="fast")  # error: misspelt
    await client.v1.sessions.post(application="x", kind="quick")  # error: none of the enumeration
    await client.v1.sessions.get(limit="10")  # error: a text
    await client.v1.sessions.get(since=5)  # error: no date
    await client.v1.sessions.get("x", "y")  # error: one segment too many
    await client.v1.sessions["x"].files["seven"].put(b"", 5)  # error: one body
    await client.v1["sessions"].get()  # error: an attribute's path, not an id
    body: NewSession = {"kind": "fast"}  # error: the application is missing
    await client.v1.sessions.post(body)
    made = await client.v1.sessions.post(application="x")
    made["ident"]  # error: no such field
    client.v1.sessions.get(5.5)  # error: no segment, and nobody waits


def blocking(client: Client) -> None:
    client.v1.sessions.get(limit=None)  # error: not None
    len(client.v1.sessions.get(session_id="x")["id"] + 5)  # error: a text
