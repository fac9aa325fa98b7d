"""A way into AWS's console that asks neither STS nor the sign-in endpoint."""

from __future__ import annotations

from dataclasses import dataclass, field

from awsgate.aws.sigv4 import SigningKeys
from awsgate.consoledesk import ConsoleDesk, SignedIn, Wanted
from awsgate.credentials import AwsCredentials, RoleRequest
from awsgate.errors import Code, Refusal
from awsgate.federation import Federation

TOKEN = "canary-signin-token-0123456789"


@dataclass
class FakeSts:
    """Gives keys to whoever the desk lets in; or is away."""

    asked: list[RoleRequest] = field(default_factory=list)
    away: bool = False

    def chains(self, account: str) -> bool:
        return account == ""

    def assume(self, request: RoleRequest) -> AwsCredentials:
        if self.away:
            raise Refusal(
                Code.UPSTREAM_FAILED, "STS gave no answer: no connection", hint="try again"
            )
        self.asked.append(request)
        return AwsCredentials("ASIAEXAMPLE", "canary-secret", "canary-token", 2_000_000_000)


class FakeSignin(Federation):
    """Gives one token."""

    def token(self, host: str, keys: SigningKeys, signin_s: int | None) -> str:
        assert host.endswith((".amazonaws.cn", ".amazon.com"))
        assert signin_s is None or signin_s >= 900
        assert keys.secret_access_key == "canary-secret"
        return TOKEN


class FakeConsole(ConsoleDesk):
    """The real rules before fakes of AWS; it keeps what was wanted."""

    def __init__(self) -> None:
        self.sts = FakeSts()
        super().__init__(self.sts, FakeSignin())
        self.wanted: list[Wanted] = []

    def sign_in(self, policy, wanted: Wanted) -> SignedIn:  # type: ignore[no-untyped-def]
        self.wanted.append(wanted)
        return super().sign_in(policy, wanted)
