"""Credentials of the gateway ahead: what is asked, with whose login, and what each no becomes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from awsgate.controlclient import ControlError, GatewayAway, IssuedAnswer
from awsgate.credentials import RoleRequest
from awsgate.errors import Code, Refusal, SetupError
from awsgate.loginstore import FOLDER_VARIABLE, Stored, forget, save
from awsgate.nextgateway import FOLDER, NextGateway, publish_root
from awsgate.outgoing import Hop
from awsgate.pins import Root, roots_in
from awsgate.policy import UpstreamGateway
from awsgate.servercert import ensure_server_certificate
from awsgate.upstreamkeys import UpstreamAssumer
from signers import WHEN

CONTROL = "https://jump.example.com:3081"
SPEC = UpstreamGateway(url="https://jump.example.com:8443", control=CONTROL)
ROLE = "arn:aws:iam::123456789012:role/Reader"
HOP = Hop("gateway/jump.example.com:8443", "alice", "console", read_only=True)
REQUEST = RoleRequest(ROLE, "alice", "", "", "aws", 0, "123456789012", hop=HOP)
NOW = WHEN.timestamp()
GIVEN = IssuedAnswer(
    "GATEAAAAAAAAAAAAAAAA", "canary-secret", "canary-token", int(NOW) + 3600,
    "alice", "console", ROLE, "canary-password",
)  # fmt: skip


@dataclass
class Ask:
    """Stands for the control API."""

    says: IssuedAnswer | Exception = GIVEN
    calls: list[tuple[str, str, Hop, str]] = field(default_factory=list)

    def __call__(self, stored: Stored, root: Root, hop: Hop, role_arn: str) -> IssuedAnswer:
        self.calls.append((stored.login, root.pin, hop, role_arn))
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@dataclass
class Rig:
    state: Path
    stored: Stored
    root: bytes
    ask: Ask = field(default_factory=Ask)
    spec: UpstreamGateway = SPEC

    def assumer(self) -> UpstreamAssumer:
        return UpstreamAssumer(self.spec, self.state, ask=self.ask, clock=lambda: NOW)

    def keep(self, **changes: object) -> None:
        stored = replace(self.stored, **changes)  # type: ignore[arg-type]
        self.stored = save(stored, bundle=self.root, root=self.root)

    def refused(self, request: RoleRequest = REQUEST) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.assumer().assume(request)
        return caught.value


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "logins"))
    monkeypatch.setattr("awsgate.loginstore._keyring", lambda: None)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    made = ensure_server_certificate(tmp_path / "certs", ["jump.example.com"], None, now=WHEN)
    stored = Stored(
        gateway=CONTROL, proxy=SPEC.url, user="alice", connector="oidc/okta",
        login="gatelogin.canary", expires_at=int(NOW) + 3600, pin=made.pin, bundle_path="",
        root_path="", id="ab" * 10,
    )  # fmt: skip
    rig = Rig(state, stored, made.root)
    rig.keep()
    return rig


def test_the_login_here_asks_for_exactly_what_the_session_is(rig: Rig) -> None:
    given = rig.assumer().assume(REQUEST)

    assert rig.ask.calls == [("gatelogin.canary", rig.stored.pin, HOP, ROLE)]
    assert (given.access_key_id, given.secret_access_key, given.session_token) == (
        GIVEN.access_key_id, GIVEN.secret_access_key, GIVEN.session_token,
    )  # fmt: skip
    assert given.expires_at == NOW + 3600


def test_the_control_api_need_not_be_named_where_the_login_names_the_proxy(rig: Rig) -> None:
    rig.keep(gateway="https://other.example.com:3081", proxy="https://other.example.com:8443")
    rig.spec = UpstreamGateway(url="https://jump.example.com:8443/")

    assert rig.assumer().assume(REQUEST).access_key_id == GIVEN.access_key_id
    rig.spec = UpstreamGateway(url="https://nobody.example.com:8443")
    assert rig.refused().code is Code.SESSION_EXPIRED


def test_the_root_of_the_login_is_put_where_workers_find_it(rig: Rig) -> None:
    ahead = NextGateway(SPEC, rig.state)
    with pytest.raises(Refusal, match="nobody is logged in") as caught:
        ahead.check()

    rig.assumer().assume(REQUEST)

    assert CONTROL in caught.value.hint
    ahead.check()
    assert [root.pin for root in roots_in(Path(ahead.root()).read_bytes())] == [rig.stored.pin]


def test_another_root_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    ahead = NextGateway(SPEC, tmp_path)
    first, second = ("sha256:" + digit * 64 for digit in "ab")
    publish_root(tmp_path, "one", first)
    before = ahead.root()

    publish_root(tmp_path, "two", second)

    assert before.endswith(f"{'a' * 64}.pem")
    assert Path(ahead.root()).read_text() == "two"
    assert len(list((tmp_path / FOLDER).iterdir())) == 1
    Path(ahead.root()).write_bytes(b"\xff spoilt")
    publish_root(tmp_path, "two", second)
    assert Path(ahead.root()).read_text() == "two"
    with pytest.raises(ValueError, match="no pin"):
        publish_root(tmp_path, "x", "sha256:../../etc/passwd")


# --- what is refused here -----------------------------------------------------------------


def test_credentials_in_another_name_are_not_served_with_this_login(rig: Rig) -> None:
    refusal = rig.refused(replace(REQUEST, hop=replace(HOP, user="mallory")))

    assert (refusal.code, rig.ask.calls) == (Code.DENIED, [])


def test_without_a_login_the_way_to_one_is_told(rig: Rig) -> None:
    forget(CONTROL)

    refusal = rig.refused()

    assert (refusal.code, refusal.status) == (Code.SESSION_EXPIRED, 403)
    assert f"awsgate login --gateway {CONTROL}" in refusal.hint
    assert "nobody is logged in" in rig.assumer().missing()[0]


def test_a_login_that_has_ended_is_not_asked_with(rig: Rig) -> None:
    rig.keep(expires_at=int(NOW))

    refusal = rig.refused()

    assert (refusal.code, rig.ask.calls) == (Code.SESSION_EXPIRED, [])
    assert f"awsgate login --gateway {CONTROL}" in refusal.hint
    assert "has ended" in rig.assumer().missing()[0]


def test_a_root_that_is_not_the_trusted_one_is_not_used(rig: Rig) -> None:
    rig.keep(pin="sha256:" + "0" * 64)

    assert (rig.refused().code, rig.ask.calls) == (Code.UPSTREAM_FAILED, [])


def test_a_request_that_is_no_hop_is_none_of_its_business(rig: Rig) -> None:
    assert rig.refused(replace(REQUEST, hop=None)).code is Code.GATEWAY_FAULT
    assert rig.refused(replace(REQUEST, hop=replace(HOP, user=""))).code is Code.GATEWAY_FAULT


WRONG = {
    "aws's own": {"access_key_id": "ASIAAAAAAAAAAAAAAAAA"},
    "another user's": {"user": "bob"},
    "for another app": {"app": "other"},
    "for another role": {"role_arn": ROLE + "2"},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_nothing_is_taken_for_credentials_but_what_was_asked_for(
    rig: Rig, changes: dict[str, str]
) -> None:
    rig.ask.says = replace(GIVEN, **changes)  # type: ignore[arg-type]

    assert rig.refused().code is Code.GATEWAY_FAULT


# --- what the gateway ahead says -------------------------------------------------------------

NOES: dict[str, tuple[Exception, Code, int, str]] = {
    "login over": (
        ControlError(401, "session-expired", "over"), Code.SESSION_EXPIRED, 403, "awsgate login"),
    "login unknown": (
        ControlError(401, "unknown-key", "?"), Code.SESSION_EXPIRED, 403, "awsgate login"),
    "locked, or logged out": (
        ControlError(403, "locked", "logged out", hint="ask"), Code.LOCKED, 403, "awsgate login"),
    "denied": (
        ControlError(403, "denied", "may not", hint="try another"), Code.DENIED, 403,
        "try another"),
    "a code of the api's own": (ControlError(409, "ambiguous", "which"), Code.DENIED, 403, "roles"),
    "too many": (ControlError(429, "too-many", "slowly"), Code.UPSTREAM_FAILED, 503, "again"),
    "broken": (ControlError(500, "gateway-fault", "x"), Code.UPSTREAM_FAILED, 503, "again"),
    "away": (GatewayAway("no answer", hint="is it running?"), Code.UPSTREAM_FAILED, 503, "running"),
    "another certificate": (
        SetupError("the certificate is not what was trusted", hint="awsgate login"),
        Code.UPSTREAM_FAILED, 503, "awsgate login"),
}  # fmt: skip


@pytest.mark.parametrize(("no", "code", "status", "hint"), NOES.values(), ids=NOES)
def test_each_no_becomes_a_refusal_that_says_what_to_do(
    rig: Rig, no: Exception, code: Code, status: int, hint: str
) -> None:
    rig.ask.says = no

    refusal = rig.refused()

    assert (refusal.code, refusal.status) == (code, status)
    assert hint in refusal.hint


def test_the_words_of_the_other_gateway_are_one_line_of_text(rig: Rig) -> None:
    rig.ask.says = ControlError(403, "denied", "a\r\nx-evil: 1\x1b[2J" + "b" * 1000, hint="h\ni")

    refusal = rig.refused()

    assert (refusal.message + refusal.hint).isprintable()
    assert len(refusal.message) < 500


def test_no_repr_or_refusal_holds_a_secret(rig: Rig) -> None:
    rig.ask.says = ControlError(500, "x", "y")

    shown = f"{rig.refused()!r} {GIVEN!r} {rig.stored!r} {rig.refused().detail}"

    assert "canary" not in shown


def test_a_stored_login_that_others_may_read_is_not_used(rig: Rig) -> None:
    record = next(Path(rig.stored.root_path).parent.parent.glob("*.json"))
    record.chmod(0o644)

    assert rig.refused().code is Code.ROLE_UNAVAILABLE
    assert rig.assumer().missing() != []
