"""POST /v1/login/...: the ways in. Each ends in the same answer, or is refused with a reason.

A login in a browser, step by step:

    CLI       POST /v1/login/browser {connector, challenge, port}   -> where the browser goes
    browser   provider -> /v1/callback (``callbacks``)              -> 127.0.0.1:port, a code
    CLI       POST /v1/login/code {code, verifier}                  -> the login

So what passes through the browser is worth nothing without the verifier, which never
leaves the CLI.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Awaitable
from dataclasses import replace
from typing import NoReturn

from awsgate.connect.ways import Begun, DeviceCode, LoginRefused, Pending
from awsgate.login import LOCAL, Identity, Login
from awsgate.web.calls import Browsing, Call, Device
from awsgate.web.certificates import identity_of
from awsgate.web.connectors import redirect_url
from awsgate.web.desk import CERTIFICATE
from awsgate.web.problems import (
    AMBIGUOUS,
    BUSY,
    NO_SUCH_WAY,
    UNKNOWN_LOGIN,
    WRONG_PASSWORD,
    Problem,
    problem_of,
)
from awsgate.web.shapes import (
    Answer,
    BrowserBegun,
    DeviceBegun,
    Invited,
    LoggedIn,
    StillPending,
)
from awsgate.web.waiting import Full, Waiting

UNKNOWN_CONNECTOR_LABEL = "unknown"
_SLOWER_S = 5  # RFC 8628, 3.5: "the interval MUST be increased by 5 seconds"
_PASSING = ("provider-failed", "busy")
"""Reasons that say nothing of the login: the next poll may bring it."""
_EARLY_S = 0.5  # of a poll: clocks and networks are what they are


async def browser(call: Call) -> Answer:
    """Begin a login in a browser, for a CLI."""
    asked = call.asked
    return BrowserBegun(url=await begin(call, asked.connector, asked.challenge, asked.port))


async def begin(call: Call, connector: str, challenge: str, port: int) -> str:
    """Give where a browser goes to log in. ``port``: of the CLI that waits, or ``PAGE``."""
    api = call.api
    known = api.connectors.get(api.policy, connector)
    way = known.has("browser")
    # The state names what is remembered, so its place is taken before the provider is asked.
    waiting = Browsing(known.name, challenge, port, {})
    state = _put(api.browsing, waiting)
    try:
        began = way.begin(state=state, redirect_url=redirect_url(known.document, api.info.url))
        begun: Begun = await refusing(call, known.name, began)
    except BaseException:
        api.browsing.take(state)
        raise
    api.browsing.amend(state, replace(waiting, memory=begun.memory))
    return begun.url


async def code(call: Call) -> Answer:
    """Give the login for the code that the browser brought back. Once."""
    api, asked = call.api, call.asked
    proved = api.proved.take(asked.code)
    if proved is None:
        raise Problem(
            400,
            UNKNOWN_LOGIN,
            "this code is not known: it is good once, for a minute",
            hint="log in again: awsgate login",
        )
    login = proved.login
    if not hmac.compare_digest(challenge_of(asked.verifier), proved.challenge):
        refused = LoginRefused(
            "wrong-verifier",
            "the code was made for somebody else's login",
            hint="log in again: awsgate login",
        )
        await refuse(call, login.facts.connector, refused, user=login.user)
    return await give(call, login)


def challenge_of(verifier: str) -> str:
    """Give the challenge of a verifier (RFC 7636, S256)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def device(call: Call) -> Answer:
    """Begin a login that is confirmed on another device."""
    api = call.api
    known = api.connectors.get(api.policy, call.asked.connector)
    way = known.has("device")
    begun: DeviceCode = await refusing(call, known.name, way.start_device())
    interval_s = max(1, begun.interval_s)
    waiting = Device(known.name, begun.memory, interval_s, api.ticks() + interval_s)
    handle = _put(api.devices, waiting, life_s=begun.expires_in_s)
    return DeviceBegun(
        user_code=begun.user_code,
        verification_uri=begun.verification_uri,
        verification_uri_complete=begun.verification_uri_complete,
        interval=interval_s,
        expires_in=begun.expires_in_s,
        handle=handle,
    )


async def poll(call: Call) -> Answer:
    """Give the login, if it has been confirmed; else say that it has not."""
    api, handle = call.api, call.asked.handle
    taken = api.devices.take_with_end(handle)
    if taken is None:
        raise Problem(
            400,
            UNKNOWN_LOGIN,
            "this login is not known: its time is over, or it has been fetched",
            hint="log in again: awsgate login",
        )
    waiting, ends_at = taken
    if api.ticks() < waiting.next_at - _EARLY_S:  # the provider need not be asked
        api.devices.put_back(handle, waiting, ends_at)
        return StillPending(slow_down=False)
    later = replace(waiting, next_at=api.ticks() + waiting.interval_s)
    try:
        way = api.connectors.get(api.policy, waiting.connector).has("device")
        identity = await way.poll_device(waiting.memory)
    except Pending as exc:
        later = replace(later, interval_s=waiting.interval_s + _SLOWER_S * exc.slow_down)
        later = replace(later, next_at=api.ticks() + later.interval_s)
        api.devices.put_back(handle, later, ends_at)
        return StillPending(slow_down=exc.slow_down)
    except LoginRefused as exc:
        if exc.reason in _PASSING:
            api.devices.put_back(handle, later, ends_at)
        await refuse(call, waiting.connector, exc)
    except BaseException:  # who polls hung up, or the connector is out of order for now
        api.devices.put_back(handle, later, ends_at)
        raise
    return await finish(call, waiting.connector, identity)


async def password(call: Call) -> LoggedIn:
    """Log in a user of the gateway's own."""
    asked, local = call.asked, call.api.local
    if local is None:
        raise _no_local()
    try:
        identity = await local.prove(asked.user, asked.password, asked.totp)
    except LoginRefused as exc:
        # Which of them it was is for the audit: it would help only who guesses.
        await refuse(call, LOCAL, exc, told="" if exc.reason == "busy" else WRONG_PASSWORD)
    return await finish(call, LOCAL, identity)


async def invitation(call: Call) -> Answer:
    """Take an invitation: set the first password."""
    asked, local = call.asked, call.api.local
    if local is None:
        raise _no_local()
    user, totp_uri = await refusing(call, LOCAL, local.accept(asked.token, asked.password))
    await call.api.records.enrolled(user, call.client)
    return Invited(user=user, totp_uri=totp_uri)


async def id_token(call: Call) -> Answer:
    """Log in a machine by the token of its platform."""
    api, asked = call.api, call.asked
    if asked.connector:
        known = api.connectors.get(api.policy, asked.connector)
    else:
        issuer, audiences = _unproved(asked.token)
        found = api.connectors.of_issuer(api.policy, issuer, audiences)
        if not found:
            refused = LoginRefused(
                "wrong-issuer",
                "no connector takes tokens of this issuer",
                hint="the operator of the gateway adds id_tokens to a connector of that issuer",
            )
            await refuse(call, UNKNOWN_CONNECTOR_LABEL, refused)
        if len(found) > 1:
            raise Problem(
                409,
                AMBIGUOUS,
                "several connectors take tokens of this issuer",
                hint=f"say which with connector: {', '.join(one.name for one in found)}",
            )
        known = found[0]
    way = known.has("id-token")
    identity = await refusing(call, known.name, way.prove_id_token(asked.token))
    return await finish(call, known.name, identity)


async def certificate(call: Call) -> Answer:
    """Log in whoever has a client certificate, by the connection that it came with."""
    control = call.api.policy.gateway.control
    if not control.client_ca:
        raise Problem(
            400,
            NO_SUCH_WAY,
            "this gateway takes no client certificates",
            hint="the operator names who issues them: control.client_ca",
        )
    if not call.certificate:
        refused = LoginRefused(
            "no-certificate",
            "the connection came without a client certificate",
            hint="give your HTTP client a certificate and its key",
        )
        await refuse(call, CERTIFICATE, refused)
    try:
        identity = identity_of(call.certificate, control)
    except LoginRefused as exc:
        await refuse(call, CERTIFICATE, exc)
    return await finish(call, CERTIFICATE, identity)


# --- what they have in common ------------------------------------------------------


async def refusing[T](call: Call, connector: str, asking: Awaitable[T]) -> T:
    """Ask a connector; its no is recorded and becomes the answer."""
    try:
        return await asking
    except LoginRefused as exc:
        await refuse(call, connector, exc)


async def refuse(
    call: Call, connector: str, refused: LoginRefused, *, user: str = "", told: str = ""
) -> NoReturn:
    """Record a refused login, and raise its ``Problem``; ``told`` is a code in place of its own."""
    problem = problem_of(refused, told=told)
    await call.api.records.refused_login(
        connector, refused, call.client, status=problem.status, user=user
    )
    raise problem


async def admit(call: Call, connector: str, identity: Identity) -> Login:
    """Make a login of what a connector has proved; a no is recorded and becomes the answer."""
    if identity.connector != connector:
        wrong = LoginRefused("provider-failed", "the connector gave another one's identity")
        await refuse(call, connector, wrong)
    try:
        return await asyncio.to_thread(call.api.desk.admit, identity)
    except LoginRefused as exc:
        await refuse(call, connector, exc, user=identity.user)


async def finish(call: Call, connector: str, identity: Identity) -> LoggedIn:
    """Let an identity in, and give the login."""
    return await give(call, await admit(call, connector, identity))


async def give(call: Call, login: Login) -> LoggedIn:
    """Record a login, and give it with its token."""
    api = call.api
    token = api.desk.token(login)
    await api.records.logged_in(login, call.client)
    return LoggedIn(
        login=token,
        id=login.id,
        user=login.user,
        connector=login.facts.connector,
        roles=list(api.desk.caller(login).roles),
        issued_at=login.issued_at,
        expires_at=login.expires_at,
    )


def _put[T](waiting: Waiting[T], value: T, *, life_s: float | None = None) -> str:
    try:
        return waiting.put(value, life_s=life_s)
    except Full:
        raise Problem(
            503,
            BUSY,
            "too many logins have begun and not ended",
            hint="try again in some minutes",
            retry_after_s=60,
        ) from None


def _no_local() -> Problem:
    return Problem(
        400,
        NO_SUCH_WAY,
        "this gateway has no users of its own",
        hint="the operator adds them: awsgate users add",
    )


def _unproved(token: str) -> tuple[str, tuple[str, ...]]:
    """Give issuer and audiences that a token claims: to find who can prove it, and no more."""
    try:
        payload = token.split(".")[1]
        raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        claims = json.loads(raw)
        issuer, audiences = claims["iss"], claims.get("aud", ())
    except (
        IndexError,
        ValueError,
        binascii.Error,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ):
        return "", ()
    if not isinstance(issuer, str):
        return "", ()
    listed = audiences if isinstance(audiences, list) else [audiences]
    return issuer, tuple(one for one in listed if isinstance(one, str))
