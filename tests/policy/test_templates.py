"""Templates: the reference's words, filled from traits, and what is none is a fault."""

from __future__ import annotations

import pytest

from awsgate.policy.templates import Matcher, Template, expand, parse_template

TRAITS = {
    "team": ("web", "data"),
    "email": ("alice@example.com", "Alice B <alice.b@example.com>", "nobody"),
    "groups": ("aws-admin", "aws-read", "office"),
    "empty": (),
}

# value -> what it stands for
FILLED = {
    "plain": ["plain"],
    "{{internal.team}}": ["web", "data"],
    '{{ external["team"] }}': ["web", "data"],
    "arn:x/{{external.team}}-role": ["arn:x/web-role", "arn:x/data-role"],
    "{{internal.empty}}": [],
    "{{internal.missing}}": [],
    "{{email.local(external.email)}}": ["alice", "alice.b"],
    '{{regexp.replace(external.groups, "^aws-(.*)$", "$1")}}': ["admin", "read"],
    '{{regexp.replace(external.groups, "^aws-(.*)$", "${1}-x")}}': ["admin-x", "read-x"],
    # Go takes the longest name, "1x", which is no group.
    '{{regexp.replace(external.groups, "^aws-(.*)$", "a$1x")}}': ["a", "a"],
    '{{regexp.replace(external.groups, "^(?P<k>o).*", "$k$$")}}': ["o$"],
    '{{regexp.replace(email.local(external.email), "^(.).*", "$1")}}': ["a", "a"],
}


@pytest.mark.parametrize(("value", "filled"), FILLED.items(), ids=FILLED)
def test_a_template_is_filled_from_the_traits(value: str, filled: list[str]) -> None:
    assert expand(value, TRAITS) == filled
    assert isinstance(parse_template(value), Template) == ("{{" in value)


BAD = [
    "{{team}}",
    "{{internal.}}",
    "{{internal.a}}{{internal.b}}",
    "{{internal.a",
    "a}}",
    "{{email.domain(external.email)}}",
    "{{email.local()}}",
    '{{regexp.replace(external.a, "x")}}',
    "{{regexp.replace(external.a, x, y)}}",
    '{{regexp.match(external.a, "x")}}',
    "{{}}",
]


@pytest.mark.parametrize("value", BAD)
def test_what_is_no_template_is_said_to_be_none(value: str) -> None:
    with pytest.raises(ValueError, match="is not a supported template"):
        parse_template(value)


@pytest.mark.parametrize("function", ['regexp.match("(")', 'regexp.replace(internal.a, "(", "")'])
def test_a_bad_regular_expression_is_a_fault(function: str) -> None:
    with pytest.raises(ValueError, match="is not a regular expression"):
        parse_template("{{" + function + "}}")


@pytest.mark.parametrize(
    ("value", "label", "fits"),
    [
        ('{{regexp.match("^prod")}}', "prod-eu", True),
        ('{{regexp.match("^prod")}}', "preprod", False),
        ('{{regexp.not_match("^prod")}}', "test", True),
        ('{{regexp.not_match("^prod")}}', "prod-eu", False),
        ('eu-{{regexp.match("^[0-9]+$")}}-x', "eu-12-x", True),
        ('eu-{{regexp.match("^[0-9]+$")}}-x', "eu-1b-x", False),
        ('aba{{regexp.match("^$")}}aba', "aba", False),
    ],
)
def test_a_matcher_tests_what_is_between(value: str, label: str, fits: bool) -> None:
    matcher = parse_template(value)

    assert isinstance(matcher, Matcher)
    assert matcher.matches(label) is fits
    assert expand(value, TRAITS) == []
