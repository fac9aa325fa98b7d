"""Templates in the values of a role, filled from the traits of its user.

    {{internal.team}}  {{external["team"]}}        the values of a trait
    {{email.local(external.email)}}                what stands before the @
    {{regexp.replace(external.x, "^a-(.*)$", "$1")}}   what does not match is dropped
    {{regexp.match("^x")}}  {{regexp.not_match("^x")}}  in labels alone: a test, no value

The reference product's words and meaning. Both namespaces read the same traits: one
policy serves users of files and of an identity provider alike. Text may stand before
and after; one template a value. One trait with several values makes several values, a
missing one makes none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

type Traits = Mapping[str, tuple[str, ...]]
type Step = Callable[[str], str | None]

SUPPORTED = (
    "one {{internal.trait}} or {{external.trait}} a value, "
    'also in email.local(...) or regexp.replace(..., "from", "to")'
)

_OUTER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_TRAIT = re.compile(
    r"(?:internal|external)(?:\.([A-Za-z0-9_][A-Za-z0-9_.:/-]*)|\[\"([^\"{}]+)\"\])"
)
_TEXT = r"\"((?:[^\"\\]|\\.)*)\""
_MATCHER = re.compile(rf"regexp\.(match|not_match)\(\s*{_TEXT}\s*\)", re.DOTALL)
_LOCAL = re.compile(r"email\.local\((.*)\)", re.DOTALL)
_REPLACE = re.compile(rf"regexp\.replace\((.*),\s*{_TEXT}\s*,\s*{_TEXT}\s*\)", re.DOTALL)
_EMAIL = re.compile(r"(?:[^<>]*<)?([^@<>\s]+)@[^@<>\s]+>?")
# Go's "$1", "${1}", "${name}", "$$"; a name is as long as it can be.
_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Template:
    """A value with a trait in it."""

    before: str
    after: str
    trait: str
    steps: tuple[Step, ...]
    """Applied one after the other; None from one of them drops the value."""

    def values(self, traits: Traits) -> Iterator[str]:
        """Give what takes the place of the braces, for each value of the trait."""
        for value in traits.get(self.trait, ()):
            made: str | None = value
            for step in self.steps:
                made = step(made) if made is not None else None
            if made:
                yield made


@dataclass(frozen=True, slots=True)
class Matcher:
    """A test of a label's value."""

    before: str
    after: str
    pattern: re.Pattern[str]
    negated: bool

    def matches(self, label: str) -> bool:
        """True if ``label`` has the text around the braces, and what is between fits."""
        if not (label.startswith(self.before) and label.endswith(self.after)):
            return False
        end = len(label) - len(self.after)
        if end < len(self.before):
            return False
        found = self.pattern.search(label[len(self.before) : end]) is not None
        return found != self.negated


@lru_cache(maxsize=4096)
def parse_template(value: str) -> Template | Matcher | None:
    """Read a value; None: it holds no template. Raises ``ValueError`` if it holds a bad one."""
    found = _OUTER.search(value)
    if found is None:
        if "{{" in value or "}}" in value:
            raise _unsupported(value)
        return None
    before, inner, after = value[: found.start()], found[1].strip(), value[found.end() :]
    if any(brace in before + " " + after for brace in ("{{", "}}")):
        raise _unsupported(value)
    matcher = _MATCHER.fullmatch(inner)
    if matcher is not None:
        pattern = _regex(_unquoted(matcher[2]))
        return Matcher(before, after, pattern, matcher[1] == "not_match")
    trait, steps = _expression(inner, value)
    return Template(before, after, trait, steps)


def expand(value: str, traits: Traits) -> list[str]:
    """Give the values that a checked value stands for: itself, if it has no template."""
    template = parse_template(value)
    if template is None:
        return [value]
    if isinstance(template, Matcher):
        return []
    return [f"{template.before}{made}{template.after}" for made in template.values(traits)]


def _expression(text: str, value: str) -> tuple[str, tuple[Step, ...]]:
    text = text.strip()
    trait = _TRAIT.fullmatch(text)
    if trait is not None:
        return trait[1] or trait[2], ()
    local = _LOCAL.fullmatch(text)
    if local is not None:
        name, steps = _expression(local[1], value)
        return name, (*steps, _email_local)
    replace = _REPLACE.fullmatch(text)
    if replace is not None:
        name, steps = _expression(replace[1], value)
        return name, (*steps, _replacer(_unquoted(replace[2]), _unquoted(replace[3])))
    raise _unsupported(value)


def _email_local(value: str) -> str | None:
    found = _EMAIL.fullmatch(value.strip())
    return found[1] if found else None


def _replacer(pattern: str, replacement: str) -> Step:
    compiled = _regex(pattern)

    def step(value: str) -> str | None:
        if not compiled.search(value):
            return None
        return compiled.sub(lambda match: expand_references(replacement, match), value)

    return step


class Groups(Protocol):
    """What a pattern found: the whole is 0; by number, or by name. As ``re.Match``."""

    def __getitem__(self, key: int | str, /) -> str | None:
        """Give a group. Raises ``IndexError`` if there is none."""
        ...


def expand_references(text: str, match: Groups) -> str:
    """Fill the groups of a match into ``$1``, ``${1}``, ``${name}``; ``$$`` is a dollar."""
    return _REFERENCE.sub(lambda reference: _group(match, reference), text)


def traits_in(value: str) -> Iterator[str]:
    """Give the names of the traits that a value's template asks for."""
    for found in _OUTER.finditer(value):
        for trait in _TRAIT.finditer(found[1]):
            yield trait[1] or trait[2]


def _group(match: Groups, reference: re.Match[str]) -> str:
    if reference[1]:
        return "$"
    name = reference[2] or reference[3]
    try:
        return match[int(name) if name.isdigit() else name] or ""
    except IndexError:
        return ""  # as Go: a group that is not there is nothing


def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.ASCII)
    except (re.error, OverflowError, RecursionError) as exc:
        raise ValueError(f"{pattern[:200]!r} is not a regular expression: {exc}") from None


def _unquoted(text: str) -> str:
    return re.sub(r"\\([\"\\])", r"\1", text)


def _unsupported(value: str) -> ValueError:
    return ValueError(f"{value[:200]!r} is not a supported template: {SUPPORTED}")
