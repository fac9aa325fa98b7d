"""Learn mode: what was done passes, and nothing else does, whatever was done.

The oracle for awsgate's documents is the gateway's own decision on them, read back as any
policy is. That for IAM's is a matcher of a few lines, written from IAM's own rules, and
that for Terraform's strings is Terraform.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awsgate.learn import aws_grants, gateway_grants, iam_policy, role_documents, terraform
from lessons import (
    ACTIONS,
    PLAIN,
    REGIONS,
    applied,
    base_policy,
    lesson_of,
    line,
    lines_of,
    passes,
)

MADE = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.sampled_from([*PLAIN, ""]), st.sampled_from(REGIONS)),
    min_size=1,
    max_size=12,
)


def may_follow(made: Iterable[tuple[str, str, str]], call: tuple[str, str, str]) -> bool:
    """True if all actions of the call were done there, alone or with others.

    Sharing a rule lets actions be combined on what each was used on, and no more.
    """
    actions, resource, region = call
    done = {
        action
        for names, where, at in made
        for action in names.split()
        if at == region and where in (resource, "")
    }
    return set(actions.split()) <= done


@settings(max_examples=150)
@given(MADE)
def test_awsgate_lets_pass_what_was_done_and_nothing_else(made: list[tuple[str, str, str]]) -> None:
    policy, _ = applied(lesson_of(lines_of(made)))

    for actions, resource, region in made:
        assert passes(policy, actions, *([resource] if resource else []), region=region)
    for call in itertools.product(ACTIONS, PLAIN, REGIONS):
        actions, resource, region = call
        if passes(policy, actions, resource, region=region):
            assert may_follow(made, call)
    assert not passes(policy, "s3:DeleteObject", PLAIN[0])
    assert not passes(policy, "s3:GetObject", PLAIN[0], region="ap-south-1")


@settings(max_examples=150)
@given(MADE)
def test_iam_lets_pass_what_was_done_and_nothing_else(made: list[tuple[str, str, str]]) -> None:
    text, _ = iam_policy(aws_grants(lesson_of(lines_of(made))))
    document = json.loads(text)

    for actions, resource, region in made:
        assert all(iam_allows(document, a, resource or PLAIN[0], region) for a in actions.split())
    for call in itertools.product(("s3:GetObject", "dynamodb:GetItem"), PLAIN, REGIONS):
        assert iam_allows(document, *call) == may_follow(made, call)


def iam_allows(document: dict[str, Any], action: str, resource: str, region: str) -> bool:
    """IAM's own rules, for documents that only allow: wildcards, ``${*}``, one condition."""
    return any(
        action in statement["Action"]
        and any(iam_matches(pattern, resource) for pattern in statement["Resource"])
        and region
        in statement.get("Condition", {"StringEquals": {"aws:RequestedRegion": [region]}})[
            "StringEquals"
        ]["aws:RequestedRegion"]
        for statement in document["Statement"]
    )


def iam_matches(pattern: str, text: str) -> bool:
    parts = re.findall(r"\$\{(.)\}|(\*)|(\?)|(.)", pattern, re.DOTALL)
    regex = "".join(
        ".*" if star else "." if one else re.escape(quoted or char)
        for quoted, star, one, char in parts
    )
    return re.fullmatch(regex, text, re.DOTALL) is not None


NASTY = "abc*?${}&%\"\\'#: /\u00e9\u2028\x85\x7f\t\n\U0001f600"


@settings(max_examples=300)
@given(
    st.text(st.sampled_from(NASTY), min_size=1, max_size=20).map(lambda k: f"arn:aws:s3:::b/{k}")
)
def test_a_key_that_callers_made_up_is_no_wildcard_and_no_template(arn: str) -> None:
    lesson = lesson_of([line("s3:GetObject", arn)])
    policy, notes = applied(lesson)
    document = json.loads(iam_policy(aws_grants(lesson))[0])

    assert passes(policy, "s3:GetObject", arn)
    assert iam_allows(document, "s3:GetObject", arn, "us-east-1")
    for other in ("arn:aws:s3:::b/", "arn:aws:s3:::b/secret/file", f"{arn}x", f"{arn}/x"):
        assert not passes(policy, "s3:GetObject", other)
        assert not iam_allows(document, "s3:GetObject", other, "us-east-1")
    plain = all(c.isprintable() and c not in "*?" for c in arn) and not re.search(r"\{\{|\}\}", arn)
    assert plain or notes, "what is widened is said"
    if plain:
        assert notes == []


def test_a_key_cannot_bring_in_another_arn() -> None:
    lines = [line("s3:GetObject", "arn:aws:s3:::b/a arn:aws:s3:::secret/*")]

    policy, _ = applied(lesson_of(lines))

    assert not passes(policy, "s3:GetObject", "arn:aws:s3:::secret/x")


def test_the_text_is_the_same_whatever_the_order_of_the_lines() -> None:
    lines = lines_of(itertools.product(ACTIONS, PLAIN, REGIONS))
    texts = {
        role_documents(lesson, gateway_grants(lesson), base_policy())[0]
        for lesson in (lesson_of(lines), lesson_of(lines[::-1]))
    }

    assert len(texts) == 1


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_terraform_reads_what_iam_gets(tmp_path: Path) -> None:
    """But for the provider's own ``&{``, which stands for ``${``."""
    arns = sorted(f"arn:aws:s3:::b/{first}{second}" for first in NASTY for second in "a{$")
    lesson = lesson_of([line("s3:GetObject", *arns)])
    text, _ = terraform("alice", aws_grants(lesson))
    wanted = json.loads(iam_policy(aws_grants(lesson))[0])["Statement"][0]["Resource"]
    (resources,) = re.findall(r"resources = (\[\n.*?\n    \])", text, re.DOTALL)
    (tmp_path / "main.tf").write_text(f'output "found" {{\n  value = {resources}\n}}\n', "utf-8")

    for command in (["apply", "-auto-approve"], ["output", "-json", "found"]):
        done = subprocess.run(
            ["terraform", *command], cwd=tmp_path, capture_output=True, text=True, check=True
        )

    found = [pattern.replace("&{", "${") for pattern in json.loads(done.stdout)]
    assert found == [pattern.replace("&{", "&?") for pattern in wanted]
