"""ARNs as they stand, written as patterns: what is a wildcard there must not be one here.

Callers choose the names of objects. A key ``*`` that was read once must not become a rule
for all keys, nor ``{{internal.team}}`` a template. IAM has a way to quote; awsgate has
none, so there a ``?`` stands for such a character: any one character, the least that
covers it.
"""

from __future__ import annotations

import json
import re

from pydantic import TypeAdapter, ValidationError

from awsgate.learn.grants import Arn
from awsgate.policy.callfields import ResourcePattern

_PATTERN: TypeAdapter[str] = TypeAdapter(ResourcePattern)
_BRACES = re.compile(r"\{(?=\{)|\}(?=\})")
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # half a character: no text that AWS takes
_QUOTED = str.maketrans({"*": "${*}", "?": "${?}", "$": "${$}"})


def for_awsgate(arn: Arn) -> tuple[str, bool]:
    """Give the pattern, and whether it fits nothing else; an empty one: there is none."""
    before, rest = _at_account(arn.text)
    plain = "".join(char if char.isprintable() and char != "*" else "?" for char in rest)
    plain = _BRACES.sub("?", plain)
    pattern = before + plain + "*" * arn.below
    try:
        _PATTERN.validate_python(pattern)
    except ValidationError:
        return "", False
    return pattern, "?" not in plain


def for_iam(arn: Arn) -> tuple[str, bool]:
    """Give the pattern for an IAM policy, and whether it fits nothing else."""
    before, rest = _at_account(arn.text)
    plain = _SURROGATE.sub("\0", rest)
    pattern = before + plain.translate(_QUOTED).replace("\0", "?")
    return pattern + "*" * arn.below, "\0" not in plain


def for_terraform(arn: Arn) -> tuple[str, bool]:
    """Give the pattern for a Terraform policy document, and whether it fits nothing else.

    The AWS provider makes ``${`` of every ``&{``: one that is meant cannot be told apart.
    """
    before, rest = _at_account(arn.text)
    plain = _SURROGATE.sub("\0", rest).replace("&{", "&\0")
    plain = plain.translate(_QUOTED).replace("${", "&{")
    return before + plain.replace("\0", "?") + "*" * arn.below, "\0" not in plain


def _at_account(text: str) -> tuple[str, str]:
    """Split behind an account of ``*``: it is not known, and any may be meant."""
    parts = text.split(":", 5)
    if parts[4:5] != ["*"]:
        return "", text
    return ":".join(parts[:5]), text[len(":".join(parts[:5])) :]


def hcl(text: str) -> str:
    """Give a quoted string of Terraform's language."""
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted.replace("${", "$${").replace("%{", "%%{").replace("\x7f", "\\u007f")


def scalar(text: str) -> str:
    """Give a quoted scalar of YAML. ``text`` is printable."""
    return json.dumps(text, ensure_ascii=False)


def one_line(text: str) -> str:
    """Give a text for a comment: nothing in it can end the line."""
    return "".join(char if char.isprintable() else "?" for char in text)
