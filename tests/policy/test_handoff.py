"""What goes into AssumeRole: the rule in IAM's words, the limits of STS, the user's traits.

The oracle for policies is an evaluator written here after "Policy evaluation logic" of
the IAM User Guide; that they are well formed is checked by moto.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.iam.policy_validation import IAMPolicyDocumentValidator

from awsgate.policy.handoff import (
    NOTHING,
    Handoff,
    handoff_faults,
    handoff_faults_for,
    handoff_warnings,
    make_handoff,
)
from awsgate.policy.resources import Role, User

ACCOUNT = "123456789012"
ARN = f"arn:aws:iam::{ACCOUNT}:role/Dev"
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def role(
    options: Mapping[str, Any], *, allow: Mapping[str, Any] | None = None, **more: Any
) -> Role:
    spec = {"allow": {"aws_role_arns": [ARN], **(allow or {})}, "options": dict(options), **more}
    document = {"kind": "role", "version": "v5", "metadata": {"name": "dev"}, "spec": spec}
    return Role.model_validate(document)


def user(**traits: list[str]) -> User:
    spec = {"roles": ["dev"], "traits": traits}
    return User.model_validate(
        {"kind": "user", "version": "v2", "metadata": {"name": "ada"}, "spec": spec}
    )


ADA = user(team=["blue"], email=["ada@example.com"], none=[], both=["a", "b"], wild=["*"])


def handed(made: Role, who: User = ADA, partition: str = "aws") -> Handoff:
    return make_handoff(made, who, partition=partition)


def computed(
    allow: Mapping[str, Any] | None = None,
    deny: Mapping[str, Any] | None = None,
    *,
    partition: str = "aws",
) -> Handoff:
    made = role({"aws_session_policy": "computed"}, allow=allow, deny=dict(deny or {}))
    found = handed(made, partition=partition)
    assert found.faults == ()
    if found.policy:
        IAMPolicyDocumentValidator(found.policy).validate()
    return found


# --- an evaluator of session policies ------------------------------------------------


@dataclass(frozen=True)
class Call:
    """One check that AWS makes."""

    action: str
    resource: str = "*"
    region: str = "eu-west-1"
    via_service: bool = False

    def keys(self) -> dict[str, str]:
        via = str(self.via_service).lower()
        return {"aws:RequestedRegion": self.region, "aws:ViaAWSService": via}


def matches(pattern: str, text: str) -> bool:
    parts = re.findall(r"\$\{([*?$])\}|(\*)|(\?)|(.)", pattern, re.DOTALL)
    expression = "".join(
        ".*" if star else "." if one else re.escape(quoted or plain)
        for quoted, star, one, plain in parts
    )
    return re.fullmatch(expression, text, re.DOTALL) is not None


def named(statement: Mapping[str, Any], element: str, text: str) -> bool:
    negated = f"Not{element}" in statement
    values = statement[f"Not{element}" if negated else element]
    found = any(matches(v, text) for v in ([values] if isinstance(values, str) else values))
    return found != negated


def holds(statement: Mapping[str, Any], call: Call) -> bool:
    for operator, keys in statement.get("Condition", {}).items():
        for key, wanted in keys.items():
            found = any(
                matches(w, call.keys()[key])
                for w in ([wanted] if isinstance(wanted, str) else wanted)
            )
            assert operator in ("Bool", "BoolIfExists", "StringLike", "StringNotLike")
            if found == (operator == "StringNotLike"):
                return False
    return True


def lets_pass(handoff: Handoff, call: Call) -> bool:
    """Say whether the session may make ``call``, if its role may do everything."""
    if not handoff.policy and not handoff.policy_arns:
        return True
    statements = json.loads(handoff.policy)["Statement"] if handoff.policy else []
    fitting = {
        s["Effect"]
        for s in statements
        if named(s, "Action", call.action) and named(s, "Resource", call.resource)
        if holds(s, call)
    }
    reads = call.action.partition(":")[2].startswith(("Get", "List", "Describe"))
    managed = any(arn.endswith("/ReadOnlyAccess") for arn in handoff.policy_arns) and reads
    return "Deny" not in fitting and ("Allow" in fitting or managed)


# --- computed ------------------------------------------------------------------------


def test_a_role_without_options_hands_on_nothing() -> None:
    assert handed(role({})) is NOTHING
    assert computed() == NOTHING, "no policy at all, not one that allows nothing"


NOT_EXPRESSIBLE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "all actions": ({"aws_actions": ["*"]}, {}),
    "levels with writing": ({"aws_access_levels": ["Read", "Write"]}, {}),
    "a wildcard for the service": ({"aws_actions": ["*:Get*", "s3:*"]}, {}),
    "a pattern of services": ({"aws_services": ["s3*"]}, {}),
    "a wildcard for the service of an arn": ({"aws_resources": ["arn:aws:*:*:*:x"]}, {}),
    "some such arn": ({"aws_resources": ["arn:aws:s?:::b", "arn:aws:s3:::b"]}, {}),
    "denied levels": ({}, {"aws_access_levels": ["Write"], "aws_actions": ["s3:*"]}),
    "denied in some apps": ({}, {"app_labels": {"env": "prod"}, "aws_actions": ["s3:*"]}),
    "denied as some role": ({}, {"aws_role_arns": [ARN], "aws_actions": ["s3:*"]}),
    "denied by a pattern": ({}, {"aws_actions": ["*:Delete*"]}),
    "denied and never met": ({}, {"aws_actions": ["s3:*"], "aws_services": ["ec2"]}),
    "denied for a trait that nobody has": ({}, {"aws_resources": ["arn:aws:s3:::{{internal.x}}"]}),
}


@pytest.mark.parametrize(("allow", "deny"), NOT_EXPRESSIBLE.values(), ids=NOT_EXPRESSIBLE)
def test_what_iam_cannot_say_is_left_to_the_gateway(
    allow: dict[str, Any], deny: dict[str, Any]
) -> None:
    assert computed(allow, deny) == NOTHING


OBJECT = "arn:aws:s3:::b/k"
NOTHING_LEFT: dict[str, dict[str, Any]] = {
    "resources of another partition": {"aws_resources": ["arn:aws-cn:s3:::b"]},
    "resources of a trait that nobody has": {"aws_resources": ["arn:aws:s3:::{{internal.x}}"]},
    "regions of a trait without values": {"aws_regions": ["{{internal.none}}"]},
    "services of a trait that nobody has": {"aws_services": ["{{internal.x}}"]},
    "actions beyond the levels": {"aws_access_levels": ["Write"], "aws_actions": ["s3:GetObject"]},
    "actions beyond the levels of reading": {
        "aws_access_levels": ["Read", "List"],
        "aws_actions": ["s3:PutObject"],
    },
}


@pytest.mark.parametrize("allow", NOTHING_LEFT.values(), ids=NOTHING_LEFT)
def test_a_rule_that_comes_to_nothing_allows_nothing_at_aws_either(allow: dict[str, Any]) -> None:
    found = computed(allow)

    assert not lets_pass(found, Call("s3:GetObject", OBJECT))
    assert not lets_pass(found, Call("s3:PutObject", OBJECT))
    assert not lets_pass(found, Call("ec2:RunInstances"))


ENFORCED: dict[str, tuple[dict[str, Any], dict[str, Any], Call, bool]] = {
    "an action": ({"aws_actions": ["s3:Get*"]}, {}, Call("s3:GetObject", OBJECT), True),
    "another": ({"aws_actions": ["s3:Get*"]}, {}, Call("s3:PutObject", OBJECT), False),
    "a service": ({"aws_services": ["s3"]}, {}, Call("s3:PutObject", OBJECT), True),
    "another service": ({"aws_services": ["s3"]}, {}, Call("ec2:RunInstances"), False),
    "kms for s3": (
        {"aws_services": ["s3"], "aws_actions": ["s3:*"], "aws_resources": ["arn:aws:s3:::b/*"]},
        {},
        Call("kms:Decrypt", "arn:aws:kms:eu-west-1:1:key/k", via_service=True),
        True,
    ),
    "an object": ({"aws_resources": ["arn:aws:s3:::b/*"]}, {}, Call("s3:GetObject", OBJECT), True),
    "another object": (
        {"aws_resources": ["arn:aws:s3:::b/*"]},
        {},
        Call("s3:GetObject", "arn:aws:s3:::c/k"),
        False,
    ),
    "an object of any partition": (
        {"aws_resources": ["arn:*:s3:::b/*"]},
        {},
        Call("s3:GetObject", OBJECT),
        True,
    ),
    "a team's object": (
        {"aws_resources": ["arn:aws:s3:::{{internal.team}}/*"]},
        {},
        Call("s3:GetObject", "arn:aws:s3:::blue/k"),
        True,
    ),
    "a star in a trait is a star": (
        {"aws_resources": ["arn:aws:s3:::{{internal.wild}}/*"]},
        {},
        Call("s3:GetObject", "arn:aws:s3:::blue/k"),
        False,
    ),
    "a region": ({"aws_regions": ["eu-*"]}, {}, Call("s3:GetObject", OBJECT), True),
    "another region": (
        {"aws_regions": ["eu-*"]},
        {},
        Call("s3:GetObject", region="us-east-1"),
        False,
    ),
    "a global service, which signs for us-east-1": (
        {"aws_regions": ["eu-*"]},
        {},
        Call("iam:GetUser", region="us-east-1"),
        False,
    ),
    "another region through a service": (
        {"aws_regions": ["eu-*"]},
        {},
        Call("s3:GetObject", region="us-east-1", via_service=True),
        True,
    ),
    "a denied action": (
        {"aws_services": ["s3"]},
        {"aws_actions": ["s3:Delete*"]},
        Call("s3:DeleteObject", OBJECT),
        False,
    ),
    "a denied action through a service": (
        {},
        {"aws_actions": ["iam:*"]},
        Call("iam:CreateUser", via_service=True),
        False,
    ),
    "half of a deny": (
        {},
        {"aws_actions": ["s3:*"], "aws_regions": ["us-*"]},
        Call("s3:GetObject", OBJECT),
        True,
    ),
    "all of a deny": (
        {},
        {"aws_actions": ["s3:*"], "aws_regions": ["us-*"]},
        Call("s3:GetObject", OBJECT, region="us-east-1"),
        False,
    ),
    "a denied region": ({}, {"aws_regions": ["us-*"]}, Call("ec2:X", region="us-east-1"), False),
    "denied in all apps": (
        {},
        {"app_labels": {"*": "*"}, "aws_actions": ["s3:*"]},
        Call("s3:GetObject", OBJECT),
        False,
    ),
    "a denied service": ({}, {"aws_services": ["ec2"]}, Call("ec2:RunInstances"), False),
    "a denied service and action": (
        {},
        {"aws_services": ["s3"], "aws_actions": ["*"]},
        Call("s3:GetObject"),
        False,
    ),
    "beside a denied service": (
        {},
        {"aws_services": ["s3"], "aws_actions": ["*", "ec2:*"]},
        Call("ec2:X"),
        True,
    ),
    "a denied object": (
        {},
        {"aws_resources": ["arn:aws:s3:::b/*", "arn:aws:s?:::c"]},
        Call("s3:GetObject", OBJECT),
        False,
    ),
}


@pytest.mark.parametrize(("allow", "deny", "call", "passes"), ENFORCED.values(), ids=ENFORCED)
def test_what_iam_can_say_aws_enforces(
    allow: dict[str, Any], deny: dict[str, Any], call: Call, passes: bool
) -> None:
    assert lets_pass(computed(allow, deny), call) == passes


LEVELS: dict[str, tuple[dict[str, Any], Call, bool]] = {
    "reading": ({}, Call("ec2:DescribeVpcs"), True),
    "writing": ({}, Call("ec2:DeleteVpc"), False),
    "reading elsewhere": ({"aws_services": ["s3"]}, Call("ec2:DescribeVpcs"), False),
    "reading there": ({"aws_services": ["s3"]}, Call("s3:GetObject"), True),
    "writing there": ({"aws_services": ["s3"]}, Call("s3:PutObject"), False),
    "an action named beside all": (
        {"aws_actions": ["*", "secretsmanager:GetSecretValue"]},
        Call("secretsmanager:GetSecretValue"),
        True,
    ),
    "a writing action named beside all": (
        {"aws_actions": ["*", "kms:Decrypt"]},
        Call("kms:Decrypt"),
        False,
    ),
    "a writing action named beside reading ones": (
        {"aws_actions": ["s3:Get*", "s3:PutObject", "iam:CreateUser"]},
        Call("s3:PutObject", OBJECT),
        False,
    ),
    "a reading one beside it": (
        {"aws_actions": ["s3:Get*", "s3:PutObject"]},
        Call("s3:GetObject", OBJECT),
        True,
    ),
    "an action that nobody knows counts as writing": (
        {"aws_actions": ["s3:FrobnicateObject"]},
        Call("s3:FrobnicateObject", OBJECT),
        False,
    ),
    "a key for s3": ({}, Call("kms:Decrypt", via_service=True), True),
    "another region": ({"aws_regions": ["eu-*"]}, Call("s3:GetX", region="us-east-1"), False),
}


@pytest.mark.parametrize(("allow", "call", "passes"), LEVELS.values(), ids=LEVELS)
def test_a_role_that_only_reads_gets_the_managed_policy(
    allow: dict[str, Any], call: Call, passes: bool
) -> None:
    found = computed({"aws_access_levels": ["Read", "List"], **allow})

    assert found.policy_arns == (READ_ONLY,)
    assert lets_pass(found, call) == passes


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov"])
def test_the_managed_policy_is_that_of_the_partition(partition: str) -> None:
    found = computed({"aws_access_levels": ["Read"]}, partition=partition)

    assert found.policy_arns == (f"arn:{partition}:iam::aws:policy/ReadOnlyAccess",)


def test_the_partition_is_known_from_a_pattern_of_roles_too() -> None:
    many = [f"arn:aws-us-gov:s3:::bucket-number-{i:02}/*" for i in range(60)]
    allow = {"aws_role_arns": ["arn:aws-us-gov:iam::*:role/*"], "aws_resources": many}

    (fault,) = handoff_faults(role({"aws_session_policy": "computed"}, allow=allow))

    assert "AWS takes 2048" in fault, "those of another partition would have been left out"


def test_what_is_only_reported_is_not_computed() -> None:
    options = {"aws_session_policy": "computed", "aws_session_tags": {"env": "prod"}}
    made = role(options, allow={"aws_actions": ["s3:*"]})

    assert make_handoff(made, ADA, partition="aws", enforce=False) == Handoff(
        tags=(("env", "prod"),)
    )
    written = role({"aws_session_policy": {"policy_arns": [READ_ONLY]}})
    assert make_handoff(written, ADA, partition="aws", enforce=False).policy_arns == (READ_ONLY,)


# What a rule may hold, and calls, drawn so that each meets the other often.
PATTERNS = {
    "aws_actions": ("*", "s3:*", "s3:Get?bject", "sqs:Send*", "*:Get*", "ec2:RunInstances"),
    "aws_services": ("s3", "sqs", "ec2", "s3*"),
    "aws_regions": ("*", "eu-*", "us-east-1"),
    "aws_resources": ("*", "arn:aws:s3:::b/*", "arn:aws:s?s:*:*:*", "arn:aws:sqs:*:1:q?"),
}
CALLS = st.builds(
    Call,
    action=st.sampled_from(["s3:GetObject", "s3:PutObject", "sqs:SendMessage", "ec2:RunInstances"]),
    resource=st.sampled_from(["*", OBJECT, "arn:aws:s3:::c/k", "arn:aws:sqs:eu-west-1:1:q1"]),
    region=st.sampled_from(["eu-west-1", "us-east-1", "us-west-2"]),
)
RULES = st.fixed_dictionaries(
    {}, optional={name: st.lists(st.sampled_from(p), min_size=1) for name, p in PATTERNS.items()}
)


def meets(rule: Mapping[str, list[str]], call: Call) -> bool:
    """Say whether the call meets all conditions, as the gateway reads them."""
    facts = {
        "aws_actions": call.action,
        "aws_services": call.action.partition(":")[0],
        "aws_regions": call.region,
        "aws_resources": call.resource,
    }
    return all(any(matches(v, facts[name]) for v in values) for name, values in rule.items())


@given(allow=RULES, deny=RULES, call=CALLS)
def test_aws_refuses_nothing_that_the_rule_allows(
    allow: dict[str, list[str]], deny: dict[str, list[str]], call: Call
) -> None:
    allowed = meets(allow, call) and not (deny and meets(deny, call))

    assert lets_pass(computed(allow, deny), call) >= allowed


@given(allow=RULES, deny=RULES, call=CALLS)
def test_aws_allows_no_more_than_a_rule_that_iam_can_say(
    allow: dict[str, list[str]], deny: dict[str, list[str]], call: Call
) -> None:
    left = {"*:Get*", "s3*", "arn:aws:s?s:*:*:*"}
    allow, deny = (
        {
            name: kept
            for name, values in rule.items()
            if (kept := [v for v in values if v not in left])
        }
        for rule in (allow, deny)
    )
    allowed = meets(allow, call) and not (deny and meets(deny, call))

    assert lets_pass(computed(allow, deny), call) == allowed


def test_variables_of_iam_are_plain_text_as_they_are_at_the_gateway() -> None:
    found = computed({"aws_resources": ["arn:aws:s3:::${aws:username}/*"]})

    assert "arn:aws:s3:::${$}{aws:username}/*" in found.policy


def test_equal_rules_make_one_key_of_the_cache() -> None:
    actions = [f"s3:{name}Object" for name in ("Get", "Put", "Delete", "Restore", "Head", "Copy")]
    one = computed({"aws_actions": actions})
    other = computed({"aws_actions": actions[::-1]})

    assert one == other
    assert hash(one) == hash(other)
    assert " " not in one.policy


# --- as it is written ----------------------------------------------------------------

STATEMENT = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
INLINE = {"Version": "2012-10-17", "Statement": [STATEMENT]}


def test_what_is_written_is_handed_on_as_it_is() -> None:
    options = {
        "aws_session_policy": {"inline": INLINE, "policy_arns": [READ_ONLY]},
        "aws_session_tags": {"team": "{{internal.team}}", "env": "prod"},
        "aws_transitive_tags": ["team", "env"],
        "aws_source_identity": "{{internal.email}}",
    }

    found = handed(role(options))

    assert json.loads(found.policy) == INLINE
    assert " " not in found.policy
    assert found.policy_arns == (READ_ONLY,)
    assert found.tags == (("env", "prod"), ("team", "blue"))
    assert found.transitive_tag_keys == ("env", "team")
    assert found.source_identity == "ada@example.com"
    assert found.faults == ()


# --- the limits ----------------------------------------------------------------------


def inline(**statement: Any) -> dict[str, Any]:
    return document(Statement=[STATEMENT | statement])


def document(**parts: Any) -> dict[str, Any]:
    return {"aws_session_policy": {"inline": INLINE | parts}}


def tags(**found: str) -> dict[str, Any]:
    return {"aws_session_tags": found}


def arns(*found: str) -> dict[str, Any]:
    return {"aws_session_policy": {"policy_arns": list(found)}}


def sized(chars: int) -> dict[str, Any]:
    """Give options with an inline policy of ``chars`` characters."""
    empty = len(json.dumps(inline(Sid="")["aws_session_policy"]["inline"], separators=(",", ":")))
    return inline(Sid="x" * (chars - empty))


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "too long": (sized(2049), "2049 characters, AWS takes 2048"),
    "too long with arns": (
        {"aws_session_policy": sized(2011)["aws_session_policy"] | {"policy_arns": [READ_ONLY]}},
        "2049 characters, AWS takes",
    ),
    "eleven policies": (arns(*[f"{READ_ONLY}{i}" for i in range(11)]), "11 policies, AWS takes 10"),
    "a policy of another account": (
        arns("arn:aws:iam::210987654321:policy/x"),
        f"is not where the role is (aws, {ACCOUNT})",
    ),
    "a policy of another partition": (
        arns("arn:aws-cn:iam::aws:policy/x"),
        f"is not where the role is (aws, {ACCOUNT})",
    ),
    "no statement": (document(Statement=[]), "Statement: is not a list of statements"),
    "a statement that is none": (document(Statement=["x"]), "Statement: is not a list of"),
    "no version": (
        document(Version=None),
        "Version: is not '2012-10-17'",
    ),
    "no effect": (inline(Effect="allow"), "Statement[0].Effect: is not Allow or Deny"),
    "action twice": (inline(NotAction="*"), "Statement[0]: needs Action or NotAction"),
    "resource twice": (inline(NotResource="*"), "Statement[0]: needs Resource or NotResource"),
    "a principal": (inline(Principal="*"), "Statement[0]: a session policy has no Principal"),
    "fifty-one tags": (tags(**{f"k{i}": "v" for i in range(51)}), "51 tags, AWS takes 50"),
    "a long key": (tags(**{"k" * 129: "v"}), "is not a tag's key: 1 to 128 letters"),
    "a key with a comma": (tags(**{"a,b": "v"}), "'a,b' is not a tag's key"),
    "aws's own key": (tags(**{"AWS:x": "v"}), "keys that start with 'aws:' are AWS's own"),
    "a key twice": (tags(Team="v", team="v"), "'team' and 'Team' are one key to AWS"),
    "a long value": (tags(team="v" * 257), "is not a tag's value: up to 256 letters"),
    "a value with a hash": (tags(team="#1"), "spec.options.aws_session_tags.team: '#1' is not"),
    "a transitive tag that is none": (
        {"aws_transitive_tags": ["team"]},
        "spec.options.aws_transitive_tags: 'team' is not in aws_session_tags",
    ),
    "a short source identity": ({"aws_source_identity": "a"}, "'a' is not 2 to 64 letters"),
    "a long source identity": ({"aws_source_identity": "a" * 65}, "is not 2 to 64 letters"),
    "a source identity of aws": ({"aws_source_identity": "aws:x"}, "'aws:x' is not 2 to 64"),
}


@pytest.mark.parametrize(("options", "fault"), FAULTS.values(), ids=FAULTS)
def test_what_aws_would_refuse_is_a_fault_of_the_policy(
    options: dict[str, Any], fault: str
) -> None:
    made = role(options)

    (found,) = handoff_faults(made)

    assert fault in found
    assert handoff_faults_for(made, ADA) == [found]
    assert handed(made).faults == (found,)


FINE: dict[str, dict[str, Any]] = {
    "the longest policy": sized(2048),
    "the longest tag": tags(**{"k" * 128: "v" * 256}),
    "fifty tags": tags(**{f"k{i}": "" for i in range(50)}),
    "letters of any script": tags(**{"équipe Ω": "日本 1_.:/=+-@"}),
    "a policy of the account": arns(f"arn:aws:iam::{ACCOUNT}:policy/team/x"),
    "the longest source identity": {"aws_source_identity": "a" * 64},
    "one statement without a list": document(Statement=STATEMENT),
    "characters beyond latin 1, escaped": inline(Sid="€"),
}


@pytest.mark.parametrize("options", FINE.values(), ids=FINE)
def test_what_aws_takes_is_none(options: dict[str, Any]) -> None:
    assert handoff_faults(role(options)) == []
    assert handed(role(options)).faults == ()


def test_a_computed_policy_that_is_too_long_is_a_fault() -> None:
    many = [f"arn:aws:s3:::bucket-number-{i:02}/*" for i in range(60)]
    made = role({"aws_session_policy": "computed"}, allow={"aws_resources": many})

    (fault,) = handoff_faults(made)

    assert re.search(
        r"aws_session_policy: 2\d\d\d characters, AWS takes 2048: use wildcards", fault
    )


OF_USERS: dict[str, tuple[dict[str, Any], str]] = {
    "no value": (tags(team="{{internal.none}}"), "has no values for this user, AWS takes one"),
    "no such trait": ({"aws_source_identity": "{{internal.x}}"}, "has no values for this user"),
    "two values": (tags(team="{{internal.both}}"), "has 2 values for this user, AWS takes one"),
    "a value that aws does not take": (tags(team="{{internal.wild}}"), "'*' is not a tag's value"),
}


@pytest.mark.parametrize(("options", "fault"), OF_USERS.values(), ids=OF_USERS)
def test_a_fault_of_one_user_is_told_with_the_user(options: dict[str, Any], fault: str) -> None:
    made = role(options)

    (found,) = handoff_faults_for(made, ADA)

    assert fault in found
    assert handoff_faults(made) == []
    assert handed(made).faults == (found,)


def test_a_rule_of_templates_is_measured_with_the_user() -> None:
    allow = {"aws_resources": ["arn:aws:s3:::{{internal.teams}}/*"]}
    made = role({"aws_session_policy": "computed"}, allow=allow)

    assert handoff_faults(made) == []
    assert handoff_faults_for(made, user(teams=["blue"])) == []
    (fault,) = handoff_faults_for(made, user(teams=[f"bucket-number-{i:02}" for i in range(90)]))
    assert "characters, AWS takes 2048" in fault


# --- warnings ------------------------------------------------------------------------

WARNINGS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]] = {
    "levels": ({"aws_access_levels": ["Write"]}, {}, {}, "allow.aws_access_levels holds at the"),
    "read only": ({"aws_access_levels": ["Read"]}, {}, {}, "ReadOnlyAccess lacks some reads"),
    "actions": ({"aws_actions": ["*:Get*"]}, {}, {}, "no wildcard in a service"),
    "hours": ({"hours": [{"to": "18:00"}]}, {}, {}, "allow.hours holds at the gateway alone"),
    "networks": ({"source_networks": ["10.0.0.0/8"]}, {}, {}, "allow.source_networks holds at"),
    "services": ({"aws_services": ["s3*"]}, {}, {}, "no wildcard in a service"),
    "resources": ({"aws_resources": ["arn:aws:*:::b"]}, {}, {}, "ARNs that name their service"),
    "deny": ({}, {"aws_access_levels": ["Write"]}, {}, "deny holds at the gateway alone"),
    "templates": ({}, {}, tags(team="{{internal.team}}"), "depends on the traits of the user"),
    "much of the space": ({}, {}, tags(a="v" * 255, b="v" * 255), "512 of about 450 of tags"),
}


@pytest.mark.parametrize(("allow", "deny", "options", "warning"), WARNINGS.values(), ids=WARNINGS)
def test_what_may_fail_or_is_not_enforced_is_a_warning(
    allow: dict[str, Any], deny: dict[str, Any], options: dict[str, Any], warning: str
) -> None:
    made = role({"aws_session_policy": "computed", **options}, allow=allow, deny=deny)

    (found,) = handoff_warnings(made)

    assert warning in found
    assert handoff_faults(made) == []


def test_there_is_no_warning_without_a_reason() -> None:
    allow = {"aws_actions": ["s3:*"], "aws_services": ["*"], "aws_resources": ["arn:aws:s3:::b"]}

    assert handoff_warnings(role({"aws_session_policy": "computed"}, allow=allow)) == []
    assert handoff_warnings(role(tags(team="{{internal.team}}")), ADA) == []
    assert handoff_warnings(role({})) == []
