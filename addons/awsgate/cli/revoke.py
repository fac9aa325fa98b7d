"""What ends AWS's own sessions of somebody who is locked: printed, never called.

A lock keeps the gateway from using a role; credentials that AWS has given are good until
they expire, wherever they went. IAM can deny them by their age: the inline policy that
the console puts on a role as AWSRevokeOlderSessions.

Source: "Revoke IAM role temporary security credentials", IAM User Guide.
"""

from __future__ import annotations

import json
import shlex
from datetime import datetime

from awsgate.policy import Policy, grantable_roles
from awsgate.policy.resources import LockTarget
from awsgate.session import session_name_for

POLICY_NAME = "AWSRevokeOlderSessions"


def revocation(target: LockTarget, policy: Policy | None, now: datetime) -> str:
    """Give the AWS CLI commands for the roles that a lock is about, with a comment each."""
    roles = roles_of(target, policy)
    if not roles:
        return "# no AWS role is known that this lock is about: name --aws-role-arn or --user"
    document = json.dumps(revoking(target, now), separators=(",", ":"))
    name = _policy_name(target)
    lines = [
        "# ends sessions that AWS began before now"
        + (" as this user" if target.user else ": those of all who use the role"),
        "# run it with rights to iam:PutRolePolicy in the account of the role",
    ]
    for arn in roles:
        command = ["aws", "iam", "put-role-policy", "--role-name", arn.rpartition("/")[2]]
        command += ["--policy-name", name, "--policy-document", document]
        lines += [f"# {arn}", shlex.join(command)]
    return "\n".join(lines)


def revoking(target: LockTarget, now: datetime) -> dict[str, object]:
    """Give the inline policy: deny all to sessions that are older than ``now``."""
    condition: dict[str, object] = {
        "DateLessThan": {"aws:TokenIssueTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    }
    if target.user:  # aws:userid is "<role id>:<session name>"
        condition["StringLike"] = {"aws:userid": f"*:{session_name_for(target.user)}"}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": condition}
        ],
    }


def roles_of(target: LockTarget, policy: Policy | None) -> list[str]:
    """Give the IAM roles that whoever a lock holds may have, as far as is known."""
    if target.aws_role_arn is not None:
        return [target.aws_role_arn]
    if policy is None or (target.user, target.role, target.app) == (None, None, None):
        return []
    return sorted(
        {
            arn
            for name, user in policy.users.items()
            if target.user in (None, name)
            and (target.role is None or target.role in user.spec.roles)
            for app, arn in grantable_roles(policy, name)
            if target.app in (None, app) and "*" not in arn
        }
    )


def _policy_name(target: LockTarget) -> str:
    # A name of its own for each user, so that one lock does not undo another's.
    return f"{POLICY_NAME}-{session_name_for(target.user)}" if target.user else POLICY_NAME
