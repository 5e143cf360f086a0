"""Files keys: API tokens under two short names, for protocols that cannot carry a token.

The *access key id* is the id of an API token; the *secret* is derived from it with a key that only
identity has. Nothing more than the token's row is stored: the secret is shown to its maker once,
and to the content service whenever a signature must be checked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import timedelta

from sqlalchemy import select

from downstage.auth.principal import Principal
from downstage.auth.seal import Sealer
from downstage.auth.tokens import Signed
from downstage.contracts.identity import FilesKeySecret
from downstage.identity.issue import Issuer
from downstage.identity.keys import KeyRing
from downstage.identity.state import read_state, write_state
from downstage.identity.tables import tokens
from downstage.identity.users import Users
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Forbidden, InvalidField, NotFound
from downstage.kernel.ids import new_secret
from downstage.services.facilities.database import Database

__all__ = ["FilesKeys"]

STATE = "files-key-secret"
SCOPES = ("files:read", "files:write", "files:admin")
LEASE = timedelta(minutes=10)
"""Life of the token that stands for a key; it is revoked with the key."""


class FilesKeys:
    """Makes and opens files keys.

    Args:
        database: identity's.
        sealer: seals what secrets are derived with.
        issue: makes the tokens behind them.
        keys: signs what stands for a key.
        users: whose they are.
        clock: of the platform.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        *,
        issue: Issuer,
        keys: KeyRing,
        users: Users,
        clock: Clock,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._issue = issue
        self._keys = keys
        self._users = users
        self._clock = clock
        self._root: bytes | None = None

    async def make(
        self, owner: Principal, name: str, scopes: Iterable[str] | None, lifetime: timedelta | None
    ) -> FilesKeySecret:
        """A new key of *owner*; without *scopes* it may do with files what the owner may.

        Raises:
            InvalidField: a scope that is not one of files.
            Forbidden: more than the owner holds, or nothing at all; or the owner is nobody.
        """
        if await self._users.find_subject(owner.subject) is None:
            raise Forbidden("A files key is a person's own: sign in as one.")
        wanted = set(scopes) if scopes is not None else {s for s in SCOPES if owner.may(s)}
        if unknown := sorted(wanted.difference(SCOPES)):
            raise InvalidField("scopes", f"{unknown[0][:64]} is not a scope of files.")
        if not wanted:
            raise Forbidden("You may not read files, so a key would open nothing.")
        made = await self._issue.for_program(owner, name, wanted, lifetime)
        return FilesKeySecret(
            access_key_id=made.id,
            secret_access_key=await self._secret(made.id),
            name=made.name,
            scopes=made.scopes,
            created_at=made.created_at,
            expires_at=made.expires_at,
        )

    async def open(self, key_id: str) -> tuple[str, Signed]:
        """The secret of a key, and a token of some minutes that stands for it.

        Raises:
            NotFound: there is no such key, or it counts no longer.
        """
        now = self._clock.now().timestamp()
        async with self._database.read() as connection:
            row = (
                await connection.execute(
                    select(tokens).where(
                        tokens.c.id == key_id,
                        tokens.c.kind == "token",
                        tokens.c.expires_at > now,
                    )
                )
            ).first()
        person = await self._users.find_subject(row.owner) if row is not None else None
        # Of an API token that may do more, what stands for it here may do with files alone.
        scopes = frozenset(row.scopes).intersection(SCOPES) if row is not None else None
        if row is None or person is None or person.disabled or not scopes:
            raise NotFound("There is no such key.")
        principal = Principal(
            subject=person.subject,
            name=person.name,
            kind="token",
            tenant=row.tenant,
            scopes=scopes,
        )
        lifetime = min(LEASE, timedelta(seconds=row.expires_at - now))
        signed = await self._keys.sign(principal, lifetime, token_id=key_id)
        return await self._secret(key_id), signed

    async def _secret(self, key_id: str) -> str:
        if self._root is None:
            self._root = await self._load_root()
        digest = hmac.new(self._root, f"files-key:{key_id}".encode(), hashlib.sha256).digest()
        return base64.b32encode(digest[:25]).decode("ascii").lower()

    async def _load_root(self) -> bytes:
        """What secrets are derived with: made once, kept sealed."""
        async with self._database.write() as connection:
            sealed = await read_state(connection, STATE)
            if sealed is None:
                sealed = self._sealer.seal(new_secret(32), STATE)
                await write_state(connection, STATE, sealed)
        return self._sealer.open(sealed, STATE).encode()
