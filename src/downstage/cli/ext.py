"""``downstage ext``: make, develop, list and steer extensions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from downstage.cli.options import Common
from downstage.cli.running import quiet, run

__all__ = ["ext"]

ext = App(name="ext", help="Extensions: routes and services of your own.")


@ext.command(name="new")
def ext_new(name: str, *, folder: Path | None = None) -> None:
    """Make a working extension with a test: downstage ext new hello.

    Parameters
    ----------
    name
        Its name: letters, digits, dots, dashes; company.tools.hello is a good one.
    folder
        Where its folder is made [default: here].
    """
    from downstage.cli.scaffold import make_extension, next_steps

    made = make_extension(name, folder or Path.cwd())
    print(next_steps(made))


@ext.command(name="dev")
def ext_dev(
    path: Path,
    *,
    host: str | None = None,
    port: int | None = None,
    tls: Annotated[tuple[Path, Path] | None, Parameter(negative="")] = None,
    demo: Annotated[bool, Parameter(negative="")] = False,
    assign: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    common: Common | None = None,
) -> None:
    """Serve an extension and load it anew when a file changes: downstage ext dev hello.

    Parameters
    ----------
    path
        Folder of the extension, or one with several.
    host
        Address to bind [default: 127.0.0.1]; a public one needs --tls or --demo.
    port
        Port [default: 8011]; 0 takes a free one.
    tls
        Certificate chain and key, PEM.
    demo
        Serve a public address although nothing is encrypted and anybody may call.
    assign
        A setting: --set 'exts."name".key=value', or --/exts/name/key=value.
    """
    from downstage.cli.ext_dev import Wish, develop

    common = common or Common()
    run(develop(Wish(path, host, port, tls, demo, assign, common.data, common.config)))


@ext.command(name=["ls", "list"])
def ext_list(*, common: Common | None = None) -> None:
    """Extensions of the running platform: state, time of start, and why one does not run."""
    from downstage.cli.ext_remote import list_extensions

    run(list_extensions(quiet(common)))


@ext.command(name="enable")
def ext_enable(name: str, *, common: Common | None = None) -> None:
    """Start an extension, and what it needs."""
    from downstage.cli.ext_remote import change_extension

    run(change_extension(quiet(common), name, "enable"))


@ext.command(name="disable")
def ext_disable(name: str, *, common: Common | None = None) -> None:
    """Stop an extension until it is enabled or the platform restarts; what needs it stops first."""
    from downstage.cli.ext_remote import change_extension

    run(change_extension(quiet(common), name, "disable"))


@ext.command(name="reload")
def ext_reload(name: str, *, common: Common | None = None) -> None:
    """Read an extension's files anew and start it again."""
    from downstage.cli.ext_remote import change_extension

    run(change_extension(quiet(common), name, "reload"))
