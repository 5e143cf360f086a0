"""An instance whose image is pulled first: one handle from the first byte to its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import anyio

from downstage.kernel.errors import PlatformError, Unavailable
from downstage.spawners.container.images import Images, PullFailed
from downstage.spawners.exec import CannotExec, Exec, ExecStream
from downstage.spawners.handle import KeeperHandle
from downstage.spawners.plan import Report
from downstage.spawners.spawner import Adoption

__all__ = ["PulledHandle"]


class PulledHandle:
    """Pulls while `reports` is read, then hands on what the keeper says.

    Until there is a keeper, nothing of the instance runs; a platform that goes away meanwhile
    leaves nothing behind.

    Args:
        folder: the instance's, which is made when its image is here.
        instance_id: the instance's.
        reference: of its image.
        images: the engine's.
        launch: starts the keeper.
    """

    def __init__(
        self,
        folder: Path,
        instance_id: str,
        reference: str,
        images: Images,
        launch: Callable[[], Awaitable[KeeperHandle]],
    ) -> None:
        self._folder, self._id, self._reference = folder, instance_id, reference
        self._images, self._launch = images, launch
        self._kept: KeeperHandle | None = None
        self._stopped: str | None = None
        self._changed = anyio.Event()
        self._adoption: Adoption | None = None

    @property
    def media_socket(self) -> str:
        """Path of the socket on which its streamer serves media."""
        return str(self._folder / "media.sock")

    async def reports(self) -> AsyncGenerator[Report]:
        """How it stands, now and at every change."""
        if self._kept is None:
            async with aclosing(self._pulled()) as pulling:
                async for report in pulling:
                    yield report
        if self._kept is not None:
            async with aclosing(self._kept.reports()) as reports:
                async for report in reports:
                    yield report

    async def _pulled(self) -> AsyncGenerator[Report]:
        """Reports until there is a keeper, or the last one where there will be none."""
        yield self._report(None)
        try:
            async with aclosing(self._images.pull(self._reference)) as pull:
                while self._stopped is None:
                    percent, is_over = await self._next(pull)
                    if is_over:
                        break
                    yield self._report(percent)
            if self._stopped is None:
                self._kept = await self._launch()
        except PlatformError as error:
            reason = "pull-failed" if isinstance(error, PullFailed) else "start-failed"
            yield self._end(reason, error)
            return
        if self._stopped is not None:
            if self._kept is not None:
                await self._kept.stop(self._stopped)
            else:
                yield self._end(self._stopped, None)
        elif self._adoption is not None and self._kept is not None:
            await self._kept.adopt(self._adoption)

    async def _next(self, pull: AsyncGenerator[int | None]) -> tuple[int | None, bool]:
        """The next percent, and whether it is over; stopping ends it at once."""
        found: list[tuple[int | None, bool]] = []

        async def take() -> None:
            try:
                found.append((await anext(pull), False))
            except StopAsyncIteration:
                found.append((None, True))
            tasks.cancel_scope.cancel()

        async def give_up() -> None:
            await self._changed.wait()
            tasks.cancel_scope.cancel()

        failed: PlatformError | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
                tasks.start_soon(give_up)
        except* PlatformError as errors:
            failed = next(error for error in errors.exceptions if isinstance(error, PlatformError))
        if failed is not None:
            raise failed
        return found[0] if found else (None, True)

    def _report(self, percent: int | None) -> Report:
        detail = f"{self._reference}: {percent} %" if percent is not None else self._reference
        return Report(self._id, stage="pulling", detail=detail)

    def _end(self, reason: str, error: PlatformError | None) -> Report:
        detail = error.detail if error is not None else None
        return Report(self._id, "ended", "pulling", reason=reason, detail=detail)

    async def adopt(self, adoption: Adoption) -> None:
        """Hand over what the session brings, as soon as somebody is there to take it."""
        if self._kept is not None:
            await self._kept.adopt(adoption)
        elif self._stopped is not None:
            raise Unavailable("This instance ends.")
        else:
            self._adoption = adoption

    async def exec(self, asked: Exec) -> ExecStream:
        """Start one more program beside the application."""
        if self._kept is None:
            raise CannotExec("The image of this instance is still being pulled.")
        return await self._kept.exec(asked)

    async def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncGenerator[bytes]:
        """What the application has written."""
        if self._kept is not None:
            async with aclosing(self._kept.logs(follow=follow, tail=tail)) as pieces:
                async for piece in pieces:
                    yield piece

    async def stop(self, reason: str) -> None:
        """Give up pulling, or ask for an orderly end."""
        self._stopped = self._stopped or reason
        self._changed.set()
        if self._kept is not None:
            await self._kept.stop(reason)

    async def kill(self) -> None:
        """End it at once."""
        await self.stop("stopped")
        if self._kept is not None:
            await self._kept.kill()

    async def close(self) -> None:
        """Let go of it."""
        if self._kept is not None:
            await self._kept.close()
