"""The generated part of docs/clients.md: what the table says and what the runner found."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from conformance.results import PASSED, load
from conformance.table import CLIENTS, OPERATIONS, Client, Excerpt

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs/clients.md"
BEGIN, END = "<!-- begin: made by scripts/conformance --keep -->", "<!-- end -->"


def write_page() -> None:
    """Put the generated part into the page."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{generated()}{END}{after}", "utf-8")


def kept_part() -> str:
    """Give what stands in the page now."""
    _, _, rest = PAGE.read_text("utf-8").partition(BEGIN + "\n")
    return rest.partition(END)[0]


def generated() -> str:
    """Give the table, what its words mean, and a section for each client that needs one."""
    rows = "".join(_row(client) for client in CLIENTS)
    words = "".join(f"- {name}: {what}\n" for name, what in OPERATIONS.items())
    sections = "".join(_section(client) for client in CLIENTS if _has_section(client))
    return (
        "| client | needs beside `awsgate env` | tested | does |\n|---|---|---|---|\n"
        f"{rows}\n{words}\n## What each needs\n\n{sections}"
    )


def _row(client: Client) -> str:
    version, operations = load().get(client.name, ("not yet", {}))
    needs = f"[{client.needs}](#{anchor(client)})" if _has_section(client) else client.needs
    does = ", ".join(name for name in client.operations if operations.get(name) == PASSED)
    failed = ", ".join(name for name in client.operations if operations.get(name) != PASSED)
    return (
        f"| {client.name} | {needs} | {version} | {does}{'; not: ' + failed if failed else ''} |\n"
    )


def _has_section(client: Client) -> bool:
    return bool(client.recipe or client.code or client.remarks)


def anchor(client: Client) -> str:
    """Give the anchor that a heading of the client's name gets."""
    return re.sub(r"[^\w -]", "", client.name.lower()).replace(" ", "-")


def _section(client: Client) -> str:
    text = f"### {client.name}\n\n"
    text += "".join(f"{remark}\n" for remark in client.remarks)
    text += "\n" if client.remarks else ""
    if client.recipe:
        text += f"```bash\n{client.recipe}\n```\n\n"
    if client.code:
        text += f"```{client.code.language}\n{excerpt(client.code)}```\n\n"
    return text


def excerpt(code: Excerpt) -> str:
    """Give the lines of a client program between its two marks."""
    lines = (TESTS / code.file).read_text("utf-8").splitlines(keepends=True)
    (start,) = (n for n, line in enumerate(lines) if f"(docs: {code.name})" in line)
    rest = lines[start + 1 :]
    end = next(n for n, line in enumerate(rest) if "(docs: end)" in line)
    return textwrap.dedent("".join(rest[:end]))
