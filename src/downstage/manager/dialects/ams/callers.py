"""Who calls: by a client certificate that is trusted, or by a token of ours.

The port of this dialect asks for a certificate; `CERTIFICATE` in a request's scope is the one that
the TLS handshake proved. A certificate stands for the person who had it trusted, and holds no more
than that person held then; it counts as long as the token by which it was trusted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256

from cryptography import x509
from starlette.requests import HTTPConnection

from downstage.auth.principal import Principal
from downstage.kernel.errors import Forbidden, InvalidToken, Unauthenticated
from downstage.manager.dialects.ams.store import AmsStore
from downstage.services.facilities.principal import bearer_token, context_authenticator

__all__ = ["CERTIFICATE", "Callers", "fingerprint_of"]

CERTIFICATE = "downstage.ams.certificate"
"""Key of a scope: the client's certificate, DER, which the handshake proved."""
KINDS = ("user", "token", "service")


def fingerprint_of(certificate: bytes) -> str:
    """SHA-256 of a certificate's DER form, hexadecimal."""
    return sha256(certificate).hexdigest()


class Callers:
    """Tells who calls, and checks what they may.

    Args:
        store: trusted certificates.
    """

    def __init__(self, store: AmsStore) -> None:
        self._store = store

    def by_certificate(self, connection: HTTPConnection) -> Principal | None:
        """Whom the client's certificate stands for, if it is trusted."""
        shown: object = connection.scope.get(CERTIFICATE)
        if not isinstance(shown, bytes):
            return None
        fingerprint = fingerprint_of(shown)
        known = self._store.find(fingerprint)
        if known is None:
            return None
        return Principal(
            known.subject,
            known.name,
            "token",
            tenant=known.tenant,
            scopes=frozenset(known.scopes),
            token_id=known.token_id,
            expires_at=datetime.fromisoformat(known.expires_at),
        )

    async def find(self, connection: HTTPConnection) -> Principal | None:
        """Who calls; None where nothing says it.

        Raises:
            InvalidToken: a token that does not count.
        """
        found = self.by_certificate(connection)
        if found is not None and not context_authenticator(connection).counts(found):
            # The token that had it trusted was revoked, is over, or its person was removed.
            raise InvalidToken
        if found is not None and datetime.now(UTC) >= _end_of(connection.scope[CERTIFICATE]):
            raise InvalidToken  # a connection may outlive what its handshake proved
        if found is not None or connection.headers.get("authorization") is None:
            return found
        return await context_authenticator(connection).principal(bearer_token(connection))

    async def need(self, connection: HTTPConnection, scope: str) -> Principal:
        """Who calls, if they may.

        Raises:
            Unauthenticated, InvalidToken: nobody who is known.
            Forbidden: somebody without *scope*.
        """
        found = await self.find(connection)
        if found is None:
            raise Unauthenticated(
                "This needs a trusted client certificate, or a bearer token. "
                "Have the certificate trusted by POST /1.0/certificates."
            )
        if found.kind not in KINDS or not found.may(scope):
            raise Forbidden(f"This needs the scope {scope}.", scope=scope)
        return found


@lru_cache(maxsize=256)
def _end_of(certificate: bytes) -> datetime:
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc
