"""Keys of publishers, sources that are pulled and views by WebRTC, over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import APIRouter, Depends, Path, Response

from downstage.contracts.videos import (
    SourceBody,
    SourceView,
    StreamKeyBody,
    StreamKeyMade,
    StreamKeys,
    StreamKeyView,
    ViewAnswer,
    ViewOffer,
    Wanted,
)
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter
from downstage.streams.callers import Callers, Guest
from downstage.streams.dialects.v1.access import Asker
from downstage.streams.names import check
from downstage.streams.video.feeding import targets
from downstage.streams.video.keys import KeyView
from downstage.streams.video.keys import StreamKeys as Keys
from downstage.streams.video.pulling import Pull, Pulls

if TYPE_CHECKING:
    from downstage.streams.video.rtmp import Rtmp
    from downstage.streams.video.views import Views

__all__ = ["VideoRoutes"]

MAX_SOURCE = 121
"""Characters of a source's name: the streams that it writes have a few more."""
Name = Annotated[
    str, Path(min_length=1, max_length=MAX_SOURCE, description="Of the source, without .video.")
]
ViewName = Annotated[str, Path(min_length=1, max_length=128, description="Of the stream.")]
ViewId = Annotated[str, Path(min_length=1, max_length=64, description="Of the view.")]
KeyId = Annotated[str, Path(min_length=1, max_length=64, description="Of the key.")]


class VideoRoutes:
    """The routes.

    Args:
        callers: lets callers in.
        keys: of publishers.
        pulls: what is pulled.
        host: by which publishers reach us.
        views: gives what is watched by WebRTC, loaded when it is first asked for.
    """

    def __init__(
        self,
        callers: Callers,
        keys: Keys,
        pulls: Pulls,
        host: str,
        views: Callable[[], Awaitable[Views]],
    ) -> None:
        self._ask, self._views = Asker(callers), views
        self._keys, self._pulls, self._host = keys, pulls, host
        self.rtmp: Rtmp | None = None
        """Where a port for publishers is open."""

    def router(self) -> APIRouter:
        """Keys, sources and views."""
        router = ServiceAPIRouter(tags=["video"])
        guest: Any = Depends(self._ask)
        self._add_keys(router, guest)
        self._add_sources(router, guest)
        self._add_views(router, guest)
        return router

    def _add_keys(self, router: ServiceAPIRouter, guest: Any) -> None:
        async def make_key(name: Name, body: StreamKeyBody, who: Guest = guest) -> StreamKeyMade:
            """Make a key that lets one publisher in, for one source."""
            view, secret = await self._keys.make(
                who.caller,
                check(name),
                label=body.label,
                wanted=body.wanted,
                max_fps=body.max_fps,
            )
            server = None if self.rtmp is None else f"rtmp://{self._host}:{self.rtmp.port}/live"
            return StreamKeyMade(
                **self._key(view).model_dump(),
                key=secret,
                url=None if server is None else f"{server}/{name}?key={secret}",
                server=server,
            )

        async def list_keys(name: Name, who: Guest = guest) -> StreamKeys:
            """The keys of a source, without their secrets."""
            found = await self._keys.of(who.caller, check(name))
            return StreamKeys(items=[self._key(view) for view in found])

        async def revoke_key(name: Name, key_id: KeyId, who: Guest = guest) -> Response:
            """End a key; a publisher who showed it is cut off."""
            view = await self._keys.revoke(who.caller, check(name), key_id)
            if self.rtmp is not None:
                self.rtmp.cut_off(view)
            return Response(status_code=204)

        path, lost = "/v1/streams/{name}/keys", refusals(403, 404, 507)
        add = router.add_api_route
        add(path, make_key, methods=["POST"], status_code=201, responses=lost)
        add(path, list_keys, methods=["GET"], responses=lost)
        options: dict[str, Any] = {"status_code": 204, "response_class": Response}
        add(f"{path}/{{key_id}}", revoke_key, methods=["DELETE"], responses=lost, **options)

    def _add_sources(self, router: ServiceAPIRouter, guest: Any) -> None:
        async def put_source(
            name: Name, body: SourceBody, response: Response, who: Guest = guest
        ) -> SourceView:
            """Pull a camera or a server into a source, from now on and again when it breaks off."""
            pull, is_new = await self._pulls.put(
                who.caller,
                check(name),
                body.url.get_secret_value(),
                wanted=body.wanted,
                max_fps=body.max_fps,
            )
            response.status_code = 201 if is_new else 200
            return _source(pull)

        async def get_source(name: Name, who: Guest = guest) -> SourceView:
            """How a pulled source stands."""
            return _source(self._pulls.get(who.caller, check(name)))

        async def remove_source(name: Name, who: Guest = guest) -> Response:
            """Pull it no longer; what was pulled stays."""
            await self._pulls.remove(who.caller, check(name))
            return Response(status_code=204)

        path, lost = "/v1/streams/{name}/source", refusals(403, 404, 502, 507)
        made: dict[int | str, Any] = {201: {"model": SourceView, "description": "A new source."}}
        add = router.add_api_route
        add(path, put_source, methods=["PUT"], responses={**lost, **made})
        add(path, get_source, methods=["GET"], responses=lost)
        options: dict[str, Any] = {"status_code": 204, "response_class": Response}
        add(path, remove_source, methods=["DELETE"], responses=lost, **options)

    def _add_views(self, router: ServiceAPIRouter, guest: Any) -> None:
        async def offer_view(name: ViewName, who: Guest = guest) -> ViewOffer:
            """Offer to show a stream by WebRTC."""
            views = await self._views()
            view_id, sdp = await views.open(who.caller, check(name))
            return ViewOffer(id=view_id, sdp=sdp, ice_servers=list(views.ice_servers))

        async def answer_view(
            name: ViewName, view_id: ViewId, body: ViewAnswer, who: Guest = guest
        ) -> Response:
            """Answer the offer; pictures come as soon as the connection is there."""
            await (await self._views()).answer(who.caller, check(name), view_id, body.sdp)
            return Response(status_code=204)

        async def close_view(name: ViewName, view_id: ViewId, who: Guest = guest) -> Response:
            """Watch it no longer."""
            await (await self._views()).close(who.caller, check(name), view_id)
            return Response(status_code=204)

        path, lost = "/v1/streams/{name}/views", refusals(403, 404, 409, 415, 429)
        add = router.add_api_route
        add(path, offer_view, methods=["POST"], status_code=201, responses=lost)
        options: dict[str, Any] = {"status_code": 204, "response_class": Response}
        one = f"{path}/{{view_id}}"
        add(one, answer_view, methods=["POST"], responses=lost, **options)
        add(one, close_view, methods=["DELETE"], responses=lost, **options)

    def _key(self, view: KeyView) -> StreamKeyView:
        live = self.rtmp is not None and any(item.id == view.id for item in self.rtmp.live)
        return StreamKeyView(
            id=view.id,
            stream=view.stream,
            label=view.label,
            wanted=cast("Wanted", view.wanted),
            max_fps=view.max_fps,
            created_at=datetime.fromisoformat(view.created_at),
            live=live,
        )


def _source(pull: Pull) -> SourceView:
    return SourceView(
        name=pull.name,
        url=pull.shown_url,
        wanted=cast("Wanted", pull.wanted),
        max_fps=pull.max_fps,
        state=pull.state,
        error=pull.error,
        entries=pull.feed.entries if pull.feed is not None else 0,
        streams=list(targets(pull.name, pull.wanted)),
    )
