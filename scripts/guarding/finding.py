"""Guards, read from the code: what a module refuses, and how to take that away.

    raise   every ``raise`` with something to say; taken away, the code goes on
    check   a call of ``check_...`` or ``refuse_...`` that stands for itself; likewise
    digest  a comparison in constant time; taken away, all is equal
    return  a ``return`` out of an ``if``; taken away, the code goes on
    term    one operand of an ``and`` or ``or``; taken away, it decides nothing
    member  one name in a list of names; taken away, it is another

A guard is known by its place and not by its line, so that what stands above it may
change: file, function, the condition it is under, and a count where two are alike.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ALWAYS = ("raise", "check", "digest")
CLOSELY = (*ALWAYS, "return", "term")
LONGEST = 110
CANNOT_BE = frozenset({"RuntimeError", "SystemExit", "IndexError"})
"""Exceptions of a fault in the code itself; they hold nobody off."""
OTHER_WORDS = frozenset({"SetupError"})
"""In an ``except``, what was raised already is told in other words."""

Under = tuple[str, ast.AST | None]
"""What a statement is under: ``if`` and its test, and the like. As text it costs much."""


@dataclass(frozen=True)
class Guard:
    """One guard, and the text that takes it away."""

    file: str
    """Below ``addons/awsgate``."""
    place: str
    """Function and condition: with the file, what it is known by."""
    start: int
    end: int
    becomes: str
    lines: tuple[int, int]
    says: str
    """What it holds off, in the words that the caller gets or that the table has."""
    tests: tuple[str, ...] = field(default=())
    """Where to look for what misses it, if no test of the process itself comes by."""

    @property
    def key(self) -> str:
        """What the record of killers knows it by."""
        return f"{self.file} | {self.place}"


def guards_in(
    file: str, source: str, kinds: tuple[str, ...] = ALWAYS, lists: tuple[str, ...] = ()
) -> list[Guard]:
    """Give the guards of a module; ``lists`` are names of its lists of names."""
    reader = _Reader(file, source, kinds, lists)
    reader.read()
    return reader.found


class _Reader:
    def __init__(
        self, file: str, source: str, kinds: tuple[str, ...], lists: tuple[str, ...]
    ) -> None:
        self.file = file
        self.source = source
        self.kinds, self.lists = kinds, lists
        self.found: list[Guard] = []
        self._seen: Counter[str] = Counter()
        # ast counts columns in bytes of UTF-8.
        self._raw = source.encode()
        self._offsets = [0]
        for line in self._raw.splitlines(keepends=True):
            self._offsets.append(self._offsets[-1] + len(line))

    def read(self) -> None:
        tree = ast.parse(self.source)
        self._visit(tree, "", ("", None))

    def _visit(self, node: ast.AST, function: str, under: Under) -> None:
        for child, inside, condition in _parts(node, function, under):
            self._look_at(child, inside, condition)
            self._visit(child, inside, condition)

    def _look_at(self, node: ast.AST, function: str, under: Under) -> None:
        if isinstance(node, ast.Raise) and node.exc is not None and "raise" in self.kinds:
            called = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(called)
            told = under[0].startswith("except") and name in OTHER_WORDS
            if not told and name not in CANNOT_BE:
                self._add(node, function, f"{_text(under)}: raise {name}", "pass")
        elif isinstance(node, ast.Return) and "return" in self.kinds and under[0] == "if ":
            self._add(node, function, f"{_text(under)}: {ast.unparse(node)}", "pass")
        elif isinstance(node, ast.BoolOp) and "term" in self.kinds:
            nothing = "True" if isinstance(node.op, ast.And) else "False"
            for operand in node.values:
                if not isinstance(operand, ast.Constant):
                    self._add(operand, function, f"term {ast.unparse(operand)}", nothing)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
            called = node.value.value if isinstance(node.value, ast.Await) else node.value
            if isinstance(called, ast.Call) and "check" in self.kinds and _is_check(called):
                self._add(node, function, f"{_text(under)}: {ast.unparse(called)}", "pass")
        elif isinstance(node, ast.Call) and "digest" in self.kinds:
            if ast.unparse(node.func).endswith("compare_digest"):
                self._add(node, function, f"digest {ast.unparse(node)}", "True")
        elif isinstance(node, ast.Assign | ast.AnnAssign) and not function:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id in self.lists and node.value:
                self._members(node.value, target.id)

    def _members(self, value: ast.AST, name: str) -> None:
        """Of a list of names, or of a table by name, each is a guard."""
        for node in ast.walk(value):
            if isinstance(node, ast.Dict):
                members: list[ast.expr | None] = list(node.keys)
            elif isinstance(node, ast.Set | ast.Tuple | ast.List):
                members = list(node.elts)
            else:
                continue
            for member in members:
                if isinstance(member, ast.Constant) and isinstance(member.value, str | bytes):
                    other = 'b"-"' if isinstance(member.value, bytes) else '"-"'
                    self._add(member, name, f"member {ast.unparse(member)}", other)
            return

    def _add(self, node: ast.AST, function: str, what: str, becomes: str) -> None:
        place = f"{function} | {_short(what)}"
        self._seen[place] += 1
        if self._seen[place] > 1:
            place += f" #{self._seen[place]}"
        start = self._offsets[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = self._offsets[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        lines = (node.lineno, node.end_lineno)  # type: ignore[attr-defined]
        self.found.append(
            Guard(self.file, place, start, end, becomes, lines, _says(node) or _short(what))
        )


def _parts(node: ast.AST, function: str, under: Under) -> Iterator[tuple[ast.AST, str, Under]]:
    """Give the children of a node, each with the function and the condition it is under."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        function = f"{function}.{node.name}" if function else node.name
        under = ("always", None)
    for name, value in ast.iter_fields(node):
        here = under
        if isinstance(node, ast.If) and name in ("body", "orelse"):
            here = ("if " if name == "body" else "unless ", node.test)
        elif isinstance(node, ast.ExceptHandler) and name == "body":
            here = ("except ", node.type)
        elif isinstance(node, ast.match_case) and name == "body":
            here = ("case ", node.pattern)
        children = value if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, ast.AST):
                yield child, function, here


def _text(under: Under) -> str:
    prefix, node = under
    if node is None:
        return f"{prefix}all" if prefix == "except " else prefix
    return prefix + ast.unparse(node)


def _is_check(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2].lstrip("_")
    return name.startswith(("check_", "refuse_", "require_")) or name in ("check", "refuse")


def _says(node: ast.AST) -> str:
    """Give the words of a refusal: the first text in it."""
    if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
        return ""
    for value in node.exc.args:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return value.value
        if isinstance(value, ast.JoinedStr):
            return ast.unparse(value)[2:-1]
    return ""


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
