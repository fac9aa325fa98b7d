"""What is compared with a secret is compared in constant time: found in the source itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "addons/awsgate"
SECRET = re.compile(
    r"signature|signed|digest|hmac|\bmac\b|secret|passw|token|bearer|\bpin\b|csrf|cookie|challenge|"
    r"verifier|\bstate\b|nonce|invitation|fingerprint|expected|proof|sha256|at_hash|otp|key_id",
    re.IGNORECASE,
)

# Where "==" meets such a name all the same, and why nobody can measure anything by it.
FREE = {
    "addon/patched_bounds.py::read_body": "a state of a parser",
    "auditchain.py::_take": "hashes of the log, which has no key",
    "auditchain.py::_torn_end": "likewise",
    "aws/chunked.py::_read_trailer": "the name of a field",
    "aws/issued.py::_find": "how many marks an answer of AWS's has",
    "aws/presign.py::parse": "the name of a service",
    "aws/presign.py::_split": "the name of a parameter",
    "aws/presign.py::_signed_query": "the name of a parameter",
    "cli/remote.py::_up_to_date": "the hash of the CA bundle, which anybody may have",
    "cli/ways.py::by_invitation": "two entries of one person at one keyboard",
    "connect/local.py::_try": "two readings of one file",
    "connect/local.py::_upgrade": "two readings of one file",
    "connect/samlassertion.py::_check_confirmation": "the name of a method",
    "proof.py::check_payload": "the hash of nothing",
    "loginstore.py::_into_keyring": "what was just written, read again",
    "outgoing.py::_resigner": "a keyword in place of a hash",
    "pins.py::root_in": "the hash of a public key",
    "policywatch.py::_look": "times and sizes of files",
    "requeststore.py::calls": "a column of a table",
    "requeststore.py::pending": "a column of a table",
    "server/core/head.py::_says": "a word of a Connection header",
}

# Where it must be: form by form, whatever somebody can send to be taken for somebody else.
HELD = {
    "sealing.py": 1,  # tokens and logins: which key sealed them
    "aws/sigv4.py": 1,
    "aws/presign.py": 1,
    "aws/sigv2.py": 1,
    "aws/postform.py": 2,
    "aws/chunked.py": 2,
    "aws/eventframes.py": 1,
    "web/page/guard.py": 1,  # the token of a form
    "web/logins.py": 1,
    "web/callbacks.py": 1,
    "connect/oauth.py": 1,  # state
    "connect/idtoken.py": 1,
    "connect/totp.py": 1,
    "connect/local.py": 1,  # invitations; passwords are argon2's
    "cli/keyserver.py": 1,
    "cli/surroundings.py": 1,
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text("utf-8"))


def words(node: ast.expr) -> str:
    """Give the names in an operand, and the text by which something is looked up."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
        case ast.Call(func=function, args=args):
            inner = words(function.value) if isinstance(function, ast.Attribute) else ""
            return " ".join([inner, words(function), *map(_text, args)])
        case ast.Subscript(value=value, slice=key):
            return f"{words(value)} {_text(key) or words(key)}"
        case ast.Tuple(elts=parts):
            return " ".join(map(words, parts))
        case _:
            return ""


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def is_plain(node: ast.expr) -> bool:
    """True for what no secret is: a literal, a length."""
    return isinstance(node, ast.Constant) or (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"
    )


def loose(tree: ast.AST, place: str, function: str = "") -> Iterator[str]:
    """Give the functions in which something secret by its name is compared with == or !=."""
    for child in ast.iter_child_nodes(tree):
        inside = function
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = child.name
        if isinstance(child, ast.Compare):
            operands = [child.left, *child.comparators]
            by_value = any(isinstance(each, ast.Eq | ast.NotEq) for each in child.ops)
            named = any(SECRET.search(words(each)) for each in operands)
            if by_value and named and not any(map(is_plain, operands)):
                yield f"{place}::{inside}"
        yield from loose(child, place, inside)


def test_no_secret_is_compared_by_its_value() -> None:
    found = {each for place, tree in sources() for each in loose(tree, place)}

    assert found == set(FREE)


@pytest.mark.parametrize("place", HELD)
def test_what_proves_somebody_is_compared_in_constant_time(place: str) -> None:
    calls = [
        node
        for node in ast.walk(ast.parse((PACKAGE / place).read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "compare_digest"
    ]

    assert len(calls) >= HELD[place]


LOOSE = (
    "signature == given", "given != self.signature", "claims.get('nonce') != wanted",
    "form['csrf'] == x", "f(a).hexdigest() == b", "(user, token) == pair", "record.pin == x",
)  # fmt: skip


@pytest.mark.parametrize("text", LOOSE)
def test_a_loose_comparison_would_be_found(text: str) -> None:
    assert list(loose(ast.parse(f"def f():\n    return {text}\n"), "x.py")) == ["x.py::f"]


@pytest.mark.parametrize("text", ["len(signature) == n", "token == ''", "a == b", "token is None"])
def test_what_tells_nothing_is_not(text: str) -> None:
    assert list(loose(ast.parse(text), "x.py")) == []
