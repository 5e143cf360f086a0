"""``downstage files``: the commands that only look."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from downstage.cli.options import Common
from downstage.cli.running import quiet

__all__ = ["add_reading"]

Json = Annotated[bool, Parameter(name="--json", negative="")]
Flag = Parameter(negative="")


def add_reading(files: App) -> None:
    """Let *files* have them."""
    files.command(name="ls")(files_ls)
    files.command(name="tree")(files_tree)
    files.command(name="stat")(files_stat)
    files.command(name="cat")(files_cat)
    files.command(name="du")(files_du)
    files.command(name="watch")(files_watch)
    files.command(name="checkpoints")(files_checkpoints)


def files_ls(
    url: str | None = None,
    *,
    deleted: Annotated[bool, Flag] = False,
    as_json: Json = False,
    common: Common | None = None,
) -> None:
    """List a folder: when changed, how large, by whom.

    Parameters
    ----------
    url
        Of the folder [default: the root of the platform that runs].
    deleted
        Deleted things too, which undelete brings back.
    as_json
        One object a line.
    """
    from downstage.cli.content.desk import address
    from downstage.cli.content.views import print_listing

    settings = quiet(common)
    print_listing(settings, address(settings, url), deleted=deleted, as_json=as_json)


def files_tree(
    url: str | None = None,
    *,
    depth: Annotated[int, Parameter(name=("--depth", "-L"))] = 0,
    common: Common | None = None,
) -> None:
    """Draw a folder with all below it.

    Parameters
    ----------
    url
        Of the folder [default: the root of the platform that runs].
    depth
        How many levels [default: all].
    """
    from downstage.cli.content.desk import address
    from downstage.cli.content.views import print_tree

    settings = quiet(common)
    print_tree(settings, address(settings, url), depth=depth)


def files_stat(*urls: str, as_json: Json = False, common: Common | None = None) -> None:
    """Tell all that is known of files and folders.

    Parameters
    ----------
    urls
        Of the things; ?&3 after one names its third checkpoint.
    as_json
        One object a line.
    """
    from downstage.cli.content.desk import address
    from downstage.cli.content.views import print_entry

    settings = quiet(common)
    print_entry(settings, urls or [address(settings, None)], as_json=as_json)


def files_cat(*urls: str, common: Common | None = None) -> None:
    """Write the bytes of files to standard output.

    Parameters
    ----------
    urls
        Of the files; ?&3 after one names its third checkpoint.
    """
    from downstage.cli.content.views import print_content
    from downstage.cli.content.words import needed

    print_content(quiet(common), needed(urls, "a file", "cat omniverse://localhost/readme.txt"))


def files_du(
    url: str | None = None, *, as_json: Json = False, common: Common | None = None
) -> None:
    """Add up how much lies in a folder, and in each thing in it.

    Parameters
    ----------
    url
        Of the folder [default: the root of the platform that runs].
    as_json
        One object.
    """
    from downstage.cli.content.desk import address
    from downstage.cli.content.views import print_usage

    settings = quiet(common)
    print_usage(settings, address(settings, url), as_json=as_json)


def files_watch(
    url: str | None = None,
    *,
    recursive: Annotated[bool, Parameter(name=("--recursive", "-r"), negative="")] = False,
    as_json: Json = False,
    common: Common | None = None,
) -> None:
    """Print what happens to a file, or in a folder, until Ctrl-C.

    Parameters
    ----------
    url
        Of the file or folder [default: the root of the platform that runs].
    recursive
        In all folders below too.
    as_json
        One object a line.
    """
    from downstage.cli.content.desk import address
    from downstage.cli.content.watching import watch

    settings = quiet(common)
    watch(settings, address(settings, url), recursive=recursive, as_json=as_json)


def files_checkpoints(url: str, *, as_json: Json = False, common: Common | None = None) -> None:
    """List what was kept of a file, newest first.

    Parameters
    ----------
    url
        Of the file.
    as_json
        One object a line.
    """
    from downstage.cli.content.views import print_checkpoints

    print_checkpoints(quiet(common), url, as_json=as_json)
