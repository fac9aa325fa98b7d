"""Why AWS does not let awsgate be a role: AWS's answers, and the trust policies behind them."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from awsgate.doctor.accounts import BaseFacts, check_base
from awsgate.doctor.assuming import RoleFacts, check_role, principal_of
from awsgate.doctor.finding import Severity

USER = "arn:aws:iam::111122223333:user/gate"
SESSION = "arn:aws:sts::111122223333:assumed-role/GateHost/i-0abc"
ROLE = "arn:aws:iam::111122223333:role/team/reader"


def trust(principal: Any, condition: Any = None, action: Any = "sts:AssumeRole") -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": principal, "Action": action}
    return {"Statement": [statement | ({"Condition": condition} if condition else {})]}


def role(**facts: Any) -> RoleFacts:
    given = {
        "role_arn": ROLE,
        "used_by": "alice in prod",
        "app": "prod",
        "base_arn": USER,
        "code": "AccessDenied",
    }
    return RoleFacts(**{**given, **facts})


def read(document: dict[str, Any], **facts: Any) -> RoleFacts:
    return role(trust="read", trust_policy=document, **facts)


EXTERNAL = {"StringEquals": {"sts:ExternalId": "abc"}}
DENIED = "User: x is not authorized to perform: {} on resource: y"
ROWS = [
    (role(code=""), "role", ""),
    (role(trust="no-role"), "role-missing", "aws iam create-role --role-name reader"),
    (role(), "role-not-assumable", "aws iam update-assume-role-policy --role-name reader"),
    (role(), "role-not-assumable", "aws iam put-user-policy --user-name gate"),
    (
        role(message="... because no identity-based policy allows the sts:AssumeRole action"),
        "role-own-policy",
        "put-user-policy",
    ),
    (
        role(message="... because no resource-based policy allows the sts:AssumeRole action"),
        "role-trust",
        "update-assume-role-policy",
    ),
    (
        role(message="... with an explicit deny in a service control policy"),
        "role-explicit-deny",
        "aws iam get-role",
    ),
    (read(trust({"AWS": "arn:aws:iam::111122223333:user/other"})), "role-trust", "user/gate"),
    (read(trust({"Service": "ec2.amazonaws.com"})), "role-trust", "ec2.amazonaws.com"),
    (read(trust({"AWS": USER}, action="sts:TagSession")), "role-trust", "user/gate"),
    (read({"Statement": []}), "role-trust", "user/gate"),
    (read(trust({"AWS": USER}, EXTERNAL)), "role-external-id", "spec.aws.external_id of app prod"),
    (
        read(trust({"AWS": USER}, EXTERNAL), external_id="abd"),
        "role-external-id",
        "aws iam get-role --role-name reader",
    ),
    (read(trust({"AWS": USER}, EXTERNAL), external_id="abc"), "role-own-policy", "sts:AssumeRole"),
    (read(trust({"AWS": [USER]})), "role-own-policy", ROLE),
    (read(trust({"AWS": "111122223333"})), "role-own-policy", ROLE),
    (read(trust({"AWS": "arn:aws:iam::111122223333:root"})), "role-own-policy", ROLE),
    (read(trust("*")), "role-own-policy", ROLE),
    (
        read(trust({"AWS": "arn:aws:iam::111122223333:role/a/GateHost"}), base_arn=SESSION),
        "role-own-policy",
        "aws iam put-role-policy --role-name GateHost",
    ),
    (
        read(trust({"AWS": "arn:aws:iam::999988887777:role/GateHost"}), base_arn=SESSION),
        "role-trust",
        "role/GateHost",
    ),
    (role(message=DENIED.format("sts:TagSession"), tags=True), "role-tag-session", "TagSession"),
    (
        role(message=DENIED.format("sts:SetSourceIdentity"), source_identity=True),
        "role-source-identity",
        "sts:SetSourceIdentity",
    ),
    (role(base_arn=USER.replace("aws", "aws-us-gov", 1)), "role-other-partition", "111122223333"),
    (role(code="ValidationError"), "role-duration", "--max-session-duration 3600"),
    (role(code="RegionDisabledException"), "sts-region-disabled", "sts.regional: false"),
    (role(code="MalformedPolicyDocument"), "role-session-policy", "awsgate check"),
    (role(code="PackedPolicyTooLarge"), "role-session-policy", "aws_session_tags"),
    (role(code="Whatever"), "role-unanswered", "awsgate doctor"),
]


@pytest.mark.parametrize(("facts", "id_", "fix"), ROWS)
def test_what_is_said_of_a_role(facts: RoleFacts, id_: str, fix: str) -> None:
    found = check_role(facts)

    assert found.id == id_
    assert fix in found.fix
    assert (found.severity is Severity.OK) == (facts.code == "")


def test_the_trust_policy_to_paste_is_json_with_all_that_is_asked_for() -> None:
    others = trust({"Service": "ec2.amazonaws.com"})
    found = check_role(read(others, tags=True, external_id="it's", base_arn=SESSION))

    words = shlex.split(found.fix, comments=True)
    document = json.loads(words[words.index("--policy-document") + 1])
    assert document["Statement"][0] == others["Statement"][0], "whoever was there stays"
    assert document["Statement"][1] == {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111122223333:role/GateHost"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Condition": {"StringEquals": {"sts:ExternalId": "it's"}},
    }


def test_principals() -> None:
    assert principal_of(USER) == USER
    assert principal_of(SESSION) == "arn:aws:iam::111122223333:role/GateHost"


@pytest.mark.parametrize(
    ("facts", "id_", "fix"),
    [
        (BaseFacts("", code="NoCredentialsError"), "base-credentials-missing", "AWS_PROFILE="),
        (
            BaseFacts("", code="NoCredentialsError", in_container=True),
            "base-credentials-missing",
            "--http-put-response-hop-limit 2",
        ),
        (
            BaseFacts("", code="NoCredentialsError", metadata_disabled=True),
            "base-credentials-missing",
            "unset AWS_EC2_METADATA_DISABLED",
        ),
        (
            BaseFacts("prod", code="ProfileNotFound"),
            "base-credentials-missing",
            "aws configure --profile prod",
        ),
        (
            BaseFacts("", code="NoCredentialsError", gateway="serves"),
            "base-credentials-elsewhere",
            "",
        ),
        (
            BaseFacts("", code="NoCredentialsError", gateway="up"),
            "base-credentials-not-here",
            "awsgate doctor --user USER",
        ),
        (
            BaseFacts("", "env", code="GatewayCredentials"),
            "base-credentials-gateway",
            "env -u AWS_ACCESS_KEY_ID",
        ),
        (
            BaseFacts("", "sso", code="ExpiredToken"),
            "base-credentials-refused",
            "aws sso login",
        ),
        (
            BaseFacts("p", "sso", code="InvalidClientTokenId"),
            "base-credentials-refused",
            "--profile p",
        ),
        (BaseFacts("", "env", code="EndpointConnectionError"), "sts-unreachable", "TCP 443"),
        (BaseFacts("", "env", code="InternalFailure"), "sts-refused", "get-caller-identity"),
        (
            BaseFacts("", "env", arn="arn:aws:iam::111122223333:root"),
            "base-credentials-root",
            "aws iam create-user",
        ),
        (BaseFacts("", "env", arn=USER, skew_s=400.0), "clock-aws", "timedatectl set-ntp true"),
        (BaseFacts("", "env", arn=USER, skew_s=-90.0), "clock-aws", "timedatectl set-ntp true"),
    ],
)
def test_what_is_said_of_own_credentials(facts: BaseFacts, id_: str, fix: str) -> None:
    (found,) = [f for f in check_base(facts) if f.severity is not Severity.OK]

    assert found.id == id_
    assert fix in found.fix


def test_good_credentials_are_named_by_where_they_are_from() -> None:
    (found,) = check_base(BaseFacts("", "iam-role", arn=SESSION, skew_s=0.0))

    assert found.what == f"own credentials from the instance's role (IMDS) (iam-role): {SESSION}"
