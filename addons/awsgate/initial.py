"""The first policy: a few answers in, the files of a policy folder out. Pure.

One user, one app, one role of the policy with the IAM roles that it gives. What is
written is what somebody would write who had read policy/README.md, with its comments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from awsgate.aws.signin import CONSOLES
from awsgate.policy.fields import (
    ACCOUNT_LABEL,
    account_and_partition,
    is_account,
    is_name,
    is_session_name,
)

EXAMPLES = frozenset({"a5d98c0432dcf207661a9fcc2162f4ccce80800212d2ae2e8cdfc0a0e72f4a6f"})
"""Digests of the folder policy/ of each release, as ``is_example`` takes them."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the first policy is about."""

    user: str
    app: str
    account: str
    role_arns: tuple[str, ...]
    external_id: str = ""
    """What the trust policies ask for; empty: nothing."""
    profile: str = ""
    """The gateway's own AWS profile; empty: whatever its environment gives."""


def is_user(name: str) -> bool:
    """True for a name that AWS takes as session name as it stands."""
    return is_session_name(name)


def faults_in(answers: Answers) -> list[str]:
    """Give everything that is wrong with the answers."""
    found = [user_fault(answers.user), app_fault(answers.app), account_fault(answers.account)]
    found += [role_fault(arn, answers.account) for arn in answers.role_arns] or ["no role"]
    return [fault for fault in found if fault]


def user_fault(name: str) -> str:
    """Say what is wrong with the name of a user; empty: nothing."""
    return "" if is_user(name) else f"user {name!r}: 2 to 64 letters, digits and _+=,.@-"


def app_fault(name: str) -> str:
    """Say what is wrong with the name of an app; empty: nothing."""
    return "" if is_name(name) else f"app {name!r} is no name"


def account_fault(account: str) -> str:
    """Say what is wrong with an account; empty: nothing."""
    return "" if is_account(account) else f"account {account!r} is not 12 digits"


def role_fault(arn: str, account: str) -> str:
    """Say what is wrong with a role for this account; empty: nothing."""
    parts = account_and_partition(arn)
    if parts is None:
        return f"role {arn!r} is not the ARN of an IAM role"
    if parts[0] != account:
        return f"role {arn!r} is not in account {account}"
    if parts[1] not in CONSOLES:
        return f"role {arn!r}: write the policy by hand for partition {parts[1]}"
    return ""


def is_example(files: Mapping[str, bytes]) -> bool:
    """True for the files of the example policy as it is shipped: nobody has written them."""
    digest = sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode())
        digest.update(files[name])
    return digest.hexdigest() in EXAMPLES


def policy_files(answers: Answers) -> dict[str, str]:
    """Give name and text of each file. Raises ``ValueError`` with the faults of the answers."""
    faults = faults_in(answers)
    if faults:
        raise ValueError("; ".join(faults))
    return {
        "gateway.yaml": _gateway(answers),
        "roles.yaml": _roles(answers),
        "apps.yaml": _apps(answers),
        "users.yaml": _users(answers),
    }


def _text(value: str) -> str:
    """Write a scalar: quoted as JSON, which is YAML too."""
    return json.dumps(value, ensure_ascii=False)


def _gateway(answers: Answers) -> str:
    own = ""
    if answers.profile:
        own = f"""\
  # The gateway's own credentials: they need sts:AssumeRole on the roles, nothing else.
  base_credentials:
    "*":
      profile: {_text(answers.profile)}
"""
    return f"""\
# The gateway's own settings. Every key may be left out; these are the defaults.
kind: gateway
version: v1
metadata:
  name: gateway
spec:
  listen: 127.0.0.1:8080
  # CONNECT to hosts that are not AWS: tunnel (a workstation) or refuse (a shared host).
  non_aws: tunnel
  metrics_listen: 127.0.0.1:9464
{own}"""


def _roles(answers: Answers) -> str:
    arns = "".join(f"      - {_text(arn)}\n" for arn in answers.role_arns)
    return f"""\
# What may be done. A role gives nothing until a user has it (users.yaml), and it
# gives only what it lists.
kind: role
version: v5
metadata:
  name: {_text(_role_name(answers))}
spec:
  allow:
    # Which apps: those with this label (apps.yaml).
    app_labels:
      {ACCOUNT_LABEL}: "{answers.account}"
    # Which IAM roles of the account.
    aws_role_arns:
{arns}"""


def _apps(answers: Answers) -> str:
    partition = answers.role_arns[0].split(":")[1]
    external = ""
    if answers.external_id:
        external = f"""\
  aws:
    # Sent with AssumeRole, as the trust policies of the roles ask.
    external_id: {_text(answers.external_id)}
"""
    return f"""\
# Where it may be done: one document an AWS account, or a way into one.
kind: app
version: v3
metadata:
  name: {_text(answers.app)}
  labels:
    {ACCOUNT_LABEL}: "{answers.account}"  # quoted: YAML drops leading zeros
spec:
  uri: https://{CONSOLES[partition].console}/
{external}"""


def _users(answers: Answers) -> str:
    return f"""\
# Who may do it. Someone who is not listed may do nothing.
kind: user
version: v2
metadata:
  name: {_text(answers.user)}
spec:
  roles:
    - {_text(_role_name(answers))}
"""


def _role_name(answers: Answers) -> str:
    return f"{answers.app}-access"
