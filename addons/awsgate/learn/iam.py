"""Learned rules as an IAM policy: JSON, or a data source of Terraform's AWS provider.

For the role that AWS saw. AWS asks for more than an audit line can show: what a service
does for the caller (iam:PassRole, KMS behind S3) has no line of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from awsgate.learn.grants import Arn, Grant
from awsgate.learn.patterns import for_iam, for_terraform, hcl, one_line

MANAGED_CHARS = 6144
"""AWS's limit for a managed policy, white space not counted; 10,240 for those in a role."""

type Statement = dict[str, Any]
type _Written = Callable[[Arn], tuple[str, bool]]


def iam_policy(grants: Sequence[Grant]) -> tuple[str, list[str]]:
    """Give one policy document for all ``grants``, and notes as ``role_documents`` does."""
    statements, notes = _statements(grants, for_iam)
    document = {"Version": "2012-10-17", "Statement": statements}
    size = len(json.dumps(document, separators=(",", ":")))
    if size > MANAGED_CHARS:
        notes.append(
            f"{size} characters: AWS takes {MANAGED_CHARS} in a managed policy, and 10240 in all "
            "policies inside of a role"
        )
    return json.dumps(document, indent=2) + "\n", notes


def terraform(user: str, grants: Sequence[Grant]) -> tuple[str, list[str]]:
    """Give a data source for each role, as ``terraform fmt`` writes it, and notes."""
    texts, notes = [], []
    for role_arn, group in groupby(sorted(grants, key=_role), key=_role):
        statements, found = _statements(list(group), for_terraform)
        notes += found
        name = re.sub(r"[^A-Za-z0-9_-]", "_", f"learned_{user}_{role_arn.rpartition('/')[2]}")
        blocks = "\n\n".join(_block(statement) for statement in statements)
        # A name may hold what would end the comment.
        about = f"# What {one_line(user)} did as {one_line(role_arn)}.\n"
        texts.append(f'{about}data "aws_iam_policy_document" "{name}" {{\n{blocks}\n}}\n')
    return "\n".join(texts), list(dict.fromkeys(notes))


def _role(grant: Grant) -> str:
    return grant.scope.role_arn


def _statements(grants: Sequence[Grant], write: _Written) -> tuple[list[Statement], list[str]]:
    notes: list[str] = []
    statements = [_statement(number, g, write, notes) for number, g in enumerate(grants, 1)]
    return statements, list(dict.fromkeys(notes))


def _statement(number: int, grant: Grant, write: _Written, notes: list[str]) -> Statement:
    service = "".join(part.capitalize() for part in grant.scope.service.split("-"))
    actions, resources = ", ".join(grant.actions), []
    for arn in grant.resources:
        pattern, exact = write(arn)
        if not exact:
            notes.append(f"? stands for a character that cannot be quoted: {pattern!r}")
        resources.append(pattern)
    if not resources:
        notes.append(f"on any resource, since none is known: {actions}")
    found: Statement = {
        "Sid": f"Learned{number}{service}",
        "Effect": "Allow",
        "Action": list(grant.actions),
        "Resource": resources or ["*"],
    }
    if not grant.regions:
        notes.append(f"in any region, since none is known: {actions}")
    else:
        found["Condition"] = {"StringEquals": {"aws:RequestedRegion": list(grant.regions)}}
    return found


def _block(statement: Statement) -> str:
    lines = [
        "  statement {",
        f'    sid    = "{statement["Sid"]}"',
        '    effect = "Allow"',
        "",
        *_list("actions", statement["Action"]),
        "",
        *_list("resources", statement["Resource"]),
    ]
    if "Condition" in statement:
        regions = statement["Condition"]["StringEquals"]["aws:RequestedRegion"]
        lines += [
            "",
            "    condition {",
            '      test     = "StringEquals"',
            '      variable = "aws:RequestedRegion"',
            f"      values   = [{', '.join(hcl(region) for region in regions)}]",
            "    }",
        ]
    return "\n".join([*lines, "  }"])


def _list(name: str, values: Sequence[str]) -> list[str]:
    return [f"    {name} = [", *(f"      {hcl(value)}," for value in values), "    ]"]
