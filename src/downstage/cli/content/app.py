"""The commands ``downstage files`` and ``downstage live``; what they do loads when one is run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from downstage.cli.content.reading import add_reading
from downstage.cli.content.writing import add_writing
from downstage.cli.options import Common
from downstage.cli.running import quiet

__all__ = ["files", "live"]

files = App(
    name="files",
    help="Files anywhere: omniverse:, downstage:, http(s):, s3:, file: and paths of this machine.",
)
live = App(name="live", help="Live layers: files that several people edit together.")
add_reading(files)
add_writing(files)


@live.command(name="watch")
def live_watch(
    url: str,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
    common: Common | None = None,
) -> None:
    """Print who comes and goes in a file's live layer, and each edit, until Ctrl-C.

    Parameters
    ----------
    url
        Of the file.
    as_json
        One object a line.
    """
    from downstage.cli.content.live_watch import watch_live

    watch_live(quiet(common), url, as_json=as_json)
