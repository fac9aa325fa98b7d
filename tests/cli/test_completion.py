"""Completion: the real shells ask, and get awsgate's words."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from awsgate.cli import COMMANDS

NEEDED = os.environ.get("AWSGATE_NEED_SHELLS", "").split()

BASH = """
eval "$(awsgate completion bash)"
COMP_WORDS=(%(words)s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_awsgate_completion awsgate; printf '%%s\\n' "${COMPREPLY[@]}"
"""
FISH = "awsgate completion fish | source; complete -C '%(line)s' | string split -f1 \\t"
# zsh completes on a terminal alone; the function's own call is made as it makes it.
ZSH = """
compdef() { print -r -- "$@" >&2 }; _arguments() { print -r -- "$@" }
eval "$(awsgate completion zsh)"
words=(%(words)s); CURRENT=${#words}; _awsgate_completion | tr '"()' '\\n\\n\\n'
"""


def completed(shell: str, line: str, home: Path) -> set[str]:
    found = shutil.which(shell)
    if found is None and shell not in NEEDED:
        pytest.skip(f"{shell} is not installed (scripts/shells installs what it can)")
    assert found is not None, f"{shell} is not installed"
    words = " ".join(word or '""' for word in line.split(" "))
    script = {"bash": BASH, "fish": FISH, "zsh": ZSH}[shell] % {"words": words, "line": line}
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        [found, "-c", script],
        env={"PATH": f"{scripts}:/usr/bin:/bin", "HOME": str(home), "LC_ALL": "C.UTF-8"},
        capture_output=True, check=False, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    return {word for word in done.stdout.split() if word}


LINES = {
    "a command": ("awsgate ex", {"exec", "explain"}),
    "all commands": ("awsgate ", {*COMMANDS, "version"}),
    "an option": ("awsgate exec --st", {"--static", "--state"}),
    "a value": ("awsgate env --format d", {"dotenv", "docker"}),
    "a subcommand": ("awsgate profiles r", {"remove"}),
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("line", "words"), LINES.values(), ids=LINES)
def test_a_shell_completes(shell: str, line: str, words: set[str], tmp_path: Path) -> None:
    found = completed(shell, line, tmp_path)

    # zsh's answer is a call of _arguments, with a word or two around it.
    assert found - {"*:", ":"} == words if shell != "zsh" else words <= found


def test_a_command_that_is_typed_is_the_only_one_imported(tmp_path: Path) -> None:
    script = (
        "import sys, awsgate.cli\n"
        "try: awsgate.cli.main()\n"
        "finally: print([m for m in sys.modules if m.startswith('awsgate.cli.doctor')])"
    )
    environment = {
        "_AWSGATE_COMPLETE": "complete_bash",
        "COMP_WORDS": "awsgate d",
        "COMP_CWORD": "1",
    }

    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True,
        check=False, text=True,
    )  # fmt: skip

    assert "doctor" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1] == "[]"
