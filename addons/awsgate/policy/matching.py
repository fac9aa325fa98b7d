"""Which apps and role ARNs a rule is about: labels, globs, templates. Pure and total."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from re import Pattern

from awsgate.policy.conditions import text_matches
from awsgate.policy.fields import label_pattern
from awsgate.policy.resources import App, User
from awsgate.policy.rules import Allow, Deny
from awsgate.policy.templates import Matcher, Traits, expand, parse_template


def matches_both(rules: Allow | Deny, user: User, app: App, role_arn: str) -> tuple[bool, bool]:
    """Say whether the labels match, and whether the ARN is listed."""
    traits = user.spec.traits
    return (
        _labels_match(rules.app_labels, app.labels, traits),
        text_matches(rules.aws_role_arns, role_arn, traits),
    )


def _labels_match(
    selector: Mapping[str, tuple[str, ...]], labels: Mapping[str, str], traits: Traits
) -> bool:
    if not selector:
        return False
    if "*" in selector:
        return True
    return all(
        key in labels and any(_value_matches(value, labels[key], traits) for value in values)
        for key, values in selector.items()
    )


def _value_matches(value: str, label: str, traits: Traits) -> bool:
    template = parse_template(value)
    if isinstance(template, Matcher):
        return template.matches(label)
    if template is not None:
        return label in expand(value, traits)
    return _compiled(value).search(label) is not None


@lru_cache(maxsize=1024)
def _compiled(value: str) -> Pattern[str]:
    return label_pattern(value)
