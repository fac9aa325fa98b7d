"""The AWS config file with one block of ours in it; every other byte stays as it is.

    ...the owner's sections...
    # >>> awsgate profiles: written by 'awsgate profiles', changes here are lost >>>
    [profile prod-ReadOnly]
    credential_process = ...
    # <<< awsgate profiles <<<

The block goes to the end when it is new, and stays where it is after that. Taken out, it
leaves what was there before, to the byte: the first line says so if a line break had to
be added before it.

Pure: text in, text out. Latin-1 on both sides keeps bytes that are no text.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

ENCODING = "latin-1"
"""To read and write the file with: one character a byte, whatever it holds."""

_BEGIN = "# >>> awsgate profiles: written by 'awsgate profiles', changes here are lost >>>\n"
_BEGIN_JOINED = _BEGIN.replace("lost", "lost; no line break before")
_END = "# <<< awsgate profiles <<<\n"
_BLOCK = re.compile(
    f"(?:^(?P<plain>{re.escape(_BEGIN)})|\\n(?P<joined>{re.escape(_BEGIN_JOINED)}))"
    f"(?P<body>.*?)^{re.escape(_END)}",
    re.MULTILINE | re.DOTALL,
)
# As botocore reads it: a header starts its line; what follows the bracket is ignored.
_HEADER = re.compile(r"^\[(?P<name>[^\]\r\n]+)\]", re.MULTILINE)

# White space to a config file, byte for byte.
_SPACE = " \t\r"
# In UTF-8: what ends a line to some reader, and what some take for the start of a comment.
_UNSAFE = re.compile("[\0-\x08\n-\x1f\x7f-\x9f\u2028\u2029]|[ \t][#;]")

Settings = Mapping[str, str]


class Taken(Exception):
    """Profiles of these names are there already, and not ours."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


class Damaged(Exception):
    """The block has a beginning or an end, and not both once."""


def profiles_in(text: str) -> dict[str, dict[str, str]]:
    """Give our profiles with their settings. Raises ``Damaged``."""
    found = _block(text)
    profiles: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    # Not splitlines, strip and \s: in latin-1 they take bytes of UTF-8 for a line's end.
    for line in found["body"].split("\n") if found else ():
        if header := _HEADER.match(line):
            current = profiles.setdefault(_profile(header["name"]) or "", {})
        elif "=" in line:
            name, _, value = line.partition("=")
            current[name.strip(_SPACE)] = value.strip(_SPACE)
    return profiles


def with_profiles(text: str, profiles: Mapping[str, Settings]) -> str:
    """Give the text with these profiles as ours, in place of those that were; none: no block.

    Raises ``Taken`` if a name is that of a section that is not ours, ``Damaged`` as
    ``profiles_in`` does, and ``ValueError`` for what a config file cannot hold.
    """
    found = _block(text)
    rest = text if found is None else text[: found.start()] + text[found.end() :]
    others = {_profile(match["name"]) for match in _HEADER.finditer(rest)}
    if taken := sorted(name for name in profiles if name in others):
        raise Taken(taken)
    if not profiles:
        return rest
    body = "\n".join(_section(name, settings) for name, settings in profiles.items())
    at = len(text) if found is None else found.start()
    joined = bool(found["joined"]) if found else bool(text) and not text.endswith("\n")
    begin = f"\n{_BEGIN_JOINED}" if joined else _BEGIN
    return rest[:at] + begin + body + _END + rest[at:]


def _block(text: str) -> re.Match[str] | None:
    marks = text.count(_BEGIN) + text.count(_BEGIN_JOINED), text.count(_END)
    if marks == (0, 0):
        return None
    found = _BLOCK.search(text)
    if marks != (1, 1) or found is None:
        raise Damaged
    return found


def _section(name: str, settings: Settings) -> str:
    header = name if re.fullmatch(r"[A-Za-z0-9._@+-]+", name) else None
    if header is None:
        raise ValueError(f"{name!r} is no name for a profile: letters, digits and ._@+-")
    lines = [f"[profile {header}]"]
    for key, value in settings.items():
        text = value.encode(ENCODING).decode("utf-8", "surrogateescape")
        # Some readers take ' #' and ' ;' for the start of a comment, whatever the quotes.
        if not value or text != text.strip() or _UNSAFE.search(text):
            raise ValueError(f"{key} of {name} cannot stand in a config file")
        lines.append(f"{key} = {value}")
    return "\n".join(lines) + "\n"


def _profile(header: str) -> str | None:
    """Give the profile that a header names; None if it names none."""
    try:
        words = shlex.split(header)
    except ValueError:
        return None
    if words == ["default"]:
        return "default"
    return words[1] if len(words) == 2 and words[0] == "profile" else None
