"""The commands of ``downstage app``, ``node`` and ``instance``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from downstage.cli.fleet.desk import At, Json
from downstage.cli.running import run

__all__ = ["app", "instance", "node"]

app = App(name="app", help="Applications: publish versions of them, list and remove them.")
node = App(name="node", help="Nodes: what runs where, and making room.")
instance = App(name="instance", help="Instances: what runs, what it wrote, programs inside.")
Force = Annotated[bool, Parameter(negative="")]


@app.command(name="ls")
def app_ls(*, as_json: Json = False, at: At | None = None) -> None:
    """List applications with their versions and profiles."""
    from downstage.cli.fleet.applications import list_applications

    run(list_applications(at, as_json=as_json))


@app.command(name="show")
def app_show(name: str, *, at: At | None = None) -> None:
    """Print all that is known of an application, as JSON."""
    from downstage.cli.fleet.applications import show_application

    run(show_application(at, name))


@app.command(name="publish")
def app_publish(
    source: Path,
    *,
    name: str | None = None,
    draft: Annotated[bool, Parameter(negative="")] = False,
    at: At | None = None,
) -> None:
    """Publish a folder with an application.toml, or an archive of one.

    Parameters
    ----------
    source
        Folder, zip, tar or tar.gz.
    name
        Application that this is a further version of [default: as its manifest says].
    draft
        Upload the version without publishing it.
    """
    from downstage.cli.fleet.applications import publish

    run(publish(at, source, name=name, draft=draft))


@app.command(name="release")
def app_release(name: str, version: int, *, at: At | None = None) -> None:
    """Publish a version that was a draft or was taken back."""
    from downstage.cli.fleet.applications import set_published

    run(set_published(at, name, version, published=True))


@app.command(name="revoke")
def app_revoke(name: str, version: int, *, at: At | None = None) -> None:
    """Take a version back: sessions that run it go on, new ones take another."""
    from downstage.cli.fleet.applications import set_published

    run(set_published(at, name, version, published=False))


@app.command(name="rm")
def app_rm(
    name: str,
    *,
    version: int | None = None,
    force: Force = False,
    at: At | None = None,
) -> None:
    """Remove an application, or one version of it.

    Parameters
    ----------
    version
        Only this version.
    force
        End the instances that run it, too.
    """
    from downstage.cli.fleet.applications import remove

    run(remove(at, name, version, force=force))


@node.command(name="ls")
def node_ls(*, as_json: Json = False, at: At | None = None) -> None:
    """List nodes and what of them is taken."""
    from downstage.cli.fleet.nodes import list_nodes

    run(list_nodes(at, as_json=as_json))


@node.command(name="cordon")
def node_cordon(name: str, *, at: At | None = None) -> None:
    """Place nothing new on a node; what runs there goes on."""
    from downstage.cli.fleet.nodes import mark

    run(mark(at, name, cordoned=True))


@node.command(name="uncordon")
def node_uncordon(name: str, *, at: At | None = None) -> None:
    """Place instances on a node again."""
    from downstage.cli.fleet.nodes import mark

    run(mark(at, name, cordoned=False))


@node.command(name="drain")
def node_drain(
    name: str,
    *,
    deadline: float = 0,
    wait: Annotated[bool, Parameter(negative="--no-wait")] = True,
    at: At | None = None,
) -> None:
    """Empty a node: nothing new comes, what runs there is ended.

    Parameters
    ----------
    deadline
        Seconds that instances may go on before they are ended.
    wait
        Wait until the node is empty.
    """
    from downstage.cli.fleet.nodes import drain

    run(drain(at, name, deadline_s=deadline, wait=wait))


@instance.command(name="ls")
def instance_ls(
    *,
    with_ended: Annotated[bool, Parameter(name="--all", negative="")] = False,
    as_json: Json = False,
    at: At | None = None,
) -> None:
    """List instances that have not ended, newest first.

    Parameters
    ----------
    with_ended
        Those that ended within the last week, too.
    """
    from downstage.cli.fleet.instances import list_instances

    run(list_instances(at, with_ended=with_ended, as_json=as_json))


@instance.command(name="logs")
def instance_logs(name: str, log: str | None = None, *, at: At | None = None) -> None:
    """Print the end of a log of an instance, or which logs there are.

    Parameters
    ----------
    name
        Id or name of the instance.
    log
        Which log [default: their names are printed].
    """
    from downstage.cli.fleet.instances import show_logs

    run(show_logs(at, name, log))


@instance.command(name="exec")
def instance_exec(
    name: str,
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    tty: Annotated[bool | None, Parameter(name="--tty")] = None,
    at: At | None = None,
) -> None:
    """Run a program inside an instance: downstage instance exec ID -- sh -l.

    Parameters
    ----------
    name
        Id or name of the instance.
    command
        The program and its arguments.
    tty
        Give it a terminal [default: where this is one].
    """
    import sys

    from downstage.cli.fleet.instances import execute

    words = list(command[1:] if command[:1] == ("--",) else command) or ["sh"]
    with_tty = sys.stdin.isatty() and sys.stdout.isatty() if tty is None else tty
    sys.exit(run(execute(at, name, words, with_tty=with_tty)))
