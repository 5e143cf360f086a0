"""``downstage files``: the commands that change something."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from downstage.cli.options import Common
from downstage.cli.running import quiet

__all__ = ["add_writing"]

Recursive = Annotated[bool, Parameter(name=("--recursive", "-r"), negative="")]
DryRun = Annotated[bool, Parameter(name=("--dry-run", "-n"), negative="")]
Message = Annotated[str, Parameter(name=("--message", "-m"))]
Quiet = Annotated[bool, Parameter(name=("--quiet", "-q"), negative="")]
Force = Annotated[bool, Parameter(name=("--force", "-f"), negative="")]
Flag = Parameter(negative="")
REFUSED = 1


def add_writing(files: App) -> None:
    """Let *files* have them."""
    files.command(name="cp")(files_cp)
    files.command(name="sync")(files_sync)
    files.command(name="mv")(files_mv)
    files.command(name="rm")(files_rm)
    files.command(name="undelete")(files_undelete)
    files.command(name="mkdir")(files_mkdir)
    files.command(name="checkpoint")(files_checkpoint)
    files.command(name="restore")(files_restore)
    files.command(name="acl")(files_acl)
    files.command(name="lock")(files_lock)
    files.command(name="unlock")(files_unlock)


def _end(is_good: bool) -> None:
    if not is_good:
        sys.exit(REFUSED)


def files_cp(
    *urls: str,
    recursive: Recursive = False,
    overwrite: Annotated[bool, Flag] = False,
    dry_run: DryRun = False,
    message: Message = "",
    parallel: int = 4,
    silent: Quiet = False,
    common: Common | None = None,
) -> None:
    """Copy files and folders: downstage files cp -r scenes omniverse://localhost/Projects/.

    Run it again after an interruption: it goes on where it stopped.

    Parameters
    ----------
    urls
        What to copy, and last where to: a folder, or a name that is free.
    recursive
        Folders with all in them.
    overwrite
        Replace other files of the same name.
    dry_run
        Only show what would be done.
    message
        Keep each file as a checkpoint with this comment, where the server does that.
    parallel
        How many files at once.
    silent
        Say nothing but what went wrong.
    """
    from downstage.cli.content.planning import Wish
    from downstage.cli.content.transfer import Manner, copy
    from downstage.cli.content.words import with_target

    sources, target = with_target(urls, "cp")
    manner = Manner(max(1, parallel), silent, dry_run, message)
    _end(copy(quiet(common), sources, target, Wish(recursive, overwrite), manner))


def files_sync(
    source: str,
    target: str,
    *,
    delete: Annotated[bool, Flag] = False,
    dry_run: DryRun = False,
    message: Message = "",
    parallel: int = 4,
    silent: Quiet = False,
    common: Common | None = None,
) -> None:
    """Make one folder hold what another holds; only what differs is copied.

    Parameters
    ----------
    source
        The folder to copy from; it is only read.
    target
        The folder to change.
    delete
        Delete in the target what the source has not.
    dry_run
        Only show what would be done.
    message
        Keep each file as a checkpoint with this comment, where the server does that.
    parallel
        How many files at once.
    silent
        Say nothing but what went wrong.
    """
    from downstage.cli.content.planning import Wish
    from downstage.cli.content.transfer import Manner, sync

    manner = Manner(max(1, parallel), silent, dry_run, message)
    _end(sync(quiet(common), source, target, Wish(True, True, delete), manner))


def files_mv(
    *urls: str,
    overwrite: Annotated[bool, Flag] = False,
    dry_run: DryRun = False,
    message: Message = "",
    silent: Quiet = False,
    common: Common | None = None,
) -> None:
    """Move or rename files and folders; history and rights go with them inside one server.

    Parameters
    ----------
    urls
        What to move, and last where to: a folder, or a name that is free.
    overwrite
        Replace what is there.
    dry_run
        Only show what would be done.
    message
        Of the checkpoint that it makes, where bytes are copied.
    silent
        Say nothing but what went wrong.
    """
    from downstage.cli.content.transfer import Manner, move
    from downstage.cli.content.words import with_target

    sources, target = with_target(urls, "mv")
    manner = Manner(4, silent, dry_run, message)
    _end(move(quiet(common), sources, target, overwrite=overwrite, manner=manner))


def files_rm(
    *urls: str,
    recursive: Recursive = False,
    force: Force = False,
    dry_run: DryRun = False,
    common: Common | None = None,
) -> None:
    """Delete files and folders; a content server can bring them back.

    Parameters
    ----------
    urls
        What to delete.
    recursive
        Folders with all in them.
    force
        Do not ask, and do not mind what is gone already.
    dry_run
        Only show what would be done.
    """
    from downstage.cli.content.changes import remove
    from downstage.cli.content.words import needed

    needed(urls, "what to delete", "rm omniverse://localhost/Projects/old.usd")
    _end(remove(quiet(common), urls, recursive=recursive, force=force, dry_run=dry_run))


def files_undelete(*urls: str, common: Common | None = None) -> None:
    """Bring back what was deleted; downstage files ls --deleted shows it.

    Parameters
    ----------
    urls
        Of the things, as they were.
    """
    from downstage.cli.content.changes import undelete
    from downstage.cli.content.words import needed

    needed(urls, "what to bring back", "undelete omniverse://localhost/Projects/old.usd")
    undelete(quiet(common), urls)


def files_mkdir(
    *urls: str,
    parents: Annotated[bool, Parameter(name=("--parents", "-p"), negative="")] = False,
    common: Common | None = None,
) -> None:
    """Make folders.

    Parameters
    ----------
    urls
        Of the folders.
    parents
        Those above too; one that is there already is fine.
    """
    from downstage.cli.content.changes import make_folder
    from downstage.cli.content.words import needed

    needed(urls, "a folder", "mkdir omniverse://localhost/Projects")
    make_folder(quiet(common), urls, parents=parents)


def files_checkpoint(
    url: str, *, message: Message, force: Force = False, common: Common | None = None
) -> None:
    """Keep a file as it is now; prints the address of what was kept.

    Parameters
    ----------
    url
        Of the file.
    message
        What for.
    force
        Even where nothing changed since the last one.
    """
    from downstage.cli.content.changes import make_checkpoint

    make_checkpoint(quiet(common), url, message, force=force)


def files_restore(url: str, *, common: Common | None = None) -> None:
    """Make a checkpoint the present content again; that makes a new checkpoint.

    Parameters
    ----------
    url
        Of the file with the checkpoint: 'omniverse://localhost/scene.usd?&3'.
    """
    from downstage.cli.content.changes import restore

    restore(quiet(common), url)


def files_acl(
    url: str | None = None,
    *,
    put: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = (),
    remove: Annotated[tuple[str, ...], Flag] = (),
    explain: str | None = None,
    common: Common | None = None,
) -> None:
    """Show or change who may do what: downstage files acl URL --set group:artists=rw.

    Parameters
    ----------
    url
        Of the file or folder [default: the root of the platform that runs].
    put
        WHO=RIGHTS: user:NAME, group:NAME or everyone; r read, w write, a give rights to others,
        after a - what is taken away. May be repeated.
    remove
        WHO has no entry of their own here any longer. May be repeated.
    explain
        Say where somebody's rights come from.
    """
    from downstage.cli.content import rights
    from downstage.cli.content.desk import address

    settings = quiet(common)
    there = address(settings, url)
    if put or remove:
        rights.change_acl(settings, there, put, remove)
    elif explain:
        rights.explain(settings, there, explain)
    else:
        rights.show_acl(settings, there)


def files_lock(
    url: str,
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    common: Common | None = None,
) -> None:
    """Let nobody else change a file while a command runs: downstage files lock URL -- vim copy.txt.

    Parameters
    ----------
    url
        Of the file.
    command
        The program and its arguments, after --; none: until Ctrl-C.
    """
    from downstage.cli.content.rights import hold_lock

    sys.exit(hold_lock(quiet(common), url, command))


def files_unlock(url: str, *, force: Force = False, common: Common | None = None) -> None:
    """Free a file that is locked.

    Parameters
    ----------
    url
        Of the file.
    force
        Whoever has it locked; needs the right to give rights there.
    """
    from downstage.cli.content.rights import release_lock

    release_lock(quiet(common), url, force=force)
