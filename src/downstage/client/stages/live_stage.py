"""A stage that several people edit: the file below, everybody's live layer over it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

from downstage.client.client import Client
from downstage.client.live.layer import LiveLayer
from downstage.client.live.layers import registry
from downstage.client.live.pxr import Sdf, Usd
from downstage.client.live.wire import ServerWire
from downstage.client.operations import listing, versions, writing
from downstage.client.places import Place
from downstage.client.stages.merging import lay_over
from downstage.client.stages.rewriting import export, format_of
from downstage.kernel.errors import NotSupported, PlatformError
from downstage.live.messages import Person

__all__ = ["LiveStage"]

Fetch = Callable[[Place], Path]


class LiveStage:
    """What `downstage.client.usd.open_live` gives. All calls on the thread that edits.

    The live layer is the stage's session layer and its edit target: what is authored through
    `stage` goes to everybody at the next `process`. What the file defines cannot be removed by a
    layer over it; deactivate it.

    Args:
        client: whose.
        url: of the stage.
        path: of its copy.
        fetch: makes the copy anew, after a merge.
        on_arrival: called on another thread when there is something to `process`.
        on_change: called from within a notice when the live layer was edited here.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        path: Path,
        fetch: Fetch,
        *,
        on_arrival: Callable[[], None] | None = None,
        on_change: Callable[[], None] | None = None,
        stage: Any = None,
    ) -> None:
        self.url = url
        self.path = path
        self._client = client
        self._place = client.place(url)
        self._fetch = fetch
        # Beside the copy, so that relative asset paths mean in it what they mean in the file;
        # it is never saved there.
        name = path.with_name(f".{path.stem}.{token_hex(4)}.live.usda")
        self.root = Sdf.Layer.FindOrOpen(str(path)) if stage is None else stage.GetRootLayer()
        if stage is None:
            self.layer = Sdf.Layer.New(Sdf.FileFormat.FindById("usda"), str(name))
            self.stage: Any = Usd.Stage.Open(self.root, self.layer)
        else:
            self.stage = stage
            self.layer = stage.GetSessionLayer()
        self.stage.SetEditTarget(Usd.EditTarget(self.layer))
        self._wire = ServerWire(client, self._place, on_arrival)
        self.live = LiveLayer(
            url, self.layer, self._wire, on_base=self._on_base, on_change=on_change
        )
        registry.add(url, self.live)

    @property
    def people(self) -> list[Person]:
        """Who is here, this program among them."""
        return self.live.people

    @property
    def has_pending(self) -> bool:
        """Own edits that the server has not confirmed."""
        return self.live.has_pending

    def process(self, until: int | None = None) -> int:
        """Send what was edited here, apply what others did (see `LiveLayer.process`)."""
        return self.live.process(until)

    def wait(self, timeout_s: float = 1.0) -> bool:
        """Sleep until there is something to `process`; whether there is."""
        return self.live.wait(timeout_s)

    def settle(self, timeout_s: float = 30.0, *, durable: bool = False) -> None:
        """Process until all own edits are confirmed, with *durable* on the server's disk."""
        self.live.settle(timeout_s, durable=durable)

    def undo(self) -> bool:
        """Take back the last own edits that nobody changed since."""
        return self.live.undo()

    def merge(self, message: str, timeout_s: float = 60.0) -> str:
        """Write the live layer into its file, as a checkpoint; the layer begins again, empty.

        Everybody's stage shows the same before and after. Edits that others make meanwhile wait
        and stay live.

        Args:
            message: of the checkpoint, not blank.
            timeout_s: for each step.

        Returns:
            Etag of the file.

        Raises:
            Locked: somebody holds the file's lock.
            Conflict: somebody else merges.
            NotSupported: the file is a package (.usdz).
            PlatformError: nothing was merged, the layer is as it was.
        """
        if self.path.suffix.lower() == ".usdz":
            raise NotSupported("A package cannot be written: merge into a .usd file.")
        self.settle(timeout_s)
        client = self._client
        client.run(versions.lock, self.url)
        try:
            seq = self._wire.request("live.hold", timeout_s=timeout_s)
            try:
                self.live.settle_until(lambda: self.live.session.seq >= seq, timeout_s)
                etag = client.run(writing.write_file_ex, self.url, self._merged(), message).hash
            except BaseException:
                self._wire.request("live.resume", timeout_s=timeout_s)
                raise
            epoch = self._wire.request("live.merged", etag, timeout_s=timeout_s)
        finally:
            client.run(versions.unlock, self.url)
        self.live.settle_until(lambda: self.live.session.epoch >= epoch, timeout_s)
        return etag

    def close(self) -> None:
        """Leave; the stage stays open, no longer live. Idempotent."""
        registry.remove(self.url, self.live)
        self.live.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _merged(self) -> bytes:
        """The file as the server has it, with the live layer laid into it."""
        _, content = self._client.run(listing.read_file, self.url)
        with tempfile.TemporaryDirectory(prefix="downstage-merge-") as folder:
            path = Path(folder) / self.path.name
            path.write_bytes(memoryview(content))
            layer = Sdf.Layer.OpenAsAnonymous(str(path))
            lay_over(layer, self.live.session.editor.replica.shadow)
            form = format_of(path)
            path.unlink()
            export(layer, path, form)
            return path.read_bytes()

    def _on_base(self, _etag: str) -> None:
        """The file has another content."""
        try:
            self._fetch(self._place)
        except PlatformError:
            return  # it is offline: the welcome of the next connection tells again
        self.root.Reload(True)
