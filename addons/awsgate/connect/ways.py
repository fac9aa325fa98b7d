"""The ways in which a connector lets somebody log in, and how it says no.

A connector has one or more of them; the control API (``awsgate.web``) asks for no more
than stands here. What a way must remember between its first step and its last is
``memory``: text, kept by the API on the gateway's side and handed back once. Who logs in
never sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from awsgate.errors import GateError
from awsgate.login import Identity
from awsgate.policy.connectors import Connector, Github, Oidc
from awsgate.policy.rolemapping import TooMany

type Way = Literal["browser", "device", "id-token"]


class LoginRefused(GateError):
    """An identity that is not proved, or is not enough.

    ``reason`` is stable: audit field and metric label, as ``wrong-audience``. The message
    goes to whoever logs in, so it holds no token and no secret.
    """

    def __init__(self, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.hint = hint

    def __repr__(self) -> str:
        return f"LoginRefused({self.reason}: {self.message})"


@dataclass(frozen=True, slots=True)
class Begun:
    """A login in a browser has begun: it goes to ``url``."""

    url: str
    memory: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """A login that ends on another device: there somebody types ``user_code``."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str
    """With the code in it; empty if the provider gives none."""
    interval_s: int
    expires_in_s: int
    memory: Mapping[str, str] = field(repr=False)


def roles_given(mapped: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """Give the roles that ``mapped`` gives. Raises ``LoginRefused`` if they are too many."""
    try:
        return mapped()
    except TooMany as exc:
        raise LoginRefused(
            "oversized",
            str(exc),
            hint="the operator of the gateway can match fewer claims, groups or attributes",
        ) from None


class Pending(GateError):
    """Nobody has typed the code yet: ask again, after the interval."""

    def __init__(self, *, slow_down: bool = False) -> None:
        super().__init__("the code has not been typed yet")
        self.slow_down = slow_down
        """Ask 5 seconds more seldom from now on (RFC 8628)."""


class BrowserWay(Protocol):
    """Through a browser, which comes back to the gateway with the answer."""

    async def begin(self, *, state: str, redirect_url: str) -> Begun:
        """Give where the browser goes. ``state`` comes back with the answer."""
        ...

    async def finish(self, answer: Mapping[str, str], memory: Mapping[str, str]) -> Identity:
        """Read the query or form of the callback. Raises ``LoginRefused``."""
        ...


class DeviceWay(Protocol):
    """By a code that is typed on another device."""

    async def start_device(self) -> DeviceCode:
        """Ask the provider for a code. Raises ``LoginRefused``."""
        ...

    async def poll_device(self, memory: Mapping[str, str]) -> Identity:
        """Give who typed the code. Raises ``Pending`` or ``LoginRefused``."""
        ...


class IdTokenWay(Protocol):
    """With a token that the platform of a machine issued."""

    async def prove_id_token(self, token: str) -> Identity:
        """Give who the token speaks of. Raises ``LoginRefused``."""
        ...


def ways_of(document: Connector) -> tuple[Way, ...]:
    """Give the ways that a connector has by its document; whether the provider can, it says."""
    if isinstance(document, Oidc):
        known: Mapping[Way, bool] = {
            "browser": bool(document.spec.client_id),
            "device": bool(document.spec.client_id) and document.spec.device,
            "id-token": document.spec.id_tokens is not None,
        }
    elif isinstance(document, Github):
        # Without a secret GitHub answers the device flow alone.
        known = {
            "browser": document.spec.client_secret is not None,
            "device": document.spec.device,
        }
    else:
        known = {"browser": True}
    return tuple(way for way, has in known.items() if has)
