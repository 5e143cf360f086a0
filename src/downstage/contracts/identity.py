"""What identity says: users, tokens, signing keys, one-time tickets.

Routes, all JSON. *internal* ones exist on ``local://identity`` (or its own port) alone and
demand a service token; the others are public too.

==========  =====================================  ==========================================
verb        path                                   body → answer
==========  =====================================  ==========================================
GET         /v1/.well-known/jwks.json              → JWKS of the ES256 keys in use
POST        /v1/auth/login                         LoginRequest → TokenAnswer
GET         /v1/auth/me                            → PrincipalView
POST        /v1/auth/setup                         SetupRequest → TokenAnswer (first administrator)
GET POST    /v1/users                              → UserPage / UserCreate → UserView
PATCH       /v1/users/{name}                       UserPatch → UserView
DELETE      /v1/users/{name}                       → 204
GET POST    /v1/tokens                             → ApiTokenPage / ApiTokenCreate →
                                                   ApiTokenSecret: API tokens of the caller
DELETE      /v1/tokens/{id}                        → 204, revoked at once
POST        /v1/files-keys                         ApiTokenCreate → FilesKeySecret: an API token
                                                   for WebDAV and S3, listed and revoked as such
POST        /v1/tickets              internal      TicketRequest → TicketAnswer
POST        /v1/tickets/redeem       internal      RedeemRequest → TicketClaims, 401 otherwise
POST        /v1/tickets/check        internal      RedeemRequest → 204, not spent; 401 otherwise
POST        /v1/service-tokens       internal      ServiceTokenRequest → TokenAnswer
POST        /v1/instance-tokens      internal      InstanceTokenRequest → TokenAnswer
DELETE      /v1/instance-tokens/{id} internal      → 204: what an instance may touch files with
GET         /v1/directory            internal      → DirectoryPage (`limit`, `after`)
POST        /v1/seat-tokens          internal      SeatTokenRequest → TokenAnswer
POST        /v1/sign-ins             internal      SignInRequest → TokenAnswer
POST        /v1/files-keys/open      internal      FilesKeyRequest → FilesKeyOpened, 404 otherwise
GET         /v1/revocations          internal      → RevocationList (ids of revoked tokens)
==========  =====================================  ==========================================
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, SecretStr

from downstage.contracts.wire import Answer, Request

__all__ = [
    "PEOPLE_CHANGED",
    "ApiTokenCreate",
    "ApiTokenPage",
    "ApiTokenSecret",
    "ApiTokenView",
    "DirectoryPage",
    "FileBound",
    "FilesKeyOpened",
    "FilesKeyRequest",
    "FilesKeySecret",
    "InstanceTokenRequest",
    "LoginRequest",
    "Person",
    "PrincipalView",
    "RedeemRequest",
    "RevocationList",
    "SeatTokenRequest",
    "ServiceTokenRequest",
    "SetupRequest",
    "SignInRequest",
    "StreamGrant",
    "TicketAnswer",
    "TicketClaims",
    "TicketRequest",
    "TicketUse",
    "TokenAnswer",
    "UserCreate",
    "UserPage",
    "UserPatch",
    "UserView",
]

TicketUse = Literal["join", "signalling", "media", "resume", "setup"]
"""What a ticket opens: a seat (join code), one of the two sockets, the same seat once more, or the
first set-up."""

PEOPLE_CHANGED = "identity.people.changed"
"""Bus subject; a hint without content: users or their groups are not what they were."""

ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
"""No control characters, nor what turns the direction of writing: it is shown on terminals."""
STREAM_PATTERN = r"^\.?[A-Za-z0-9_:@=*-]+(\.[A-Za-z0-9_:@=*-]+)*\.?$"
"""Two dots never follow each other."""
USER_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$"


class LoginRequest(Request):
    """A person signs in by name and password."""

    username: str = Field(max_length=128)
    password: SecretStr = Field(max_length=1024)


class SignInRequest(LoginRequest):
    """The same at the door of another service, which says from where the person comes."""

    address: str = Field(max_length=128)
    expires_in_s: int | None = Field(default=None, ge=1, le=366 * 86400)
    """How long the token is to live; never longer than one does by itself."""
    by_name: bool = False
    """Let in whoever gives their name as password. Only in a demo, and from this machine."""


class StreamGrant(Request):
    """The streams that a token may touch, and how."""

    pattern: str = Field(max_length=128, pattern=STREAM_PATTERN)
    """A stream's name, in which a star stands for anything: ``camera-*``."""
    rights: list[Literal["read", "write", "record", "admin"]] = Field(min_length=1, max_length=4)
    """What may be done with them; ``write`` alone may not read."""


class SetupRequest(Request):
    """The first start's one-time link makes the first administrator."""

    code: SecretStr = Field(max_length=128)
    username: str = Field(pattern=USER_NAME)
    password: SecretStr = Field(min_length=8, max_length=1024)


class TokenAnswer(Answer):
    """A signed token; `expires_at` is UTC."""

    token: str
    expires_at: datetime


class PrincipalView(Answer):
    """Who the caller is, as the server sees them."""

    subject: str
    name: str
    tenant: str
    kind: str
    scopes: list[str]
    streams: list[StreamGrant] | None = None
    """The streams that the token may touch, of those that its scopes allow; None: all of them."""


class UserCreate(Request):
    """A new user; only an administrator may add one."""

    name: str = Field(pattern=USER_NAME)
    password: SecretStr = Field(min_length=8, max_length=1024)
    groups: list[str] = Field(default_factory=list, max_length=64)


class UserPatch(Request):
    """What may change of a user; everything else is refused."""

    password: SecretStr | None = Field(default=None, min_length=8, max_length=1024)
    groups: list[str] | None = Field(default=None, max_length=64)
    disabled: bool | None = None


class UserView(Answer):
    """A user without any secret."""

    name: str
    tenant: str
    groups: list[str]
    disabled: bool
    created_at: datetime


class UserPage(Answer):
    """Users by name; `next` is the cursor of the following page, None at the end."""

    items: list[UserView]
    next: str | None = None


class ApiTokenCreate(Request):
    """An API token for programs; never more than its owner may do."""

    name: str = Field(min_length=1, max_length=128, pattern=ONE_LINE)
    scopes: list[str] = Field(default_factory=list, max_length=64)
    streams: list[StreamGrant] | None = Field(default=None, min_length=1, max_length=32)
    """The streams that it may touch. Without scopes it then holds those of streams that this
    needs, and no others."""
    expires_in_s: int | None = Field(default=None, ge=60, le=366 * 86400)


class ApiTokenView(Answer):
    """An API token as listed: the secret is shown once, at creation."""

    id: str
    name: str
    scopes: list[str]
    streams: list[StreamGrant] | None = None
    created_at: datetime
    expires_at: datetime | None


class FilesKeySecret(Answer):
    """A files key as its maker sees it, once: what S3's clients call an access key."""

    access_key_id: str
    """Id of the API token behind it; also the user's name for WebDAV."""
    secret_access_key: str
    """Signs, or is WebDAV's password. It is shown this once."""
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None


class FilesKeyRequest(Request):
    """Asks what checks signatures of a files key."""

    access_key_id: str = Field(max_length=64)


class FilesKeyOpened(Answer):
    """What checks signatures of a files key, and a token that stands for it."""

    secret_access_key: str
    token: str
    expires_at: datetime


class ApiTokenPage(Answer):
    """The caller's API tokens that still count, newest first; never their secrets."""

    items: list[ApiTokenView]


class ApiTokenSecret(ApiTokenView):
    """The only answer that ever holds the token."""

    token: str


class TicketRequest(Request):
    """Mint a one-time ticket bound to a person, a session and a use."""

    use: TicketUse
    subject: str
    """Principal who will hold it."""
    session_id: str | None = None
    seat: str | None = None
    """Seat it opens or belongs to: an id, or for a join code the role."""
    ttl_s: int = Field(ge=1, le=900)
    """Socket tickets at most 60, join codes and resume tickets at most 900; more is 422."""


class TicketAnswer(Answer):
    """The ticket itself: 128 random bits or more, told once."""

    ticket: str
    expires_at: datetime


class RedeemRequest(Request):
    """Spend a ticket: one atomic UPDATE; used, expired, foreign and unknown are one 401."""

    ticket: SecretStr = Field(max_length=256)
    use: TicketUse
    session_id: str | None = None


class TicketClaims(Answer):
    """What the spent ticket said."""

    use: TicketUse
    subject: str
    tenant: str
    session_id: str | None
    seat: str | None


class ServiceTokenRequest(Request):
    """A built-in service asks for its own token, showing the host's boot secret."""

    service: str
    boot_secret: SecretStr
    act: str | None = Field(default=None, max_length=128)
    """The person it acts for (RFC 8693); scopes are then the intersection of both."""


class FileBound(Request):
    """A path, and all below it, that a token may touch."""

    path: str = Field(max_length=4096, pattern=r"^/")
    writes: bool = False


class InstanceTokenRequest(Request):
    """The token an instance's streamer shows at the gateway; bound to both ids.

    With `reach` it is the one by which its application touches files, for `owner`: it opens no
    link, holds no more than the owner, and ends with them.
    """

    instance_id: str
    session_id: str
    tenant: str
    ttl_s: int = Field(ge=60, le=14 * 86400)
    owner: str | None = Field(default=None, max_length=128)
    """Subject of the person whose session it is; needed with `reach`."""
    reach: list[FileBound] | None = Field(default=None, max_length=32)


class Person(Answer):
    """A user as rights name them."""

    subject: str
    name: str
    tenant: str
    groups: list[str]
    disabled: bool


class DirectoryPage(Answer):
    """Users by name; `next` is the cursor of the following page, None at the end."""

    items: list[Person]
    next: str | None = None


class SeatTokenRequest(Request):
    """The value of a seat's cookie, after a join code was spent."""

    subject: str
    tenant: str
    session_id: str
    seat: str
    role: Literal["controller", "spectator"]
    ttl_s: int = Field(ge=60, le=14 * 86400)


class RevocationList(Answer):
    """Token ids that no longer count, until each would have expired."""

    revision: int
    ids: list[str]
