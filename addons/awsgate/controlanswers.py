"""What the control API answers, as values. What cannot be read raises, and is not shown.

Source: the API's own description, ``/v1/openapi.json`` of a gateway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class ControlError(Exception):
    """The gateway's no to a call. ``str()`` is its message, for the user."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        choices: tuple[Mapping[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        """Stable: a code of ``errors.Code``, or a slug of the API's own."""
        self.message = message
        self.hint = hint
        self.choices = choices
        """Of apps and roles, where what was asked for is not clear."""


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """What a gateway says to somebody who has proved who they are."""

    login: str = field(repr=False)
    id: str
    user: str
    connector: str
    roles: tuple[str, ...]
    expires_at: int


@dataclass(frozen=True, slots=True)
class IssuedAnswer:
    """Gateway credentials, and the password for its tunnels."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: int
    user: str
    app: str
    role_arn: str
    proxy_password: str = field(repr=False)


def moment_of(value: object) -> int:
    """Read a moment: epoch seconds, or as ISO 8601. Raises ``ValueError``."""
    if isinstance(value, str):
        return int(datetime.fromisoformat(value).timestamp())
    if type(value) is not int:
        raise ValueError("no moment")
    return value


def object_of(said: Any) -> dict[str, Any]:
    """Give an answer that is an object. Raises ``TypeError``."""
    if not isinstance(said, dict):
        raise TypeError("no object")
    return said


def text_of(said: Any, name: str) -> str:
    """Give the text of a name in it. Raises ``KeyError`` and ``TypeError``."""
    value = said[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def line_of(said: Any, name: str) -> str:
    """Give a text that can be printed as it is. Raises ``ValueError`` as well."""
    value = text_of(said, name)
    if not value.isprintable():
        raise ValueError(name)
    return value


def login_of(said: Any) -> LoginAnswer:
    """Read a login."""
    return LoginAnswer(
        login=line_of(said, "login"),
        id=line_of(said, "id"),
        user=line_of(said, "user"),
        connector=line_of(said, "connector"),
        roles=tuple(map(str, said.get("roles") or ())),
        expires_at=moment_of(said["expires_at"]),
    )


def issued_of(said: Any) -> IssuedAnswer:
    """Read credentials."""
    names = ("access_key_id", "secret_access_key", "session_token", "user", "app", "role_arn")
    return IssuedAnswer(
        **{name: line_of(said, name) for name in names},
        expires_at=moment_of(said["expires_at"]),
        proxy_password=str(said.get("proxy_password") or ""),
    )
