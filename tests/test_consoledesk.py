"""Who may sign in to the console, for how long, and what is asked of STS for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.consoledesk import ConsoleDesk, Wanted
from awsgate.credentials import AwsCredentials, RoleRequest
from awsgate.errors import Code, Refusal
from awsgate.federation import Federation
from awsgate.policy import Policy, parse_policy

ARN = "arn:aws:iam::123456789012:role/Reader"
NOW = 1_795_428_930
WANTED = Wanted("alice", "prod", ARN)


class FakeSts:
    def __init__(self, *, chained: bool = False) -> None:
        self.chained = chained
        self.asked: list[RoleRequest] = []

    def chains(self, account: str) -> bool:
        assert account == "123456789012"
        return self.chained

    def assume(self, request: RoleRequest) -> AwsCredentials:
        self.asked.append(request)
        return AwsCredentials("ASIAX", "canary-secret", "canary-token", NOW + 3600)


class FakeSignin(Federation):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int | None]] = []

    def token(self, host: str, keys: SigningKeys, signin_s: int | None) -> str:
        assert keys.secret_access_key == "canary-secret"
        self.asked.append((host, signin_s))
        return "t" * 32


def policy(allow: dict[str, Any] | None = None, **more: Any) -> Policy:
    """Give a policy; ``deny``, ``options``, ``uri`` and ``gateway`` change it."""
    role = {
        "allow": {"app_labels": {"*": "*"}, "aws_role_arns": [ARN], **(allow or {})},
        "deny": more.get("deny", {}),
        "options": more.get("options", {}),
    }
    uri = more.get("uri", "https://console.aws.amazon.com/")
    documents = [
        {"kind": "role", "version": "v5", "metadata": {"name": "r"}, "spec": role},
        {"kind": "user", "version": "v2", "metadata": {"name": "alice"}, "spec": {"roles": ["r"]}},
        {"kind": "app", "version": "v3", "metadata": {"name": "prod"},
         "spec": {"uri": uri, "aws": {"external_id": "ext-1"}}},
        {"kind": "gateway", "spec": more.get("gateway", {})},
    ]  # fmt: skip
    return parse_policy([(str(document["kind"]), document) for document in documents])


def refusal(rules: Policy, wanted: Wanted = WANTED) -> Refusal:
    sts = FakeSts()
    with pytest.raises(Refusal) as caught:
        ConsoleDesk(sts, FakeSignin(), lambda: NOW).sign_in(rules, wanted)
    assert sts.asked == []
    return caught.value


def test_long_term_keys() -> None:
    sts, signin = FakeSts(), FakeSignin()

    found = ConsoleDesk(sts, signin, lambda: NOW).sign_in(policy(), WANTED)

    (request,) = sts.asked
    assert (request.role_arn, request.session_name, request.external_id) == (ARN, "alice", "ext-1")
    assert (request.duration_s, request.region, request.account) == (
        3600,
        "us-east-1",
        "123456789012",
    )
    assert signin.asked == [("us-east-1.signin.aws.amazon.com", 43200)]
    assert (found.seconds, found.rule, found.page) == (
        43200,
        "role/r",
        "https://console.aws.amazon.com/",
    )
    assert "SigninToken" not in repr(found)


def test_temporary_keys() -> None:
    sts, signin = FakeSts(chained=True), FakeSignin()

    found = ConsoleDesk(sts, signin, lambda: NOW).sign_in(policy(), WANTED)

    assert sts.asked[0].duration_s == 3600
    assert signin.asked == [("us-east-1.signin.aws.amazon.com", None)]
    assert (found.seconds, "role chaining" in found.because) == (3600, True)


def test_never_longer_than_the_login() -> None:
    found = ConsoleDesk(FakeSts(), FakeSignin(), lambda: NOW).sign_in(
        policy(), replace(WANTED, login_ends_in_s=1800)
    )

    assert (found.seconds, found.because) == (1800, "the login ends then")


def test_the_region_of_the_page_is_that_of_sign_in_and_sts() -> None:
    sts, signin = FakeSts(), FakeSignin()
    uri = "https://eu-central-1.console.aws.amazon.com/"

    ConsoleDesk(sts, signin, lambda: NOW).sign_in(policy(uri=uri), WANTED)

    assert sts.asked[0].region == "eu-central-1"
    assert signin.asked[0][0] == "eu-central-1.signin.aws.amazon.com"


def test_what_aws_is_to_enforce_goes_along() -> None:
    sts = FakeSts()
    options = {"aws_source_identity": "alice", "aws_session_tags": {"team": "blue"}}

    ConsoleDesk(sts, FakeSignin(), lambda: NOW).sign_in(policy(options=options), WANTED)

    assert sts.asked[0].handoff.source_identity == "alice"
    assert sts.asked[0].handoff.tags == (("team", "blue"),)


@pytest.mark.parametrize(
    "rules",
    [
        policy({"aws_access_levels": ["Read", "List"]}),
        policy({"aws_actions": ["s3:*"]}),
        policy({"aws_services": ["s3"]}),
        policy({"aws_regions": ["eu-*"]}),
        policy({"aws_resources": ["arn:aws:s3:::x/*"]}),
        policy(deny={"aws_actions": ["s3:DeleteBucket"]}),
        policy(deny={"aws_regions": ["us-east-1"]}),
        policy(options={"max_session_requests": 10}),
        policy(options={"max_session_bytes": 10**9}),
    ],
    ids=["levels", "actions", "services", "regions", "resources", "deny actions", "deny regions",
         "requests", "bytes"],
)  # fmt: skip
def test_a_rule_that_the_gateway_could_not_hold_in_a_browser_opens_no_console(
    rules: Policy,
) -> None:
    found = refusal(rules)

    assert found.code is Code.DENIED
    assert "restricts calls" in found.hint


def test_rules_about_where_and_when_one_signs_in_are_asked_then() -> None:
    rules = policy({"source_networks": ["10.0.0.0/8"]})
    desk = ConsoleDesk(FakeSts(), FakeSignin(), lambda: NOW)

    assert desk.sign_in(rules, replace(WANTED, client="10.1.2.3")).rule == "role/r"
    assert refusal(rules, replace(WANTED, client="192.0.2.1")).code is Code.DENIED


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (replace(WANTED, user="eve"), Code.DENIED),
        (replace(WANTED, app="none"), Code.DENIED),
        (replace(WANTED, role_arn=ARN + "2"), Code.DENIED),
        (replace(WANTED, role_arn="nonsense"), Code.DENIED),
        (replace(WANTED, login_ends_in_s=600), Code.UNSUPPORTED),
        (replace(WANTED, service="../x"), Code.UNSUPPORTED),
    ],
    ids=["user", "app", "role", "no role", "too late", "service"],
)
def test_others_are_refused_and_sts_is_not_asked(wanted: Wanted, code: Code) -> None:
    assert refusal(policy(), wanted).code is code


@pytest.mark.parametrize("destination", ["", "https://console.aws.amazon.com/s3/home"])
@pytest.mark.parametrize("region", ["evil.example/", "evil.example:443/x?", "cn-north-1"])
def test_a_roles_keys_go_to_a_host_of_awss_alone(region: str, destination: str) -> None:
    found = refusal(policy(), replace(WANTED, region=region, destination=destination))

    assert found.code is Code.UNSUPPORTED
    assert "is not a region of aws" in found.message


def test_an_app_that_is_no_console_is_told() -> None:
    found = refusal(policy(uri="https://sts.amazonaws.com"))

    assert found.code is Code.UNSUPPORTED
    assert "is no console" in found.message
