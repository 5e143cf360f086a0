"""How a client of this dialect is told where to connect: a seat, a ticket, ICE servers.

The address opens its socket once, within a minute. Its host is the session's home: whichever
gateway was asked, the client need not know.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode, urlsplit, urlunsplit

from downstage.auth.principal import Principal
from downstage.contracts.gateway import Role
from downstage.gateway.admission import Admission
from downstage.gateway.dialects.anbox.models import Connection, IceServer
from downstage.gateway.lines import SOLE
from downstage.gateway.models import Seat, Session
from downstage.gateway.rooms import Rooms
from downstage.gateway.sessions import Sessions
from downstage.gateway.tickets import TicketOffice
from downstage.kernel.errors import Misdirected

__all__ = ["Connector", "ice_servers"]

SCHEMES = {"http": "ws", "https": "wss"}
TURN = ("turn:", "turns:")
STUN = "stun:"


class Connector:
    """Seats clients.

    Args:
        sessions, rooms, admission: of this gateway.
        office: mints tickets.
    """

    def __init__(
        self, sessions: Sessions, rooms: Rooms, admission: Admission, office: TicketOffice
    ) -> None:
        self._sessions = sessions
        self._rooms = rooms
        self._admission = admission
        self._office = office

    async def person(self, caller: Principal, session: Session, socket: str) -> Connection:
        """Somebody signed in connects; the same person has the same seat each time."""
        seat = _sole_seat(session, caller.person or caller.subject)
        return await self.seat(session, seat, "controller", caller.subject, socket)

    async def seat(
        self, session: Session, seat_id: str, role: Role, subject: str, socket: str
    ) -> Connection:
        """Whoever holds that seat connects."""
        try:
            session = await self._admission.at_home(session)
            home = session.home
        except Misdirected as error:
            home = error.home  # the client goes straight there
        now = self._sessions.now().wall
        wanted = Seat(seat_id, session.id, session.tenant, subject, role, now)
        seat = await self._sessions.store.keep_seat(wanted)
        ticket = await self._office.socket_ticket("signalling", seat)
        return Connection(
            id=session.id,
            url=_address(home, session.id, socket, ticket.ticket),
            stun_servers=ice_servers(self._rooms.servers(session.id, seat.id)),
        )


def ice_servers(servers: Sequence[Mapping[str, str]]) -> list[IceServer]:
    """*servers* as clients of this dialect can take them.

    Another scheme, or TURN without credentials, makes a browser throw where nobody catches: such
    a server is left out.
    """
    found = list[IceServer]()
    for server in servers:
        url, name = server.get("urls", ""), server.get("username", "")
        password = server.get("credential", "")
        if url.startswith(STUN) or (url.startswith(TURN) and name and password):
            found.append(
                IceServer(urls=[url], username=name, password=password, credential=password)
            )
    return found


def _sole_seat(session: Session, subject: str) -> str:
    """A person's seat: who comes again takes the same, and puts out who came before."""
    digest = hashlib.sha256(f"{session.id}\0{subject}".encode()).digest()
    return SOLE + base64.b32encode(digest)[:26].decode().lower()


def _address(home: str, session_id: str, socket: str, ticket: str) -> str:
    parts = urlsplit(home)
    path = f"{parts.path.rstrip('/')}/1.0/sessions/{session_id}/sockets/{socket}"
    query = urlencode({"token": ticket})
    return urlunsplit((SCHEMES.get(parts.scheme, "ws"), parts.netloc, path, query, ""))
