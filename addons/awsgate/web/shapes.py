"""The JSON of the API: what is asked and what is answered. ``openapi`` is made of these.

Times are epoch seconds. What is asked is checked strictly: a key that is not known is an
error, so that a misspelt limit is not a limit that is missing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from awsgate.policy.accessrequest import MAX_TEXT_CHARS

Text = Annotated[str, Field(max_length=1024)]


class Asked(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Answer(BaseModel):
    """What the gateway answers."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# --- what anybody may ask ----------------------------------------------------------


class ConnectorInfo(Answer):
    """A way in."""

    name: str
    """As in login requests: oidc/okta, github/corp, local."""
    display: str
    ways: list[str]
    """browser, device, id-token, password, certificate."""


class Ping(Answer):
    """What the gateway is."""

    version: str
    name: str
    connectors: list[ConnectorInfo]
    proxy: str
    """HTTPS_PROXY for clients."""
    tunnel_auth: bool
    """It is to hold the access key id and the proxy password: tunnels need a caller."""
    bundle_sha256: str
    """SHA-256, in hex, of the bundle of /v1/ca."""


class Ca(Answer):
    """What clients trust, as PEM."""

    bundle: str
    """System roots and those below, for settings that replace the store."""
    root: str
    """The roots of the gateway alone."""


# --- logging in -------------------------------------------------------------------


class BrowserAsked(Asked):
    """A login in a browser of this machine."""

    connector: Text
    challenge: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
    """base64url of the SHA-256 of a verifier that the caller keeps."""
    port: Annotated[int, Field(ge=1, le=65535)]
    """Where the caller waits on 127.0.0.1 for the browser to come back."""


class BrowserBegun(Answer):
    """Where the browser goes."""

    url: str


class CodeAsked(Asked):
    """The code that the browser brought, and the verifier of its challenge."""

    code: Annotated[str, Field(max_length=256, repr=False)]
    verifier: Annotated[str, Field(min_length=43, max_length=128, repr=False)]


class DeviceAsked(Asked):
    """A login that is confirmed on another device."""

    connector: Text


class DeviceBegun(Answer):
    """What is to be typed there."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    interval: int
    expires_in: int
    handle: Annotated[str, Field(repr=False)]
    """For polling; whoever has it gets the login."""


class PollAsked(Asked):
    """A question: has it been confirmed."""

    handle: Annotated[str, Field(max_length=256, repr=False)]


class StillPending(Answer):
    """Not yet."""

    pending: bool = True
    slow_down: bool
    """Wait 5 seconds longer between polls from now on."""


class PasswordAsked(Asked):
    """A user of the gateway's own."""

    user: Annotated[str, Field(max_length=255)]
    password: Annotated[str, Field(max_length=1024, repr=False)]
    totp: Annotated[str, Field(max_length=16, repr=False)] = ""


class InvitationAsked(Asked):
    """The first password of a user of the gateway's own."""

    token: Annotated[str, Field(max_length=2048, repr=False)]
    password: Annotated[str, Field(max_length=1024, repr=False)]


class Invited(Answer):
    """The user, and what an authenticator app reads; confirm with a first login."""

    user: str
    totp_uri: Annotated[str, Field(repr=False)]


class IdTokenAsked(Asked):
    """A machine, by the token of its platform."""

    token: Annotated[str, Field(max_length=32 * 1024, repr=False)]
    connector: Text = ""
    """Empty: the one whose issuer the token names."""


class Nothing(Asked):
    """An empty object: all that counts is in the connection."""


class LoggedIn(Answer):
    """A login."""

    login: Annotated[str, Field(repr=False)]
    """The bearer token for all that follows."""
    id: str
    user: str
    connector: str
    roles: list[str]
    issued_at: int
    expires_at: int


# --- with a login -----------------------------------------------------------------


class WhoAmI(Answer):
    """A login, without its token."""

    id: str
    user: str
    connector: str
    roles: list[str]
    issued_at: int
    expires_at: int
    gateway_admin: bool


class RoleInfo(Answer):
    """A role at AWS that the caller may have."""

    app: str
    account: str
    role_arn: str
    role: str
    """Its short name, where no other of the app has that."""


class Roles(Answer):
    """All that the policy lists. A role that only a pattern allows is not among them."""

    roles: list[RoleInfo]


class CredentialsAsked(Asked):
    """Credentials for one role. What is left out is what is clear, or the policy's."""

    app: Text = ""
    role: Text = ""
    ttl_s: Annotated[int, Field(ge=0, le=10**9)] = 0
    read_only: bool = False
    max_requests: Annotated[int, Field(ge=0, le=10**12)] = 0


class Credentials(Answer):
    """Gateway credentials, and the password for CONNECT."""

    access_key_id: str
    secret_access_key: Annotated[str, Field(repr=False)]
    session_token: Annotated[str, Field(repr=False)]
    expires_at: int
    user: str
    app: str
    role_arn: str
    proxy_password: Annotated[str, Field(repr=False)]
    """With the access key id as user: Proxy-Authorization."""


class LoggedOut(Answer):
    """The login that has ended, and all its sessions with it."""

    id: str


# --- access requests --------------------------------------------------------------


class Requestable(Answer):
    """A role that the caller may ask for, and on what terms."""

    role: str
    max_duration_s: int
    reason_required: bool
    prompt: str
    reviewers: list[str]
    """Suggested; others may answer too."""


class RequestableRoles(Answer):
    """All of them."""

    roles: list[Requestable]


class AccessAsked(Asked):
    """A role for a while."""

    role: Annotated[str, Field(min_length=1, max_length=255)]
    reason: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""
    duration_s: Annotated[int, Field(ge=0, le=10**9)] = 0
    """0: an hour, or less if the terms are shorter."""


class ReviewAsked(Asked):
    """An answer to a request."""

    approve: bool
    reason: Annotated[str, Field(max_length=MAX_TEXT_CHARS)] = ""


class ReviewInfo(Answer):
    """What one reviewer said."""

    reviewer: str
    connector: str
    approved: bool
    reason: str
    at: int


class AccessInfo(Answer):
    """An access request."""

    id: str
    user: str
    connector: str
    role: str
    reason: str
    duration_s: int
    state: Literal["pending", "approved", "denied", "expired", "revoked", "ended"]
    asked_at: int
    expires_at: int
    """Until when it may be answered."""
    decided_at: int
    until: int
    """When the role ends, or ended; 0: it was not granted."""
    revoked_by: str
    reviews: list[ReviewInfo]
    suggested_reviewers: list[str]
    own: bool
    """It is the caller's."""
    may_review: bool
    """The caller may answer it now."""


class AccessRequests(Answer):
    """The caller's, those that they may answer, and for administrators all."""

    requests: list[AccessInfo]


# --- for operators ----------------------------------------------------------------


class Target(Asked):
    """Whom a lock holds: whoever fits all that is given."""

    user: Text | None = None
    role: Text | None = None
    app: Text | None = None
    session: Text | None = None
    """The id of a session or of a login."""
    aws_role_arn: Text | None = None


class LockAsked(Asked):
    """A lock to add."""

    target: Target
    name: Annotated[str, Field(max_length=100)] = ""
    """Empty: made up."""
    message: Annotated[str, Field(max_length=512)] = ""
    """Shown to whom it holds."""
    ttl_s: Annotated[int, Field(ge=0, le=10**9)] = 0
    """0: for good."""


class LockInfo(Answer):
    """A lock."""

    name: str
    target: dict[str, str]
    message: str
    expires: str | None
    in_force: bool
    created: str
    by: str
    source: str
    """state: it can be taken away here; policy: it stands in the policy's files."""


class Locks(Answer):
    """The locks of the state folder and of the policy."""

    locks: list[LockInfo]


class Removed(Answer):
    """The lock that was taken away."""

    name: str


class Status(Answer):
    """How the gateway is."""

    version: str
    name: str
    mode: str
    started_at: int
    users: int
    roles: int
    apps: int
    connectors: int
    locks: int
    """In force."""
    waiting_logins: int


# --- errors ------------------------------------------------------------------------


class Error(Answer):
    """Why not."""

    code: str
    """Stable."""
    message: str
    hint: str
    choices: list[RoleInfo] = Field(default_factory=list)


class Failed(Answer):
    """What every answer of 400 and more is."""

    error: Error
