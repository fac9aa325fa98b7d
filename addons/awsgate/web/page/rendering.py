"""Templates -> answers, with the headers that keep a page to itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import Response

from awsgate.aws.signin import CONSOLES
from awsgate.version import __version__
from awsgate.visible import escaped

HERE = Path(__file__).parent
STATIC: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "page.css": ("text/css", "page.css"),
        "page.js": ("text/javascript", "page.js"),
        "htmx.min.js": ("text/javascript", "htmx.min.js"),
        "icon.svg": ("image/svg+xml", "icon.svg"),
    }
)
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
# Chromium asks form-action for each redirect that follows a form, up to the console's page.
_AWS = " ".join(
    f"https://{host} https://*.{host}"
    for host in (one.console.removeprefix("console.") for one in CONSOLES.values())
)
_HEADERS = (
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=()"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation."""

    path: str
    title: str
    admin: bool = False


NAVIGATION = (
    Place("/", "Apps"),
    Place("/calls", "My calls"),
    Place("/requests", "Requests"),
    Place("/login", "My login"),
    Place("/gateway", "Gateway", admin=True),
)


def _duration(seconds: float) -> str:
    """Give a time span as a person says it: ``2 h 5 min``."""
    minutes = max(0, int(seconds)) // 60
    if minutes < 1:
        return "less than a minute"
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} days"
    parts = [f"{hours} h"] * (hours > 0) + [f"{minutes} min"] * (minutes > 0)
    return " ".join(parts)


def _span(seconds: int) -> str:
    """Give a time span to the second: what somebody agrees to is not rounded."""
    parts = []
    for size, name in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        number, seconds = divmod(seconds, size)
        parts += [f"{number} {name}"] * (number > 0)
    return " ".join(parts) or "0 s"


def _moment(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


_JOINT = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[-_./@:])(?=[^-_./@:])")


def _breakable(text: str) -> Markup:
    """Give a text of somebody's that a narrow column may break where its words end."""
    return Markup("<wbr>").join(_JOINT.split(escaped(text, spaces=True)))


def _sentence(text: str, user: str = "") -> str:
    """Give a message as a sentence. Names keep their small letter."""
    first = text.partition(" ")[0]
    if first not in (user, "awsgate") and first.rstrip(",:;").isalpha():
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) or not text else f"{text}."


def _counted(number: int, what: str) -> str:
    return what if number == 1 else f"{what}s"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "duration": _duration,
        "span": _span,
        "moment": _moment,
        "breakable": _breakable,
        "sentence": _sentence,
        "counted": _counted,
    }
    made.globals |= {"version": __version__, "navigation": NAVIGATION}
    return made


_TEMPLATES = _environment()


def text_of(template: str, **values: Any) -> str:
    """Give a template filled in; all values are escaped."""
    return _TEMPLATES.get_template(template).render(**values)


def page(template: str, status: int = 200, /, *, launches: bool = False, **values: Any) -> Response:
    """Give a page. ``launches``: it has forms that lead on to AWS."""
    answer = Response(text_of(template, **values), status, media_type="text/html")
    answer.headers["Content-Security-Policy"] = f"{_CSP} {_AWS}" if launches else _CSP
    for name, value in _HEADERS:
        answer.headers[name] = value
    return answer


def static(name: str) -> Response | None:
    """Give a file of the page; None: there is none of that name."""
    found = STATIC.get(name)
    if found is None:
        return None
    answer = Response((HERE / "static" / found[1]).read_bytes(), media_type=found[0])
    answer.headers["Cache-Control"] = "private, max-age=600"
    answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return answer
