"""The table of guards fits the code, and the script that takes them away tells the truth."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from guarding.finding import CLOSELY, guards_in
from guarding.table import PACKAGE, Stale, Table, kinds_of, read_table

ROOT = Path(__file__).resolve().parent.parent

# What decides on a request or a login, and what the keys go through: each refuses something.
DECIDING = [
    "addon/answers.py",
    "addon/hooks.py",
    "addon/host.py",
    "addon/patched.py",
    "addon/patched_bounds.py",
    "addon/tripwire.py",
    "addon/tunnelling.py",
    "audit.py",
    "aws/addresses.py",
    "aws/chunked.py",
    "aws/endpoint.py",
    "aws/eventframes.py",
    "aws/issued.py",
    "aws/postform.py",
    "aws/presign.py",
    "aws/sigv2.py",
    "aws/sigv4.py",
    "aws/sigv4a.py",
    "bypass.py",
    "ca.py",
    "caller.py",
    "chaining.py",
    "connect/fetching.py",
    "connect/github.py",
    "connect/idtoken.py",
    "connect/local.py",
    "connect/oidc.py",
    "connect/saml.py",
    "connect/samlassertion.py",
    "connect/samlform.py",
    "connect/totp.py",
    "consoledesk.py",
    "forwarded.py",
    "gate.py",
    "lockout.py",
    "login.py",
    "onward.py",
    "orders.py",
    "outgoing.py",
    "passage.py",
    "paths.py",
    "policy/decide.py",
    "policy/locks.py",
    "proof.py",
    "publicness.py",
    "resolver.py",
    "sealing.py",
    "server/core/exchange.py",
    "server/core/framing.py",
    "server/core/head.py",
    "server/core/pool.py",
    "server/core/tls.py",
    "server/core/upstream.py",
    "session.py",
    "state.py",
    "sts.py",
    "surrogate.py",
    "tally.py",
    "tunnelpass.py",
    "upstreamkeys.py",
    "web/app.py",
    "web/attempts.py",
    "web/desk.py",
    "web/operators.py",
    "web/page/guard.py",
    "web/page/site.py",
    "wire.py",
]


@pytest.fixture(scope="module")
def table() -> Table:
    return read_table()


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, functions))


def test_each_guard_is_missed_by_a_test_or_waived(table: Table) -> None:
    known = {*table.killers, *table.waived, *table.unmissed}
    never_tried = [guard.key for guard in table.guards if guard.key not in known]

    assert not never_tried, "try them: scripts/guards --changed --keep"


def test_no_guard_is_added_that_no_test_misses(table: Table) -> None:
    assert table.unmissed == [], "a new guard needs a test, or a waiver"


def test_the_table_has_no_guard_that_is_no_more(table: Table) -> None:
    assert table.stale == [], "scripts/guards --changed --keep forgets killers; waivers are yours"


def test_no_guard_is_waived_that_a_test_misses(table: Table) -> None:
    assert sorted(set(table.waived) & {*table.killers, *table.unmissed}) == []


def test_each_waiver_has_its_reason(table: Table) -> None:
    assert [key for key, reason in table.waived.items() if len(reason.split()) < 4] == []


def test_the_tests_that_miss_a_guard_are_there(table: Table) -> None:
    gone = []
    for guard, test in table.killers.items():
        file, _, rest = test.partition("[")[0].partition("::")
        name = rest.rpartition("::")[2]
        if not (ROOT / file).is_file() or (name and name not in names_in(file)):
            gone.append(f"{guard}: {test}")

    assert gone == []


@pytest.mark.parametrize("module", DECIDING)
def test_what_decides_has_guards(table: Table, module: str) -> None:
    assert any(guard.file == module for guard in table.guards)


def test_no_two_guards_are_known_by_one_name(table: Table) -> None:
    assert len({guard.key for guard in table.guards}) == len(table.guards)


def test_a_guard_that_is_taken_away_leaves_a_module_that_can_be_read(table: Table) -> None:
    # A statement that becomes pass can always be read.
    for guard in table.guards:
        if guard.becomes == "pass" or (guard.lines[0] == guard.lines[1] and "row" not in guard.key):
            continue
        whole = (PACKAGE / guard.file).read_bytes()
        left = whole[: guard.start] + guard.becomes.encode() + whole[guard.end :]
        assert left != whole
        ast.parse(left)


# --- what is found -----------------------------------------------------------------------

SOURCE = '''
NAMES = frozenset({b"one", b"two"})

def decide(é, other):
    if é and other != 3:
        raise Refusal(
            "é is not accepted",
        )
    elif not other:
        raise unknown()
    check_it(é)
    if hmac.compare_digest(é, other): return True
    raise
'''  # fmt: skip

FOUND = [
    ("NAMES | member b'one'", 'b"-"'),
    ("NAMES | member b'two'", 'b"-"'),
    ("decide | term é", "True"),
    ("decide | term other != 3", "True"),
    ("decide | if é and other != 3: raise Refusal", "pass"),
    ("decide | if not other: raise unknown", "pass"),
    ("decide | always: check_it(é)", "pass"),
    ("decide | digest hmac.compare_digest(é, other)", "True"),
    ("decide | if hmac.compare_digest(é, other): return True", "pass"),
]
LEFT = '''
NAMES = frozenset({b"-", b"-"})

def decide(é, other):
    if True and True:
        pass
    elif not other:
        pass
    pass
    if True: pass
    raise
'''  # fmt: skip


def test_guards_are_found_by_what_they_do() -> None:
    found = guards_in("some.py", SOURCE, CLOSELY, ("NAMES",))

    assert sorted((guard.place, guard.becomes) for guard in found) == sorted(FOUND)
    assert {g.says for g in found if g.place.endswith("raise Refusal")} == {"é is not accepted"}


def test_what_is_taken_away_is_the_guard_and_nothing_else() -> None:
    raw = SOURCE.encode()
    for guard in sorted(guards_in("some.py", SOURCE, CLOSELY, ("NAMES",)), key=lambda g: -g.start):
        raw = raw[: guard.start] + guard.becomes.encode() + raw[guard.end :]

    assert raw.decode() == LEFT


def test_a_guard_is_the_same_wherever_it_stands_and_another_under_another_condition() -> None:
    def keys(source: str) -> list[str]:
        return [guard.key for guard in guards_in("some.py", source)]

    assert keys("# above\n\n" + SOURCE) == keys(SOURCE)
    assert keys(SOURCE.replace("!= 3", "!= 4")) != keys(SOURCE)


def test_of_two_that_are_alike_each_has_a_name() -> None:
    twice = "def f(x):\n    if x: raise Bad('a')\n    if x: raise Bad('b')\n"

    first, second = guards_in("some.py", twice)
    assert (second.key, second.says) == (f"{first.key} #2", "b")


def test_a_row_whose_text_is_gone_is_told(tmp_path: Path) -> None:
    for name in ("modules.yaml", "waived.yaml"):
        (tmp_path / name).write_text((ROOT / "scripts" / "guarding" / name).read_text())
    (tmp_path / "rows.yaml").write_text(
        "[{file: forwarded.py, text: nowhere, becomes: pass, holds off: it}]"
    )

    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "forwarded.py").write_text("raise_nothing = True\n")

    with pytest.raises(Stale, match="stands there 0 times"):
        read_table(tmp_path / "package", tmp_path)


def test_only_what_holds_nothing_off_is_left_out() -> None:
    modules = {"none": ["demo/*"], "closely": ["wire.py"]}

    assert kinds_of("demo/story.py", modules) == ()
    assert kinds_of("wire.py", modules) == CLOSELY
    assert "raise" in kinds_of("new/module.py", modules)


# --- what is tried ------------------------------------------------------------------------


def guards(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "guarding", "--jobs", "1", *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "scripts"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_says_who_misses_a_guard_and_which_nobody_misses() -> None:
    before = (PACKAGE / "wire.py").read_bytes()
    by_one_test = "tests/test_wire.py::test_what_has_two_readings_is_refused[no host]"
    done = guards("wire.py", "_check_host", ": raise", "--tests", by_one_test)

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"-> {by_one_test}" in done.stdout
    assert "4 guards: 1 missed by a test, 0 waived, 3 survived" in done.stdout
    assert "SURVIVED addons/awsgate/wire.py:" in done.stdout
    assert (PACKAGE / "wire.py").read_bytes() == before


def test_it_lists_what_it_would_try() -> None:
    done = guards("wire.py", "no Host header", "--list")

    assert (done.returncode, done.stdout) == (0, "")
    assert (
        "no Host header\n    _check_host | if hosts is None" in guards("wire.py", "--list").stdout
    )
