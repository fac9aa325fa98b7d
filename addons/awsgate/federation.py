"""The console's sign-in endpoint: role keys in, a sign-in token out. Blocks.

The keys go in the body of a POST over TLS, to a host of AWS's and to no proxy or redirect;
nothing of them, nor of the answer, is in a message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx

from awsgate.aws import signin
from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 64 * 1024


def _itself(host: str) -> str:
    return f"https://{host}"


_AGAIN = "try again; if it stays so, tell the operator"
_NOT_THESE = (
    "AWS does not take these keys for the console: a session policy or an SCP may deny it, or "
    "SessionDuration with keys of a chained role"
)


class Federation:
    """``server_of`` gives the URL of what stands in for a host of AWS's; the Host is kept."""

    def __init__(self, server_of: Callable[[str], str] = _itself) -> None:
        self._server_of = server_of
        # No environment: HTTPS_PROXY may be this very gateway, and trust is AWS's roots.
        self._http = httpx.Client(trust_env=False, timeout=TIMEOUT_S, follow_redirects=False)
        logging.getLogger("httpx").setLevel(logging.WARNING)

    def token(self, host: str, keys: SigningKeys, signin_s: int | None) -> str:
        """Ask for a sign-in token at ``host``. Raises ``Refusal``."""
        try:
            status, body = self._post(host, signin.token_form(keys, signin_s))
        except httpx.HTTPError as exc:
            raise _failed(f"{host} cannot be reached ({type(exc).__name__})") from None
        if status != 200:
            # An error of AWS's own says nothing of the keys.
            raise _failed(f"{host} answered {status}", _AGAIN if status >= 500 else _NOT_THESE)
        try:
            return signin.read_token(body)
        except ValueError as exc:
            raise _failed(f"{host}: {exc}") from None

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def _post(self, host: str, form: bytes) -> tuple[int, bytes]:
        url = f"{self._server_of(host)}/federation"
        headers = {"Host": host, "Content-Type": "application/x-www-form-urlencoded"}
        with self._http.stream("POST", url, content=form, headers=headers) as answer:
            body = b""
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    break
            return answer.status_code, body[:MAX_ANSWER_BYTES]


def _failed(what: str, hint: str = _AGAIN) -> Refusal:
    return Refusal(Code.UPSTREAM_FAILED, f"no console session: {what}", hint=hint, status=502)
