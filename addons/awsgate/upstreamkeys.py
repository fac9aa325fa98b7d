"""Credentials of the gateway ahead, for calls that are handed to it: in place of STS.

    role request -> the login that is stored at this machine -> POST /v1/credentials there

What comes back are gateway credentials of that gateway. They are kept, renewed ahead and
asked for once by everybody, exactly as a role's (``credentials``). They end with the login.

A login is one person's. Whoever has credentials of this gateway in another one's name is
refused here, and a role that the login may not have is refused there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from awsgate.address import proxy_address
from awsgate.controlclient import ControlClient, ControlError, IssuedAnswer, login_is_over
from awsgate.credentials import AwsCredentials, RoleRequest
from awsgate.errors import Code, Refusal, SetupError
from awsgate.loginstore import Stored, load, stored_gateways
from awsgate.nextgateway import log_in, publish_root
from awsgate.onward import address_of
from awsgate.outgoing import Hop
from awsgate.pins import Root, root_in
from awsgate.policy import UpstreamGateway
from awsgate.session import looks_like_gateway_key

_MAX_WORDS = 300
_OUTAGE = 500


class Ask(Protocol):
    """Asks the control API of a gateway for credentials. Blocks."""

    def __call__(self, stored: Stored, root: Root, hop: Hop, role_arn: str) -> IssuedAnswer:
        """Give what it issued. Raises ``ControlError`` and ``SetupError``."""
        ...


def ask_control(stored: Stored, root: Root, hop: Hop, role_arn: str) -> IssuedAnswer:
    """Ask the gateway of a login, over TLS that proves it."""
    return ControlClient(stored.gateway, root, login=stored.login).credentials(
        app=hop.app, role=role_arn, ttl_s=0, read_only=hop.read_only, max_requests=0
    )


def stored_login(spec: UpstreamGateway, *, with_login: bool = True) -> Stored | None:
    """Give the login at the gateway ahead, ended or not; None: there is none.

    Where the policy does not name its control API, the login is that of the proxy it names.
    Raises ``SetupError`` if the stored one cannot be read.
    """
    if spec.control:
        return load(spec.control, with_login=with_login)
    wanted = proxy_address(spec.url)
    for gateway in stored_gateways():
        found = load(gateway, with_login=False)
        if found is not None and proxy_address(found.proxy) == wanted:
            return load(gateway, with_login=with_login)
    return None


def root_of(stored: Stored) -> Root:
    """Give the one root that was trusted at login. Raises ``SetupError``."""
    root = root_in(Path(stored.root_path), stored.pin)
    if root is None:
        raise SetupError(
            f"{stored.root_path} does not hold the root of {stored.gateway}",
            hint=f"log in again: {stored.again()}",
        )
    return root


class UpstreamAssumer:
    """Asks the gateway ahead for credentials, with the login that is stored at this machine."""

    def __init__(
        self,
        spec: UpstreamGateway,
        state: Path,
        *,
        ask: Ask = ask_control,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._spec, self._state = spec, state
        self._ask, self._clock = ask, clock

    def missing(self) -> list[str]:
        """Say what is amiss with the login. Asks nobody, and no keyring."""
        try:
            stored = stored_login(self._spec, with_login=False)
            if stored is None:
                return [f"nobody is logged in at the gateway ahead ({log_in(self._spec)})"]
            if stored.has_ended(self._clock()):
                return [f"the login at {stored.gateway} has ended ({stored.again()})"]
            self._root(stored)
        except SetupError as exc:
            return [exc.message]
        return []

    def assume(self, request: RoleRequest) -> AwsCredentials:
        """Give credentials of the gateway ahead. Blocks. Raises ``Refusal``."""
        hop = request.hop
        if hop is None or not hop.user:
            raise Refusal(Code.GATEWAY_FAULT, "the gateway ahead is asked for users alone")
        stored = self._login()
        if stored.user != hop.user:
            raise Refusal(
                Code.DENIED,
                f"these credentials are of {hop.user}, and the login here is another user's",
                hint="get credentials of the login (awsgate env), or log in as that user",
                detail="gateway/upstream_gateway",
            )
        try:
            given = self._ask(stored, self._root(stored), hop, request.role_arn)
        except ControlError as no:
            raise _refusal(no, stored) from None
        except SetupError as exc:
            raise _away(stored, exc) from None
        _check(given, hop, request)
        return AwsCredentials(
            given.access_key_id,
            given.secret_access_key,
            given.session_token,
            given.expires_at,
            given.proxy_password,
        )

    def _login(self) -> Stored:
        try:
            stored = stored_login(self._spec)
        except SetupError as exc:
            # Of the files and the keyring of whoever runs this gateway: they read it.
            raise Refusal(
                Code.ROLE_UNAVAILABLE, exc.message, hint=exc.hint or log_in(self._spec), status=503
            ) from None
        if stored is None:
            raise Refusal(
                Code.SESSION_EXPIRED,
                f"nobody is logged in at the gateway that calls go to ({self._name()})",
                hint=f"log in: {log_in(self._spec)}",
                status=403,
            )
        if stored.has_ended(self._clock()):
            raise _over(stored)
        return stored

    def _root(self, stored: Stored) -> Root:
        root = root_of(stored)
        publish_root(self._state, root.pem, root.pin)
        return root

    def _name(self) -> str:
        return f"{address_of(self._spec)[1]}"


def _over(stored: Stored) -> Refusal:
    return Refusal(
        Code.SESSION_EXPIRED,
        f"the login of {stored.user} at {stored.gateway} has ended",
        hint=f"log in again: {stored.again()}",
        status=403,
    )


def _refusal(no: ControlError, stored: Stored) -> Refusal:
    """Give the refusal for a no of the gateway ahead, in its words."""
    said, hint = _words(no.message), _words(no.hint)
    if login_is_over(no):
        return _over(stored)
    if no.status == 429 or no.status >= _OUTAGE:
        return Refusal(
            Code.UPSTREAM_FAILED,
            f"the gateway at {stored.gateway} gives no credentials now: {said or no.status}",
            hint="try again; if it lasts, tell who runs that gateway",
            status=503,
            detail=_words(no.code),
        )
    if no.code == Code.LOCKED.value:  # a logout is a lock on the login
        return Refusal(
            Code.LOCKED,
            f"the gateway at {stored.gateway} says no: {said}",
            hint=f"log in again ({stored.again()}); if you are locked out yourself: {hint}",
            status=403,
        )
    known = {code.value for code in Code}
    code = Code(no.code) if no.code in known else Code.DENIED
    return Refusal(
        code,
        f"the gateway at {stored.gateway} says no: {said or no.code}",
        hint=hint or "awsgate env shows the roles you may have",
        status=403,
        detail=_words(no.code),
    )


def _away(stored: Stored, exc: SetupError) -> Refusal:
    return Refusal(
        Code.UPSTREAM_FAILED,
        _words(exc.message),
        hint=_words(exc.hint) or f"try again; then {stored.again()}",
        status=503,
    )


def _check(given: IssuedAnswer, hop: Hop, request: RoleRequest) -> None:
    """Take nothing for credentials but what was asked for."""
    wrong = (
        "of no gateway" if not looks_like_gateway_key(given.access_key_id)
        else "another user's" if given.user != hop.user
        else "for another app" if given.app != hop.app
        else "for another role" if given.role_arn != request.role_arn
        else ""
    )  # fmt: skip
    if wrong:
        raise Refusal(
            Code.GATEWAY_FAULT, f"the credentials that the gateway ahead gave are {wrong}"
        )


def _words(text: str) -> str:
    """Give what the other gateway says, fit for one line of an answer."""
    return "".join(c if c.isprintable() else " " for c in text)[:_MAX_WORDS].strip()
