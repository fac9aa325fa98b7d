"""Which apps and role ARNs a rule is about: labels, globs, templates. Pure and total."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from awsgate.policy.conditions import text_matches
from awsgate.policy.fields import label_pattern
from awsgate.policy.resources import App, User
from awsgate.policy.rules import Allow, Deny
from awsgate.policy.templates import Matcher, Traits, expand, parse_template

type Selector = Mapping[str, tuple[str, ...]]
"""Label -> the values that it may have."""


def matches_both(rules: Allow | Deny, user: User, app: App, role_arn: str) -> tuple[bool, bool]:
    """Say whether the labels match, and whether the ARN is listed."""
    traits = user.spec.traits
    return (
        app_matches(rules.app_labels, app.labels, traits),
        text_matches(rules.aws_role_arns, role_arn, traits),
    )


def app_matches(selector: Selector, labels: Mapping[str, str], traits: Traits) -> bool:
    """True if the labels of an app are those that a rule selects, for a user of these traits."""

    def expands_to(value: str, label: str) -> bool:
        return label in expand(value, traits)

    return labels_match(selector, labels, expands_to)


def labels_match(
    selector: Selector, labels: Mapping[str, str], expands_to: Callable[[str, str], bool]
) -> bool:
    """True if each label that is asked for is there, with one of its values.

    ``expands_to`` says whether a value with a template stands for a label's value.
    """
    if not selector:
        return False
    if "*" in selector:
        return True
    return all(
        key in labels and any(_value_matches(value, labels[key], expands_to) for value in values)
        for key, values in selector.items()
    )


def _value_matches(value: str, label: str, expands_to: Callable[[str, str], bool]) -> bool:
    template = parse_template(value)
    if isinstance(template, Matcher):
        return template.matches(label)
    if template is not None:
        return expands_to(value, label)
    return label_pattern(value).search(label) is not None
