"""``downstage turn``: a TURN server's configuration and the secret that it shares with us."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from downstage.cli.network.coturn import RelayPlan, coturn, read_or_make_secret
from downstage.kernel.errors import SetupError

__all__ = ["turn"]

turn = App(name="turn", help="A TURN server, for people whom no straight path reaches.")


@turn.command
def config(
    address: str,
    *,
    relay: tuple[str, ...] = (),
    realm: str = "downstage",
    allow: tuple[str, ...] = (),
    certificate: Path | None = None,
    key: Path | None = None,
    to: Annotated[Path, Parameter(name="--to")] = Path("downstage-turn"),
) -> None:
    """Write coturn's configuration and the secret, and say how to use both.

    Parameters
    ----------
    address
        Address that the server listens on: one, never all.
    relay
        Addresses that pictures leave by, at most one for IPv4 and one for IPv6; as *address*.
    realm
        Name that clients are shown.
    allow
        Addresses of streamers in a private network that it may reach all the same.
    certificate, key
        PEM files for TLS; without them there is none.
    to
        Folder for ``turnserver.conf`` and ``secret``; a secret that lies there is kept.
    """
    if (certificate is None) != (key is None):
        raise SetupError("--certificate and --key go together.")
    secret = read_or_make_secret(to / "secret")
    plan = RelayPlan(
        listen=address,
        realm=realm,
        secret=secret,
        relays=relay,
        certificate=certificate,
        key=key,
        allowed=allow,
    )
    _write(to / "turnserver.conf", coturn(plan))
    url = f"turns:{address}:{plan.tls_port}?transport=tcp" if key else f"turn:{address}:{plan.port}"
    print(f"Written: {to / 'turnserver.conf'} (it holds the secret) and {to / 'secret'}.\n")
    print("1. Start coturn 4.9 or newer with it:")
    print(f"     turnserver -c {to / 'turnserver.conf'}")
    print("2. Tell Downstage, in its settings:")
    print("     [turn]")
    print(f'     urls = ["{url}"]')
    print(f'     secret_file = "{(to / "secret").absolute()}"')
    print("3. Try it:")
    print("     downstage doctor --network")


def _write(path: Path, text: str) -> None:
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
