"""``/recordings``: started and stopped, listed, renamed, hidden, deleted; their files."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from downstage.kernel.errors import NotFound
from downstage.streams import names
from downstage.streams.dialects.ptg.answers import Json
from downstage.streams.dialects.ptg.dialect import Dialect, SignedIn
from downstage.streams.dialects.ptg.door import Door
from downstage.streams.model import Caller
from downstage.streams.recordings.files import Files, check_file_name
from downstage.streams.recordings.intake import body_of, receive_file, receive_form_file
from downstage.streams.recordings.links import Links
from downstage.streams.recordings.model import Recording
from downstage.streams.recordings.sending import file_answer
from downstage.streams.recordings.service import Recordings
from downstage.streams.recordings.views import ptg_info

__all__ = ["recording_routes", "upload_routes"]

FIELD = "file"


def recording_routes(door: Door, recordings: Recordings, files: Files, links: Links) -> Dialect:
    """The routes."""
    dialect = Dialect(door, "recordings")
    _add_recording(dialect, recordings, files)
    _add_static(dialect, door, recordings, files, links)
    _add_changes(dialect, recordings)
    _add_one(dialect, recordings, files)
    return dialect


def _add_recording(dialect: Dialect, recordings: Recordings, files: Files) -> None:
    async def list_recordings(caller: SignedIn, info: bool = False, cache: bool = True) -> Json:
        """Names of recordings, or with *info* what is known of each."""
        del cache  # there is nothing that could be stale
        found = await recordings.list(caller)
        if not info:
            return Json([recording.name for recording in found])
        return Json([await _info(files, caller, recording) for recording in found])

    async def current(caller: SignedIn, info: bool = False) -> Json:
        """The name of the recording that was started last and still runs, or null."""
        found = await recordings.current(caller)
        if found is None:
            return Json(None)
        return Json(await _info(files, caller, found) if info else found.name)

    async def start(caller: SignedIn, rec_id: str | None = None) -> Json:
        """Record all streams from now on; the name of the recording."""
        return Json((await recordings.start(caller, rec_id or None)).name)

    async def stop(caller: SignedIn, rec_id: str | None = None) -> Json:
        """Stop the recording that was started last, or *rec_id*; how many were stopped."""
        if rec_id:
            found: Recording | None = await recordings.get(caller, rec_id)
        else:
            found = await recordings.current(caller)
        if found is None or found.life.ended:
            return Json(0)
        await recordings.stop(caller, found.name)
        return Json(1)

    dialect.serve("GET", "/recordings", list_recordings)
    dialect.serve("GET", "/recordings/current", current)
    dialect.serve("PUT", "/recordings/start", start, 404, 409, 429, 507)
    dialect.serve("PUT", "/recordings/stop", stop, 404, 504)


def _add_static(
    dialect: Dialect, door: Door, recordings: Recordings, files: Files, links: Links
) -> None:
    async def static(  # noqa: PLR0917 - as they stand in the address
        recording_id: str,
        file: str,
        request: Request,
        e: str | None = None,
        t: str | None = None,
        s: str | None = None,
    ) -> Response:
        """A file of a recording, or a range of it; with a token, or by a signed address."""
        if e is not None and t is not None and s is not None:
            recording = await _linked(recordings, t, recording_id)
            links.check(recording, file, e, s)
            path = await files.find(recordings.link_reader(recording), recording, file)
        else:
            guest = await door.guest(request)
            recording = await recordings.get(guest.caller, recording_id)
            path = await files.find(guest.caller, recording, file)
        return await file_answer(request, path, file)

    refused = (404, 409, 415, 416)
    dialect.serve("GET", "/recordings/static/{recording_id}/{file:path}", static, *refused)
    dialect.serve("HEAD", "/recordings/static/{recording_id}/{file:path}", static, *refused)


async def _linked(recordings: Recordings, tenant: str, name: str) -> Recording:
    """The recording that a link is for; whether there is one is not told to whoever guesses."""
    try:
        return await recordings.by_link(tenant, name)
    except NotFound as error:
        raise Links.refusal() from error


def _add_changes(dialect: Dialect, recordings: Recordings) -> None:
    async def clear_cache(caller: SignedIn) -> Json:
        """Remove what can be had again; how many files, for each recording."""
        return Json(await recordings.clear_cache(caller))

    async def rename(recording_id: str, new_id: str, caller: SignedIn) -> Json:
        """Give a recording another name."""
        await recordings.rename(caller, recording_id, new_id)
        return Json([True, True])

    async def hide(recording_id: str, caller: SignedIn) -> Json:
        """Leave a recording out of the list."""
        await recordings.hide(caller, recording_id, hidden=True)
        return Json([True, True])

    async def unhide(recording_id: str, caller: SignedIn) -> Json:
        """Show it again."""
        await recordings.hide(caller, recording_id, hidden=False)
        return Json([True, True])

    dialect.serve("DELETE", "/recordings/cache", clear_cache)
    dialect.serve("PUT", "/recordings/{recording_id}/rename/{new_id}", rename, 404, 409)
    dialect.serve("PUT", "/recordings/{recording_id}/hide", hide, 404)
    dialect.serve("PUT", "/recordings/{recording_id}/unhide", unhide, 404)


def _add_one(dialect: Dialect, recordings: Recordings, files: Files) -> None:
    async def get(recording_id: str, caller: SignedIn) -> Json:
        """What is known of a recording."""
        return Json(await _info(files, caller, await recordings.get(caller, recording_id)))

    async def delete(recording_id: str, caller: SignedIn) -> Json:
        """Remove a recording and its files; whether there was one."""
        try:
            await recordings.delete(caller, names.check(recording_id, "recording"))
        except NotFound:
            return Json([False, False])
        return Json([True, True])

    dialect.serve("GET", "/recordings/{recording_id}", get, 404)
    dialect.serve("DELETE", "/recordings/{recording_id}", delete, 504)


def upload_routes(door: Door, recordings: Recordings, files: Files) -> Dialect:
    """The route that takes files, whose bodies are large."""
    dialect = Dialect(door, "recordings")

    async def upload(
        recording_id: str,
        fname: str,
        request: Request,
        caller: SignedIn,
        overwrite: bool = False,
    ) -> Json:
        """Put a file beside a recording."""
        recording = await recordings.get(caller, recording_id)
        check_file_name(fname)
        pieces = receive_form_file(body_of(request.receive), request.headers, FIELD)
        async with receive_file(pieces, files.scratch(), recordings.floor) as part:
            await files.put(caller, recording, fname, part, overwrite=overwrite)
        url = f"/recordings/static/{recording.name}/{fname}"
        return Json({"filename": fname, "url": url})

    dialect.serve(
        "POST",
        "/recordings/upload/{recording_id}/{fname}",
        upload,
        *(400, 404, 409, 413, 415, 504, 507),
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "properties": {FIELD: {"type": "string", "format": "binary"}},
                            "required": [FIELD],
                        }
                    }
                },
            }
        },
    )
    return dialect


async def _info(files: Files, caller: Caller, recording: Recording) -> dict[str, object]:
    return ptg_info(recording, caller, await files.names(recording))
