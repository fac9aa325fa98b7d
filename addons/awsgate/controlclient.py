"""The control API of a gateway, as its clients ask it: one method for each call.

    trusted_root   a URL and a pin -> the root that the gateway's certificate leads to
    ControlClient  a URL, that root, and a login if there is one

A client trusts one root, whose pin it was told: neither the system's roots nor another
root of the same gateway. Until the pin is known to be right nothing is sent but
``GET /v1/ca``, which says nothing of who asks.

Proxies of the environment are not used: they name the gateway itself.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from awsgate.controlanswers import ControlError as ControlError
from awsgate.controlanswers import IssuedAnswer as IssuedAnswer
from awsgate.controlanswers import LoginAnswer as LoginAnswer
from awsgate.controlanswers import issued_of, login_of, object_of, text_of
from awsgate.errors import Code, SetupError
from awsgate.pins import Root, roots_in
from awsgate.version import __version__

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 8 << 20  # a bundle holds the roots of a whole system
LOGIN_OVER = frozenset({Code.SESSION_EXPIRED.value, Code.UNKNOWN_KEY.value})
"""Codes that say that the login itself is no good."""


class GatewayAway(SetupError):
    """Nothing answers where the gateway should be, or something that it is not."""


def login_is_over(no: ControlError) -> bool:
    """True if the gateway does not take the login any more, whatever was asked."""
    return no.status == 401 or no.code in LOGIN_OVER


# --- trust ------------------------------------------------------------------------------


def trusted_root(url: str, pin: str = "") -> Root:
    """Give the root that the gateway's certificate leads to: the one of ``pin``, if told.

    Without a pin it is merely what the gateway says: to be shown, and asked about.
    Raises ``SetupError`` if the certificate leads to no such root.
    """
    try:
        found = roots_in(_unproved_roots(url))
    except ValueError as exc:
        raise _no_gateway(url) from exc
    wanted = [root for root in found if pin in ("", root.pin)]
    if not wanted:
        raise SetupError(
            f"the gateway at {url} does not have the pin {pin}",
            hint="compare it with what awsgate ca show says on the gateway. If they are the "
            "same, something between here and there pretends to be the gateway",
        )
    faults = {}
    for root in wanted:
        try:
            _handshake(url, root)
        except ssl.SSLCertVerificationError as exc:
            faults[root.pin] = exc.verify_message
        else:
            return root
    raise SetupError(
        f"the certificate of {url} leads to no root with the pin {pin}"
        if pin
        else f"the certificate of {url} does not lead to a root of that gateway",
        faults=tuple(f"{name}: {why}" for name, why in faults.items()),
        hint="a name that does not match: log in by a name in spec.names of the gateway",
    )


def _context(root: Root) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # An operator's chain may end below its root: the last of it is what was pinned.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=root.pem)
    return context


def _unproved_roots(url: str) -> bytes:
    """Ask for the roots without trusting the answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        answer = _Calls(url, context).call("GET", "/v1/ca")
        return text_of(answer, "root").encode("ascii")
    except (ControlError, KeyError, TypeError) as exc:
        raise _no_gateway(url) from exc


def _handshake(url: str, root: Root) -> None:
    with _reaching(url), closing(_connection(url, _context(root))) as connection:
        connection.connect()


# --- calls ------------------------------------------------------------------------------


def _connection(url: str, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    parts = urlsplit(url)
    return http.client.HTTPSConnection(
        parts.hostname or "", parts.port or 443, timeout=TIMEOUT_S, context=context
    )


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Translate what goes wrong on the way; a certificate is the caller's business."""
    try:
        yield
    except ssl.SSLCertVerificationError:
        raise
    except (OSError, http.client.HTTPException) as exc:
        what = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
        raise GatewayAway(
            f"no answer from the gateway at {url}: {what}",
            hint="is it running, and is this the address of its control API (spec.control)?",
        ) from exc


class _Calls:
    """Requests to one gateway, each on a connection of its own."""

    def __init__(self, url: str, context: ssl.SSLContext, login: str = "") -> None:
        self.url, self._context, self._login = url, context, login

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Give the answer to one call. Raises ``ControlError`` and ``SetupError``."""
        headers = {"Accept": "application/json", "User-Agent": f"awsgate/{__version__}"}
        raw = None if body is None else json.dumps(body).encode()
        if raw is not None:
            headers["Content-Type"] = "application/json"
        if self._login:
            headers["Authorization"] = f"Bearer {self._login}"
        with _reaching(self.url), closing(_connection(self.url, self._context)) as connection:
            connection.request(method, path, raw, headers)
            answer = connection.getresponse()
            content = answer.read(MAX_ANSWER_BYTES)
        return self._read(answer.status, content)

    def _read(self, status: int, content: bytes) -> Any:
        try:
            said = json.loads(content) if content else {}
        except ValueError as exc:
            raise _no_gateway(self.url) from exc
        if status < 400:
            return said
        error = said.get("error") if isinstance(said, dict) else None
        if not isinstance(error, dict):
            raise _no_gateway(self.url)
        choices = error.get("choices")
        raise ControlError(
            status,
            str(error.get("code", "")),
            str(error.get("message", "")),
            hint=str(error.get("hint") or ""),
            choices=tuple(choices) if isinstance(choices, list) else (),
        )


class ControlClient:
    """Asks one gateway. ``login`` is the token of whoever asks; empty: nobody yet."""

    def __init__(
        self, url: str, root: Root, *, login: str = "", context: ssl.SSLContext | None = None
    ) -> None:
        """``context`` trusts the root and has more; None: one that does no more."""
        self.url, self.root = url, root
        self._calls = _Calls(url, context or _context(root), login)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            return self._calls.call(method, path, body)
        except ssl.SSLCertVerificationError as exc:
            raise SetupError(
                f"the certificate of {self.url} is not what was trusted: {exc.verify_message}",
                hint="if the gateway has a new one (awsgate ca show there tells its pin): "
                f"awsgate login --gateway {self.url} --ca-pin sha256:...",
            ) from exc

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (KeyError, TypeError, ValueError, AttributeError) as exc:
            raise _no_gateway(self.url) from exc

    def _asked[T](
        self,
        read: Callable[[Any], T],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
    ) -> T:
        """Give the answer to one call as ``read`` has it; what that cannot read is no gateway's."""
        said = self._call(method, path, body)
        with self._reading():
            return read(said)

    # --- before a login ---

    def ping(self) -> dict[str, Any]:
        """Ask what it is: version, name, connectors, proxy."""
        return self._asked(object_of, "GET", "/v1/ping")

    def ca(self) -> tuple[bytes, bytes]:
        """Ask for what clients trust: the bundle, and the gateway's roots alone."""
        said = self._asked(object_of, "GET", "/v1/ca")
        with self._reading():
            return text_of(said, "bundle").encode(), text_of(said, "root").encode()

    def begin_browser(self, connector: str, challenge: str, port: int) -> str:
        """Begin a login in a browser: give the URL to open."""
        body = {"connector": connector, "challenge": challenge, "port": port}
        return self._asked(lambda s: text_of(s, "url"), "POST", "/v1/login/browser", body)

    def login_by_code(self, code: str, verifier: str) -> LoginAnswer:
        """End a login in a browser, by what it came back with."""
        return self._login("code", {"code": code, "verifier": verifier})

    def begin_device(self, connector: str) -> dict[str, Any]:
        """Begin a login with a code that is typed in elsewhere."""
        return self._asked(object_of, "POST", "/v1/login/device", {"connector": connector})

    def poll_device(self, handle: str) -> LoginAnswer | bool:
        """Ask whether the code was typed in: the login, or whether to ask more slowly."""
        said = self._asked(object_of, "POST", "/v1/login/device/poll", {"handle": handle})
        if said.get("pending"):
            return bool(said.get("slow_down"))
        with self._reading():
            return login_of(said)

    def login_by_password(self, user: str, password: str, totp: str) -> LoginAnswer:
        """Log in as a user of the gateway's own."""
        return self._login("password", {"user": user, "password": password, "totp": totp})

    def accept_invitation(self, token: str, password: str) -> tuple[str, str]:
        """Set the first password: give the user, and the URI for their authenticator."""
        body = {"token": token, "password": password}
        said = self._asked(object_of, "POST", "/v1/login/invitation", body)
        with self._reading():
            return text_of(said, "user"), text_of(said, "totp_uri")

    def login_by_id_token(self, token: str, connector: str = "") -> LoginAnswer:
        """Log in as what a platform's token says: a job of CI, a service account."""
        named = {"connector": connector} if connector else {}
        return self._login("id-token", {"token": token, **named})

    def login_by_certificate(self, cert: Path, key: Path) -> LoginAnswer:
        """Log in as whom a client certificate names. Raises ``SetupError`` if it cannot be read."""
        context = _context(self.root)
        try:
            # Without a password of its own, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(cert, key, password=lambda: "")
        except (OSError, ValueError) as exc:  # an SSLError is an OSError
            why = getattr(exc, "strerror", None) or type(exc).__name__
            raise SetupError(
                f"certificate {cert} and key {key} cannot be used ({why})",
                hint="both as PEM, the key without a password and of this certificate",
            ) from None
        with_it = ControlClient(self.url, self.root, context=context)
        return with_it._login("certificate", {})

    def _login(self, way: str, body: Mapping[str, Any]) -> LoginAnswer:
        return self._asked(login_of, "POST", f"/v1/login/{way}", body)

    # --- with a login ---

    def whoami(self) -> dict[str, Any]:
        """Ask who the gateway takes us for."""
        return self._asked(object_of, "GET", "/v1/whoami")

    def roles(self) -> list[dict[str, Any]]:
        """Ask which roles may be had: app, account, role_arn, role."""
        return self._asked(_rows("roles"), "GET", "/v1/roles")

    def credentials(
        self, *, app: str, role: str, ttl_s: int, read_only: bool, max_requests: int
    ) -> IssuedAnswer:
        """Ask for gateway credentials."""
        body = {
            "app": app,
            "role": role,
            "ttl_s": ttl_s,
            "read_only": read_only,
            "max_requests": max_requests,
        }
        return self._asked(issued_of, "POST", "/v1/credentials", body)

    def console(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Ask for a way into AWS's console."""
        return self._asked(object_of, "POST", "/v1/console", asked)

    def logout(self) -> None:
        """End the login, and all its sessions."""
        self._call("POST", "/v1/logout", {})

    # --- access requests ---

    def requestable(self) -> list[dict[str, Any]]:
        """Ask which roles may be asked for, and on what terms."""
        return self._asked(_rows("roles"), "GET", "/v1/requestable")

    def requests(self) -> list[dict[str, Any]]:
        """Ask for the requests that we may see."""
        return self._asked(_rows("requests"), "GET", "/v1/requests")

    def request(self, request_id: str) -> dict[str, Any]:
        """Ask for one."""
        return self._asked(object_of, "GET", f"/v1/requests/{quote(request_id, safe='')}")

    def ask_for(self, role: str, *, reason: str, duration_s: int) -> dict[str, Any]:
        """Ask for a role."""
        body = {"role": role, "reason": reason, "duration_s": duration_s}
        return self._asked(object_of, "POST", "/v1/requests", body)

    def review(self, request_id: str, *, approve: bool, reason: str) -> dict[str, Any]:
        """Answer a request."""
        path = f"/v1/requests/{quote(request_id, safe='')}/review"
        return self._asked(object_of, "POST", path, {"approve": approve, "reason": reason})

    def revoke(self, request_id: str) -> dict[str, Any]:
        """Take a request back, or what it has given."""
        path = f"/v1/requests/{quote(request_id, safe='')}/revoke"
        return self._asked(object_of, "POST", path, {})

    # --- with a login of an admin ---

    def locks(self) -> list[dict[str, Any]]:
        """Ask for the locks of the gateway's state folder."""
        return self._asked(_rows("locks"), "GET", "/v1/locks")

    def add_lock(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Set a lock."""
        return self._asked(object_of, "POST", "/v1/locks", document)

    def remove_lock(self, name: str) -> None:
        """Take a lock away."""
        self._call("DELETE", f"/v1/locks/{quote(name, safe='')}")


def _rows(name: str) -> Callable[[Any], list[dict[str, Any]]]:
    return lambda said: list(object_of(said)[name])


def _no_gateway(url: str) -> GatewayAway:
    return GatewayAway(
        f"what answers at {url} is no awsgate of this version",
        hint="the gateway's address for logins is spec.control.url of its policy",
    )
