"""The console's sign-in as AWS has it, for tests: it checks the keys at STS before a token.

    POST <host>/federation  Action=getSigninToken   keys -> token, if STS knows them
    GET  <host>/federation  Action=login            token -> the page, once; else 403

What it knows it tells: ``sessions`` has the identity behind each token, ``landed`` who
came to which page. A question with a query string, where keys would be in logs, is 400.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from httpserving import QuietHandler, http_server


@dataclass
class Session:
    """What a token stands for."""

    arn: str
    duration_s: int | None
    used: bool = False


@dataclass
class SigninServer:
    """A running endpoint."""

    sts_url: str
    url: str = ""
    sessions: dict[str, Session] = field(default_factory=dict)
    landed: list[tuple[str, str, str]] = field(default_factory=list)
    """Host, identity and page of each login."""
    targets: list[str] = field(default_factory=list)
    """Every request line: no secret may be in one."""

    def token_for(self, fields: dict[str, list[str]], host: str) -> str:
        """Ask the STS of the host's region who the keys are. Raises ``ValueError``."""
        keys = json.loads(fields["Session"][0])
        client = boto3.client(
            "sts",
            endpoint_url=self.sts_url,
            region_name=host.partition(".")[0],
            aws_access_key_id=keys["sessionId"],
            aws_secret_access_key=keys["sessionKey"],
            aws_session_token=keys["sessionToken"],
            config=Config(proxies={}),
        )
        try:
            arn = client.get_caller_identity()["Arn"]
        except ClientError as exc:
            raise ValueError("STS does not know these keys") from exc
        duration = fields.get("SessionDuration")
        token = secrets.token_urlsafe(64)
        self.sessions[token] = Session(arn, int(duration[0]) if duration else None)
        return token

    def login(self, host: str, fields: dict[str, list[str]]) -> str | None:
        """Give the page that a token leads to; None: it is not good, or not any more."""
        session = self.sessions.get(fields.get("SigninToken", [""])[0])
        if session is None or session.used:
            return None
        session.used = True
        page = fields["Destination"][0]
        self.landed.append((host, session.arn, page))
        return page


@contextmanager
def signin_server(sts_url: str) -> Iterator[SigninServer]:
    """Run one."""
    state = SigninServer(sts_url)

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            state.targets.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fields = parse_qs(body.decode())
            if self.path != "/federation" or fields.get("Action") != ["getSigninToken"]:
                return self._answer(400, {"error": "no such action"})
            try:
                token = state.token_for(fields, self.headers["Host"])
                return self._answer(200, {"SigninToken": token})
            except (ValueError, KeyError):
                return self._answer(400, {"error": "bad session"})

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            fields = parse_qs(parts.query)
            if fields.get("Action") == ["login"]:
                page = state.login(self.headers["Host"], fields)
                return self._answer(200 if page else 403, {"page": page})
            return self._answer(400, {"error": "no such action"})

        def _answer(self, status: int, said: dict[str, Any]) -> None:
            self.answer(status, json.dumps(said))

    with http_server(Handler) as state.url:
        yield state
