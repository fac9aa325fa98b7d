"""What ends AWS's own sessions of somebody who is locked: printed, never called.

A lock keeps the gateway from using a role; credentials that AWS has given are good until
they expire, wherever they went. IAM can deny them by their age: the inline policy that
the console puts on a role as AWSRevokeOlderSessions.

Source: "Revoke IAM role temporary security credentials", IAM User Guide.
"""

from __future__ import annotations

import json
import shlex
from datetime import datetime, timedelta

from awsgate.policy import Policy, grantable_roles
from awsgate.policy.resources import LockTarget
from awsgate.session import session_name_for
from awsgate.timestamps import utc_seconds

POLICY_NAME = "AWSRevokeOlderSessions"


def revocation(target: LockTarget, policy: Policy | None, now: datetime) -> str:
    """Give the AWS CLI commands for the roles that a lock is about, with a comment each."""
    roles = roles_of(target, policy)
    if not roles:
        return "# no AWS role is known that this lock is about: name --aws-role-arn or --user"
    names = session_names_of(target, policy)
    document = json.dumps(revoking(names, now), separators=(",", ":"))
    name = _policy_name(target)
    whose = "of all who use the role" if names is None else f"called {', '.join(names)}"
    lines = [
        f"# denies all to sessions {whose} that AWS began before now;",
        "# later ones are not touched, so it need not be taken back. Run it with rights to",
        "# iam:PutRolePolicy in the account of the role.",
    ]
    for arn in roles:
        command = ["aws", "iam", "put-role-policy", "--role-name", arn.rpartition("/")[2]]
        command += ["--policy-name", name, "--policy-document", document]
        lines += [f"# {arn}", shlex.join(command)]
    return "\n".join(lines)


def revoking(session_names: list[str] | None, now: datetime) -> dict[str, object]:
    """Give the inline policy: deny all to sessions of these names that are older than ``now``.

    None: of any name. AWS dates sessions by the second, so what began in this very
    second is taken along.
    """
    until = utc_seconds(now + timedelta(seconds=1))
    condition: dict[str, object] = {"DateLessThan": {"aws:TokenIssueTime": until}}
    if session_names is not None:  # aws:userid is "<role id>:<session name>"
        condition["StringLike"] = {"aws:userid": [f"*:{name}" for name in session_names]}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": condition}
        ],
    }


def session_names_of(target: LockTarget, policy: Policy | None) -> list[str] | None:
    """Give the session names of whoever a lock may hold; None: they can have any.

    The gateway serves others with the same IAM role, and holds their credentials: they
    must not be revoked with those of the locked.
    """
    if target.user is not None:
        return [session_name_for(target.user)]
    if target.role is None or policy is None:
        return None
    return sorted(
        session_name_for(name)
        for name, user in policy.users.items()
        if target.role in user.spec.roles
    )


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
    # A name of its own for each user or role, so that one lock does not undo another's.
    whose = target.user or target.role
    return f"{POLICY_NAME}-{session_name_for(whose)}" if whose else POLICY_NAME
