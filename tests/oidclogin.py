"""What the tests of the OIDC connector share: their fixtures' types, and a spec."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from awsgate.connect.oidc import OidcConnector
from awsgate.login import Identity

REDIRECT = "https://gate.example.com:8444/v1/callback"
STATE = "state-of-the-api"

type Connect = Callable[..., OidcConnector]
type LogIn = Callable[[OidcConnector], Awaitable[Identity]]
