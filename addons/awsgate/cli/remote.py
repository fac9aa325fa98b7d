"""Gateway credentials for a command, asked for at a gateway with a login there.

The twin of ``issuing.issue``: the same question, the same answer. What the user may have
the gateway says; nothing of its policy is here.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from awsgate.cli.issuing import Issued, Wanted
from awsgate.cli.no import MAX_SHOWN, No, to_choose_from
from awsgate.cli.where import ended, login_at
from awsgate.controlclient import ControlClient as ControlClient
from awsgate.controlclient import ControlError, IssuedAnswer, login_is_over
from awsgate.errors import Code, SetupError
from awsgate.loginstore import Stored, refresh
from awsgate.pins import Root, root_in
from awsgate.variables import Keys

if TYPE_CHECKING:
    from awsgate.cli.choice import Choice


def issue_remotely(wanted: Wanted) -> Issued:
    """Ask the gateway that is wanted. Raises ``No`` and ``SetupError``, as ``issue`` does."""
    stored, client = client_at(wanted.gateway)
    check_user(stored, wanted.user)
    with asking(stored):
        given = client.credentials(
            app=wanted.app,
            role=wanted.role,
            ttl_s=wanted.ttl_s,
            read_only=wanted.read_only,
            max_requests=wanted.max_requests,
        )
        stored = _up_to_date(stored, client)
    return Issued(
        user=given.user,
        app=given.app,
        role_arn=given.role_arn,
        keys=Keys(
            given.access_key_id, given.secret_access_key, given.session_token, given.expires_at
        ),
        life_s=max(1, given.expires_at - int(time.time())),
        listen="",
        bundle=stored.bundle_path,
        root=stored.root_path,
        proxy=stored.proxy,
        proxy_user=_proxy_user(stored, given),
    )


def _up_to_date(stored: Stored, client: ControlClient) -> Stored:
    """Take over what has changed at the gateway since the login: its CA, or its proxy."""
    ping = client.ping()
    proxy, tunnel_auth = proxy_said(ping), ping.get("tunnel_auth") is True
    try:
        had = Path(stored.bundle_path).read_bytes()
    except OSError:
        had = b""
    if sha256(had).hexdigest() == ping.get("bundle_sha256") and (proxy, tunnel_auth) == (
        stored.proxy,
        stored.tunnel_auth,
    ):
        return stored
    bundle, root = client.ca()
    new = replace(stored, proxy=proxy, tunnel_auth=tunnel_auth)
    return refresh(new, bundle=bundle, root=root)


def proxy_said(ping: Mapping[str, Any]) -> str:
    """Give what HTTPS_PROXY is to name. Raises ``SetupError`` if the gateway does not say."""
    proxy = str(ping.get("proxy") or "").rstrip("/")
    if not proxy.startswith(("http://", "https://")) or not proxy.isprintable():
        raise SetupError("the gateway does not say where its proxy is")
    return proxy


def _proxy_user(stored: Stored, given: IssuedAnswer) -> str:
    if not stored.tunnel_auth or not given.proxy_password:
        return ""
    return f"{quote(given.access_key_id, safe='')}:{quote(given.proxy_password, safe='')}"


def client_at(gateway: str) -> tuple[Stored, ControlClient]:
    """Give the login at a gateway, and what asks there with it. Raises ``SetupError``."""
    stored = login_at(gateway)
    return stored, ControlClient(stored.gateway, root_of(stored), login=stored.login)


def choices_at(stored: Stored, client: ControlClient, user: str) -> list[Choice]:
    """Give all roles that the gateway lists for us. Raises ``No`` if that is not ``user``."""
    from awsgate.cli.choice import Choice

    check_user(stored, user)
    with asking(stored):
        found = client.roles()
    try:
        return [Choice(stored.user, str(r["app"]), str(r["role_arn"])) for r in found]
    except (KeyError, TypeError):
        raise SetupError(f"what {stored.gateway} says of roles cannot be read") from None


def check_user(stored: Stored, user: str) -> None:
    """Raise ``No`` if somebody is named who is not logged in there. Empty is nobody."""
    if user not in ("", stored.user):
        raise No(
            f"the login at {stored.gateway} is that of {stored.user}, not {user}",
            hints=[
                "leave --user (AWSGATE_USER) out, or log in as that one: "
                f"awsgate login --gateway {stored.gateway}",
                "the policy of this machine is asked if it is named: --policy",
            ],
        )


def root_of(stored: Stored) -> Root:
    """Give the root that was trusted at login: of the file's the one with the pin."""
    root = root_in(Path(stored.root_path), stored.pin)
    if root is None:
        raise SetupError(
            f"{stored.root_path} does not hold the root of {stored.gateway}",
            hint=f"{stored.again()} --ca-pin {stored.pin}",
        )
    return root


@contextmanager
def asking(stored: Stored) -> Iterator[None]:
    """Translate a gateway's no to somebody who is logged in there."""
    try:
        yield
    except ControlError as no:
        if login_is_over(no):
            raise ended(stored) from None
        if no.status >= 500:
            raise SetupError(f"{no.message} [{no.code}]", hint=no.hint) from None
        hints = [no.hint] if no.hint else []
        if no.code == Code.LOCKED:
            hints.append("a lock is taken away by who set it (awsgate lock ls)")
        raise No(no.message, _table(no.choices), hints=[*hints, *_example(no.choices)]) from None


def _table(choices: Sequence[Any]) -> list[str]:
    rows = []
    for choice in choices[:MAX_SHOWN]:
        names = (str(choice.get(name, "")) for name in ("app", "account", "role"))
        app, account, role = names
        rows.append((app, account, role or str(choice.get("role_arn", ""))))
    return to_choose_from(rows, len(choices))


def _example(choices: Sequence[Any]) -> list[str]:
    if not choices:
        return []
    first = choices[0]
    role = str(first.get("role") or first.get("role_arn", ""))
    words = ("--app", str(first.get("app", "")), "--role", role)
    return [f"for the first: {shlex.join(words)}"]
