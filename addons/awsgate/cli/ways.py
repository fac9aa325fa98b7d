"""The ways to log in, from the user's side: a browser, a code typed elsewhere, a password.

Each asks a gateway that is trusted already, and gives its answer. Raises ``No`` if the
gateway does, or nobody answers in time. What is secret is read from a terminal without
being shown, or from a pipe, line by line.
"""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
import secrets
import sys
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from awsgate.cli.loopback import Loopback
from awsgate.cli.no import No
from awsgate.cli.terminal import printable
from awsgate.controlclient import ControlClient, ControlError, GatewayAway, LoginAnswer
from awsgate.errors import SetupError

BROWSER_S = 300.0
SLOWER_S = 5
"""RFC 8628, 3.5: "the interval MUST be increased by 5 seconds for this and all subsequent"."""
CODE = "code of the authenticator (empty: you have none)"
_LEAST_POLL_S, _LONGEST_DEVICE_S = 1, 1800


PASSING = frozenset({"provider-failed", "busy"})


class Passing(SetupError):
    """The gateway, or the provider, cannot do it now. It says nothing of the login."""


@contextmanager
def refusing() -> Iterator[None]:
    """Translate a gateway's no to somebody who is not logged in yet."""
    try:
        yield
    except ControlError as no:
        if no.status >= 500 and no.code in PASSING:
            raise Passing(f"{no.message} [{no.code}]", hint=no.hint) from None
        if no.status >= 500:
            raise SetupError(f"{no.message} [{no.code}]", hint=no.hint) from None
        raise No(f"{no.message} [{no.code}]", hints=[no.hint] if no.hint else []) from None


# --- a browser --------------------------------------------------------------------------


def has_display(environment: Mapping[str, str] = os.environ) -> bool:
    """True if a browser opened here is one that the user sees."""
    if environment.get("BROWSER"):
        return True
    if environment.get("SSH_CONNECTION"):
        return False
    shown = any(environment.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"))
    return shown or sys.platform == "darwin"


def by_browser(
    client: ControlClient, connector: str, *, show_only: bool, wait_s: float = BROWSER_S
) -> LoginAnswer:
    """Log in with a browser on this machine."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    loopback = Loopback()
    with loopback.open():
        with refusing():
            url = client.begin_browser(connector, challenge.rstrip(b"=").decode(), loopback.port)
        _show(url, loopback.port, show_only=show_only)
        visit = loopback.wait(wait_s)
        if visit is None:
            raise No("nobody came back from the browser in time", hints=["try again"])
        try:
            answer = _exchanged(client, visit.query, verifier)
        except (No, SetupError) as exc:
            visit.show("Not logged in", f"{exc}. The terminal says more.")
            raise
        visit.show("Logged in", f"You are {answer.user} now. You may close this page.")
        return answer


def _show(url: str, port: int, *, show_only: bool) -> None:
    if urlsplit(url).scheme not in ("https", "http") or not url.isprintable():
        raise SetupError("the gateway gave no URL that a browser could open")
    opened = False
    # It may stand in the arguments of a browser: no secret is in it. Who opens it first logs
    # in as themselves, which the user is told; the verifier never leaves this process.
    if not show_only:
        with suppress(webbrowser.Error, OSError):
            opened = webbrowser.open(url)
    said = "the browser shows how to go on; if it does not" if opened else "to log in"
    sys.stderr.write(f"awsgate: {said}, open this on this machine:\n  {url}\n")
    if not opened:
        sys.stderr.write(
            "awsgate: hint: from another machine it works through "
            f"ssh -L {port}:127.0.0.1:{port} to this one\n"
        )
    sys.stderr.flush()


def _exchanged(client: ControlClient, query: Mapping[str, str], verifier: str) -> LoginAnswer:
    code = query.get("code", "")
    if not code:
        slug = printable(query.get("error", "no-code"))[:60]
        message = printable(query.get("message", "the browser came back without a code"))[:500]
        raise No(f"{message} [{slug}]")
    with refusing():
        return client.login_by_code(code, verifier)


# --- a code typed elsewhere ---------------------------------------------------------------


def by_device(
    client: ControlClient, connector: str, *, sleep: Callable[[float], None] = time.sleep
) -> LoginAnswer:
    """Log in with a browser on any machine."""
    with refusing():
        begun = client.begin_device(connector)
    try:
        handle, interval, left = _told(begun)
    except (KeyError, TypeError, ValueError):
        raise SetupError("the gateway's answer cannot be read: is it of this version?") from None
    while left > 0:
        sleep(interval)
        left -= interval
        answer = _polled(client, handle)
        if isinstance(answer, LoginAnswer):
            return answer
        if answer:
            interval += SLOWER_S
    raise No("the code was not typed in in time", hints=["try again"])


def _polled(client: ControlClient, handle: str) -> LoginAnswer | bool:
    """Ask once. A moment without a network, or without the provider, does not end it."""
    try:
        with refusing():
            return client.poll_device(handle)
    except (GatewayAway, Passing):
        return False


def _told(begun: Mapping[str, Any]) -> tuple[str, int, int]:
    """Tell the user what to do; give handle, interval and how long it may take."""
    where, code = printable(str(begun["verification_uri"])), printable(str(begun["user_code"]))
    complete = printable(str(begun.get("verification_uri_complete") or ""))
    sys.stderr.write(f"awsgate: in any browser, open {where}\n  and type the code  {code}\n")
    if complete:
        sys.stderr.write(f"  or open {complete}\n")
    sys.stderr.flush()
    interval = max(_LEAST_POLL_S, int(begun.get("interval") or SLOWER_S))
    return str(begun["handle"]), interval, min(int(begun["expires_in"]), _LONGEST_DEVICE_S)


# --- a password -----------------------------------------------------------------------------


def by_password(client: ControlClient, user: str) -> LoginAnswer:
    """Log in as a user of the gateway's own."""
    password, code = hidden("password"), hidden(CODE)
    with refusing():
        return client.login_by_password(user, password, code)


def by_invitation(client: ControlClient, token: str) -> LoginAnswer:
    """Take up an invitation: a first password, an authenticator, and a first login."""
    password = hidden("a password of your own")
    if is_terminal() and hidden("once more") != password:
        raise No("the two are not the same", hints=["the invitation is still good: try again"])
    with refusing():
        user, uri = client.accept_invitation(token, password)
    sys.stderr.write(f"awsgate: you are {printable(user)}\n")
    if uri:
        sys.stderr.write(
            "awsgate: put this into your authenticator, it is shown this once:\n"
            f"  {printable(uri)}\n"
        )
    sys.stderr.flush()
    code = hidden(CODE) if uri else ""
    with refusing():
        return client.login_by_password(user, password, code)


def is_terminal() -> bool:
    """True if there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def hidden(what: str) -> str:
    """Read a secret: unseen from a terminal, else a line of what is piped in."""
    if sys.stdin.isatty():
        return getpass.getpass(f"{what}: ")
    return sys.stdin.readline().rstrip("\r\n")
