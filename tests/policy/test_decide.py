"""The decision: deny by default, deny beats allow, and always a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.policy import Decision, Policy, decide, grantable_roles, max_ttl_s, parse_policy

ACCOUNT = "123456789012"
READ = f"arn:aws:iam::{ACCOUNT}:role/Read"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/team/Admin"
PAY = f"arn:aws:iam::{ACCOUNT}:role/Pay"
ELSEWHERE = "arn:aws:iam::210987654321:role/Read"
CHINA = "arn:aws-cn:iam::210987654321:role/Read"
CONSOLE = "https://console.aws.amazon.com/"


def role(
    name: str,
    *,
    labels: object = None,
    arns: Sequence[str] = (),
    deny: dict[str, Any] | None = None,
    tenant: Sequence[str] = (),
    ttl: str | None = None,
) -> dict[str, Any]:
    allow = {
        "app_labels": labels or {},
        "aws_role_arns": list(arns),
        "aws_tenant_endpoints": list(tenant),
    }
    options = {"max_session_ttl": ttl} if ttl else {}
    return {
        "kind": "role",
        "version": "v5",
        "metadata": {"name": name},
        "spec": {"allow": allow, "deny": deny or {}, "options": options},
    }


def user(name: str, *roles: str, **traits: list[str]) -> dict[str, Any]:
    return {
        "kind": "user",
        "version": "v2",
        "metadata": {"name": name},
        "spec": {"roles": list(roles), "traits": traits},
    }


def app(name: str, uri: str = CONSOLE, external_id: str = "", **labels: str) -> dict[str, Any]:
    return {
        "kind": "app",
        "version": "v3",
        "metadata": {"name": name, "labels": labels},
        "spec": {"uri": uri, "aws": {"external_id": external_id}},
    }


def policy_of(*documents: dict[str, Any]) -> Policy:
    return parse_policy([(f"document {n}", d) for n, d in enumerate(documents, 1)])


DOCUMENTS = [
    role("reader", labels={"*": "*"}, arns=[READ, ELSEWHERE, CHINA]),
    role("admin", labels={"env": ["test", "dev"]}, arns=[ADMIN], ttl="2h"),
    role("apis", labels={"env": "test"}, arns=[ADMIN], tenant=["execute-api"], ttl="1h30m"),
    role("all-apis", labels={"env": "test"}, arns=[READ], tenant=["*"]),
    role("no-prod", deny={"app_labels": {"env": "prod"}}),
    role("no-admin", deny={"aws_role_arns": [ADMIN]}),
    role("team", labels={"team": "{{external.team}}"}, arns=["{{internal.arns}}"]),
    role("team-no", deny={"app_labels": {"team": "{{internal.not_team}}"}}),
    role("labels-only", labels={"*": "*"}),
    role("arns-only", arns=[READ]),
    role("split", labels={"env": "dev"}, arns=[READ]),
    user("reader", "reader"),
    user("admin", "admin", "reader"),
    user("apis", "admin", "apis"),
    user("all-apis", "all-apis"),
    user("careful", "reader", "admin", "no-prod"),
    user("no-admin", "admin", "no-admin"),
    user("payer", "team", team=["pay", "other"], arns=[PAY, READ]),
    user("starry", "team", team=["*", "^.*$"], arns=[PAY]),
    user("traitless", "team"),
    user("barred", "reader", "team-no", not_team=["pay"]),
    user("halves", "labels-only", "arns-only"),
    user("mixed", "split", "admin"),
    user("nobody"),
    app("test", env="test", aws_account_id=ACCOUNT),
    app("dev", env="dev"),
    app("prod", env="prod", aws_account_id=ACCOUNT),
    app("pay", team="pay", external_id="ext-1"),
    app("starry", team="*"),
    app("bare"),
    app("china", uri="https://cn-north-1.console.amazonaws.cn/"),
    app("api", uri="https://ec2.us-east-1.amazonaws.com/"),
]
POLICY = policy_of(*DOCUMENTS)

NO_ALLOW = "no role of the user allows this role in this app"

# user, app, role -> reason, rule. "an allow rule matches" is the one that allows.
CASES = {
    "unknown user": ("mallory", "test", READ, "the user is not known", ""),
    "user names are case-sensitive": ("Reader", "test", READ, "the user is not known", ""),
    "unknown app": ("reader", "nope", READ, "the app is not known", ""),
    "no arn": ("reader", "test", "Read", "what is asked for is not the arn of an iam role", ""),
    "user arn": (
        "reader",
        "test",
        f"arn:aws:iam::{ACCOUNT}:user/Read",
        "what is asked for is not the arn of an iam role",
        "",
    ),
    "session arn": (
        "reader",
        "test",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/Read/x",
        "what is asked for is not the arn of an iam role",
        "",
    ),
    "arn with a newline": (
        "reader",
        "test",
        READ + "\n",
        "what is asked for is not the arn of an iam role",
        "",
    ),
    "role of another account": (
        "reader",
        "test",
        ELSEWHERE,
        "the role is not in the account of the app",
        "",
    ),
    "app without account takes any": (
        "reader",
        "dev",
        ELSEWHERE,
        "an allow rule matches",
        "reader",
    ),
    "role of another partition": (
        "reader",
        "dev",
        CHINA,
        "the role is not in the partition of the app",
        "",
    ),
    "role of the app's partition": ("reader", "china", CHINA, "an allow rule matches", "reader"),
    "china app, standard role": (
        "reader",
        "china",
        READ,
        "the role is not in the partition of the app",
        "",
    ),
    "uri that names no partition": ("reader", "api", CHINA, "an allow rule matches", "reader"),
    "wildcard labels match an app without labels": (
        "reader",
        "bare",
        READ,
        "an allow rule matches",
        "reader",
    ),
    "one of several values": ("admin", "dev", ADMIN, "an allow rule matches", "admin"),
    "label with another value": ("admin", "prod", ADMIN, NO_ALLOW, ""),
    "label that is not there": ("admin", "bare", ADMIN, NO_ALLOW, ""),
    "arn differs in case": ("reader", "test", READ.replace("Read", "read"), NO_ALLOW, ""),
    "arn is a prefix": ("reader", "test", READ + "er", NO_ALLOW, ""),
    "name without its path": ("admin", "test", ADMIN.replace("team/", ""), NO_ALLOW, ""),
    "no roles": ("nobody", "test", READ, NO_ALLOW, ""),
    "labels of one role and arns of another": ("halves", "test", READ, NO_ALLOW, ""),
    "neither role allows both": ("mixed", "test", READ, NO_ALLOW, ""),
    "deny by label beats allow": ("careful", "prod", READ, "a deny rule matches", "no-prod"),
    "deny by label leaves other apps": ("careful", "test", READ, "an allow rule matches", "reader"),
    "deny by arn beats allow": ("no-admin", "test", ADMIN, "a deny rule matches", "no-admin"),
    "trait in label and arn": ("payer", "pay", PAY, "an allow rule matches", "team"),
    "second value of a trait": ("payer", "pay", READ, "an allow rule matches", "team"),
    "arn not in the trait": ("payer", "pay", ADMIN, NO_ALLOW, ""),
    "missing trait gives nothing": ("traitless", "pay", PAY, NO_ALLOW, ""),
    "wildcard in a trait is no wildcard": ("starry", "pay", PAY, NO_ALLOW, ""),
    "wildcard in a trait is itself": ("starry", "starry", PAY, "an allow rule matches", "team"),
    "deny by trait": ("barred", "pay", READ, "a deny rule matches", "team-no"),
    "deny by trait leaves other apps": ("barred", "test", READ, "an allow rule matches", "reader"),
}


def ask(
    policy: Policy, who: str, where: str, arn: str, *, service: str = "s3", tenant: bool = False
) -> Decision:
    return decide(
        policy,
        user=who,
        app=where,
        role_arn=arn,
        endpoint_service=service,
        tenant_controlled=tenant,
    )


@pytest.mark.parametrize(("who", "where", "arn", "reason", "rule"), CASES.values(), ids=CASES)
def test_decide(who: str, where: str, arn: str, reason: str, rule: str) -> None:
    decision = ask(POLICY, who, where, arn)

    assert decision.reason == reason
    assert decision.rule == (f"role/{rule}" if rule else "")
    assert decision.allowed is (reason == "an allow rule matches")


def test_an_allowed_call_carries_what_assume_role_needs() -> None:
    assert ask(POLICY, "payer", "pay", PAY) == Decision(
        allowed=True,
        reason="an allow rule matches",
        rule="role/team",
        user="payer",
        role_arn=PAY,
        external_id="ext-1",
        account=ACCOUNT,
    )


def test_a_denied_call_carries_the_account_and_no_external_id() -> None:
    assert ask(POLICY, "payer", "pay", ADMIN) == Decision(
        allowed=False,
        reason=NO_ALLOW,
        rule="",
        user="payer",
        role_arn=ADMIN,
        external_id="",
        account=ACCOUNT,
    )


NO_TENANT = "no role of the user allows an endpoint that other tenants can own"
TENANT_CASES = {
    "off by default": ("admin", ADMIN, "execute-api", NO_TENANT, ""),
    "listed by the second role that allows": (
        "apis",
        ADMIN,
        "execute-api",
        "an allow rule matches",
        "role/apis",
    ),
    "another service": ("apis", ADMIN, "es", NO_TENANT, ""),
    "part of a name": ("apis", ADMIN, "execute", NO_TENANT, ""),
    "star": ("all-apis", READ, "es", "an allow rule matches", "role/all-apis"),
    "without an allow it is no question": ("apis", READ, "execute-api", NO_ALLOW, ""),
}


@pytest.mark.parametrize(
    ("who", "arn", "service", "reason", "rule"), TENANT_CASES.values(), ids=TENANT_CASES
)
def test_tenant_controlled_endpoints(
    who: str, arn: str, service: str, reason: str, rule: str
) -> None:
    decision = ask(POLICY, who, "test", arn, service=service, tenant=True)

    assert (decision.reason, decision.rule) == (reason, rule)
    assert decision.allowed is (reason == "an allow rule matches")


LABELS = {
    "exact": ({"env": "test"}, {"env": "test"}, True),
    "case matters": ({"env": "Test"}, {"env": "test"}, False),
    "any value": ({"env": "*"}, {"env": ""}, True),
    "any value of a key that is not there": ({"env": "*"}, {}, False),
    "every key must match": ({"env": "test", "team": "a"}, {"env": "test", "team": "b"}, False),
    "all keys match": ({"env": "test", "team": "a"}, {"env": "test", "team": "a"}, True),
    "star beside other labels wins": ({"*": "*", "env": "x"}, {"env": "test"}, True),
    "glob": ({"env": "st*-1"}, {"env": "staging-1"}, True),
    "glob is anchored": ({"env": "st*"}, {"env": "test"}, False),
    "question mark is itself": ({"env": "tes?"}, {"env": "test"}, False),
    "brackets are themselves": ({"env": "tes[t]"}, {"env": "test"}, False),
    "dot is itself": ({"env": "t.st"}, {"env": "test"}, False),
    "regular expression": ({"env": "^(test|dev)$"}, {"env": "dev"}, True),
    "regular expression, no match": ({"env": "^(test|dev)$"}, {"env": "devel"}, False),
    "regular expression without its end is text": ({"env": "^te.*"}, {"env": "test"}, False),
    "digits are ascii": ({"env": r"^\d$"}, {"env": "٣"}, False),
    "none": ({}, {"env": "test"}, False),
}


@pytest.mark.parametrize(("selector", "labels", "matches"), LABELS.values(), ids=LABELS)
def test_labels_match_alike_in_allow_and_deny(
    selector: dict[str, str], labels: dict[str, str], matches: bool
) -> None:
    allowing = policy_of(
        role("r", labels=selector, arns=[READ]), user("u", "r"), app("a", **labels)
    )
    denying = policy_of(
        role("r", labels={"*": "*"}, arns=[READ], deny={"app_labels": selector}),
        user("u", "r"),
        app("a", **labels),
    )

    assert ask(allowing, "u", "a", READ).allowed is matches
    assert ask(denying, "u", "a", READ).allowed is not matches


def test_labels_of_spec_count_like_those_of_metadata() -> None:
    document = app("a")
    document["spec"]["labels"] = {"env": "test", "aws_account_id": ACCOUNT}
    policy = policy_of(
        role("r", labels={"env": "test"}, arns=[READ, ELSEWHERE]), user("u", "r"), document
    )

    assert ask(policy, "u", "a", READ).allowed
    assert ask(policy, "u", "a", ELSEWHERE).reason == "the role is not in the account of the app"


def test_text_around_a_template_stays() -> None:
    arn = 'arn:aws:iam::{{ external["account"] }}:role/Read'
    policy = policy_of(
        role("r", labels={"*": "*"}, arns=[arn]), user("u", "r", account=[ACCOUNT]), app("a")
    )

    assert ask(policy, "u", "a", READ).allowed
    assert grantable_roles(policy, "u") == [("a", READ)]


def test_an_empty_policy_denies() -> None:
    assert not ask(Policy(), "reader", "test", READ).allowed


# --- what may be asked for -------------------------------------------------------


def test_grantable_roles_are_those_that_decide_allows_sorted() -> None:
    assert grantable_roles(POLICY, "payer") == [("pay", PAY), ("pay", READ)]
    assert grantable_roles(POLICY, "admin", "test") == [("test", READ), ("test", ADMIN)]
    assert grantable_roles(POLICY, "no-admin") == []


@pytest.mark.parametrize(
    ("who", "where"), [("mallory", None), ("reader", "nope"), ("nobody", None)]
)
def test_nothing_is_grantable_to_the_unknown(who: str, where: str | None) -> None:
    assert grantable_roles(POLICY, who, where) == []


def test_a_value_of_a_trait_that_is_no_role_is_not_grantable() -> None:
    policy = policy_of(
        role("r", labels={"*": "*"}, arns=["{{internal.arns}}"]),
        user("u", "r", arns=["*", "Read", READ]),
        app("a"),
    )

    assert grantable_roles(policy, "u") == [("a", READ)]


TTLS = {
    "smallest of the roles that allow": ("apis", "test", ADMIN, 5400),
    "a role that allows something else does not count": ("admin", "test", READ, 43200),
    "its own role": ("admin", "test", ADMIN, 7200),
    "not allowed": ("reader", "test", ADMIN, 0),
    "denied": ("no-admin", "test", ADMIN, 0),
    "unknown user": ("mallory", "test", READ, 0),
}


@pytest.mark.parametrize(("who", "where", "arn", "seconds"), TTLS.values(), ids=TTLS)
def test_max_ttl(who: str, where: str, arn: str, seconds: int) -> None:
    assert max_ttl_s(POLICY, who, where, arn) == seconds


def test_no_role_outlasts_the_gateway() -> None:
    gateway = {"kind": "gateway", "spec": {"session": {"default_ttl": "5m", "max_ttl": "30m"}}}

    assert max_ttl_s(policy_of(*DOCUMENTS, gateway), "apis", "test", ADMIN) == 1800


# --- properties ------------------------------------------------------------------

USERS = sorted(POLICY.users)
APPS = sorted(POLICY.apps)
ARNS = [READ, ADMIN, PAY, ELSEWHERE, CHINA]
# What each user's roles list, by hand: the oracle for "never more than listed".
LISTED = {
    "reader": {READ, ELSEWHERE, CHINA},
    "admin": {READ, ELSEWHERE, CHINA, ADMIN},
    "apis": {ADMIN},
    "all-apis": {READ},
    "careful": {READ, ELSEWHERE, CHINA, ADMIN},
    "no-admin": set(),
    "payer": {PAY, READ},
    "starry": {PAY},
    "traitless": set(),
    "barred": {READ, ELSEWHERE, CHINA},
    "halves": set(),
    "mixed": {READ, ADMIN},
    "nobody": set(),
}


@given(
    who=st.one_of(st.sampled_from(USERS), st.text()),
    where=st.one_of(st.sampled_from(APPS), st.text()),
    arn=st.one_of(
        st.sampled_from(ARNS),
        st.text(),
        st.from_regex(r"arn:aws:iam::[0-9]{12}:role/.*", fullmatch=True),
        st.builds(lambda a, more: a + more, st.sampled_from(ARNS), st.text(max_size=3)),
    ),
    service=st.text(),
    tenant=st.booleans(),
)
def test_decide_is_total_and_allows_nothing_that_is_not_listed(
    who: str, where: str, arn: str, service: str, tenant: bool
) -> None:
    decision = ask(POLICY, who, where, arn, service=service, tenant=tenant)

    assert decision.reason
    if decision.allowed:
        assert arn in LISTED[who]
        assert where in APPS
    else:
        assert decision.external_id == ""


@given(
    who=st.sampled_from(USERS),
    where=st.sampled_from(APPS),
    arn=st.sampled_from(ARNS),
    by_label=st.booleans(),
    first=st.booleans(),
)
def test_a_deny_rule_added_anywhere_denies(
    who: str, where: str, arn: str, by_label: bool, first: bool
) -> None:
    deny = {"app_labels": {"*": "*"}} if by_label else {"aws_role_arns": [arn]}
    roles = list(POLICY.users[who].spec.roles)
    traits = {k: list(v) for k, v in POLICY.users[who].spec.traits.items()}
    others = [d for d in DOCUMENTS if (d["kind"], d["metadata"]["name"]) != ("user", who)]
    roles = ["stop", *roles] if first else [*roles, "stop"]
    policy = policy_of(*others, role("stop", deny=deny), user(who, *roles, **traits))

    assert not ask(policy, who, where, arn).allowed


@given(documents=st.permutations(DOCUMENTS))
def test_the_order_of_the_documents_does_not_matter(documents: list[dict[str, Any]]) -> None:
    policy = policy_of(*documents)

    assert policy == POLICY
    assert [*policy.roles] == [*POLICY.roles]
    for who, where, arn, _, _ in CASES.values():
        assert ask(policy, who, where, arn) == ask(POLICY, who, where, arn)
