"""Identity as one object: what its routes, its extension and the command line call."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio.to_thread

from downstage.auth.scopes import ADMINS, SCOPES
from downstage.auth.seal import Sealer
from downstage.auth.tokens import Signed
from downstage.bus import Bus, MemoryBus
from downstage.identity.files_keys import FilesKeys
from downstage.identity.folder import DATABASE, KEY, claim_folder
from downstage.identity.guard import LoginGuard
from downstage.identity.issue import Issuer
from downstage.identity.keys import KeyRing
from downstage.identity.passwords import Passwords
from downstage.identity.revocations import Listener, Revocations
from downstage.identity.state import read_state, write_state
from downstage.identity.tickets import TicketOffice
from downstage.identity.users import Users
from downstage.kernel.clock import Clock, SystemClock
from downstage.kernel.errors import InvalidToken, NotFound, SetupError, Unauthenticated
from downstage.kernel.ids import new_secret
from downstage.kernel.logging import get_logger
from downstage.kernel.net import is_loopback
from downstage.kernel.settings import Settings
from downstage.services.facilities.database import Database, open_database

__all__ = ["ALL", "DEMO_USER", "IdentityService", "open_identity"]

ALL = frozenset(SCOPES)
"""What whoever owns the data folder holds: the command line passes it as `held`."""
DEMO_USER = "demo"
DEMO_PASSWORD = "demo-password"  # noqa: S105 - the name of a fact, and of its place
SETUP_TTL = timedelta(hours=24)
SETUP_SUBJECT = "setup:first-administrator"
MAX_GUEST = 128
log = get_logger(__name__)


class IdentityService:
    """Users, tokens, tickets and keys on one database.

    Args:
        database: identity's, opened.
        sealer: seals private keys.
        bus, clock: of the platform.
        settings: the platform's.
        boot_secret: what the host shows to get service tokens; empty refuses everybody.
        passwords: with other parameters, for tests.
        on_revoked: hears of revoked tokens before the answer goes out.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        *,
        bus: Bus,
        clock: Clock,
        settings: Settings,
        boot_secret: str,
        passwords: Passwords | None = None,
        on_revoked: Listener | None = None,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._demo = settings.platform.demo
        self._takes_guests = self._demo and is_loopback(settings.platform.host)
        self._passwords = passwords or Passwords()
        self.guard = LoginGuard(settings.identity.login_attempts)
        self.keys = KeyRing(database, sealer, clock, settings.identity.key_rotation)
        self.revocations = Revocations(database, bus, clock, on_revoked)
        self.tickets = TicketOffice(database, clock)
        self.users = Users(database, self._passwords, self.revocations, self.tickets, clock)
        self.issue = Issuer(
            database,
            self.keys,
            self.users,
            self.revocations,
            clock,
            sign_in_ttl=settings.identity.token_ttl,
            boot_secret=boot_secret,
        )
        self.files_keys = FilesKeys(
            database, sealer, issue=self.issue, keys=self.keys, users=self.users, clock=clock
        )

    async def prepare(self) -> None:
        """Get ready to serve.

        Raises:
            SetupError: the database belongs to the other mode (demo or real).
        """
        await self._passwords.prepare()
        mode = "demo" if self._demo else "real"
        async with self._database.write() as connection:
            found = await read_state(connection, "mode")
            if found is None:
                await write_state(connection, "mode", mode)
        if found not in (None, mode):
            raise SetupError(f"The identity database belongs to a {found} installation.")

    async def demo_password(self) -> str:
        """The demo user's password: made once, kept sealed, so that a restart signs nobody out.

        Raises:
            NotFound: this is no demo.
        """
        if not self._demo:
            raise NotFound("This is no demo.")
        async with self._database.read() as connection:
            sealed = await read_state(connection, DEMO_PASSWORD)
        if sealed is not None:
            return self._sealer.open(sealed, DEMO_PASSWORD)
        password = new_secret(16)
        encoded = await self._passwords.hash(password)
        async with self._database.write() as connection:
            await self.users.add_in(connection, DEMO_USER, encoded, ())
            sealed = self._sealer.seal(password, DEMO_PASSWORD)
            await write_state(connection, DEMO_PASSWORD, sealed)
        return password

    async def setup_code(self) -> str | None:
        """The code that makes the first administrator, in place of any before; None: there is one.

        A demo never has one.
        """
        if self._demo:
            return None
        async with self._database.write() as connection:
            if await self.users.has_admin(connection):
                return None
            await self.tickets.void(connection, "main", SETUP_SUBJECT)
        code, _ = await self.tickets.mint("setup", SETUP_SUBJECT, SETUP_TTL)
        return code

    async def sign_in_guest(
        self, name: str, address: str, lifetime: timedelta | None = None
    ) -> Signed | None:
        """A demo's user under whatever *name* they like, without a password.

        None where that is not for them: this is no demo, the machine can be reached by others,
        they come from elsewhere, the name is not one to show or belongs to a real user.
        """
        if not self._takes_guests or not is_loopback(address) or not _is_guest_name(name):
            return None
        if name.lower() != DEMO_USER and await self.users.find(name) is not None:
            return None
        await self.demo_password()  # makes the demo's user, where there is none
        user = await self.users.find(DEMO_USER)
        if user is None or user.disabled:
            return None
        log.info("sign_in.guest", **{"pii.name": name, "pii.address": address})
        return await self.issue.for_user(user, lifetime, name=name)

    async def sign_in(
        self, name: str, password: str, address: str, lifetime: timedelta | None = None
    ) -> Signed:
        """Check name and password.

        Args:
            name: of a user.
            password: theirs.
            address: where they come from.
            lifetime: of the token, where it is to be shorter than usual.

        Raises:
            Unauthenticated: one of them is wrong, or the user is disabled: all the same.
            TooMany: too many attempts of that name or address.
        """
        await self.guard.begin(name, address)
        user = await self.users.find(name)
        right = await self._passwords.verify(user.password_hash if user else None, password)
        if user is None or not right or user.disabled:
            log.warning("sign_in.refused", **{"pii.name": name[:128], "pii.address": address})
            raise Unauthenticated("The name or the password is wrong.")
        await self.guard.forgive(name, address)
        if self._passwords.is_outdated(user.password_hash):
            await self.users.rehash(user, password)
        log.info("sign_in.accepted", **{"pii.name": user.name, "pii.address": address})
        return await self.issue.for_user(user, lifetime)

    async def token_for(self, name: str) -> Signed:
        """A sign-in without a password: for whoever owns the data folder.

        Raises:
            NotFound: no such user, or disabled.
        """
        user = await self.users.find(name)
        if user is None or user.disabled:
            raise NotFound("There is no such user.")
        return await self.issue.for_user(user)

    async def set_up(self, code: str, name: str, password: str, address: str) -> Signed:
        """Make the first administrator with the one-time code of the first start.

        Raises:
            InvalidToken: the code is used, expired or wrong, or there is an administrator.
            TooMany: too many attempts of that address.
        """
        await self.guard.begin(None, address)
        if not await self.tickets.is_valid(code, "setup"):
            raise InvalidToken("The set-up code is not valid.")
        encoded = await self._passwords.hash(password)
        async with self._database.write() as connection:
            await self.tickets.redeem_in(connection, code, "setup")
            if await self.users.has_admin(connection):
                raise InvalidToken("The set-up code is not valid.")
            user = await self.users.add_in(connection, name, encoded, (ADMINS,))
        await self.guard.forgive(None, address)
        return await self.issue.for_user(user)

    async def close(self) -> None:
        """Give the database back."""
        await self._database.close()


@asynccontextmanager
async def open_identity(
    settings: Settings,
    *,
    bus: Bus | None = None,
    clock: Clock | None = None,
    boot_secret: str = "",
    passwords: Passwords | None = None,
    on_revoked: Listener | None = None,
) -> AsyncGenerator[IdentityService]:
    """Identity on the data folder of *settings*, for the platform or the command line.

    The command line may open it beside a running platform; what it revokes counts there
    within `downstage.services.facilities.principal.REFRESH_S` seconds.

    Raises:
        SetupError: the folder belongs to the other mode, or its files are not as they must be.
    """
    data = settings.platform.data.absolute()

    def prepare() -> Sealer:
        claim_folder(data, demo=settings.platform.demo)
        return Sealer.from_file(data / KEY)

    sealer = await anyio.to_thread.run_sync(prepare)
    database = await open_database(
        data / DATABASE,
        name="identity",
        migrations="downstage.identity.migrations",
        url=settings.platform.database,
    )
    service = IdentityService(
        database,
        sealer,
        bus=bus or MemoryBus(),
        clock=clock or SystemClock(),
        settings=settings,
        boot_secret=boot_secret,
        passwords=passwords,
        on_revoked=on_revoked,
    )
    try:
        await service.prepare()
        yield service
    finally:
        with anyio.CancelScope(shield=True):
            await service.close()


def _is_guest_name(name: str) -> bool:
    return 1 <= len(name) <= MAX_GUEST and name.isprintable()
