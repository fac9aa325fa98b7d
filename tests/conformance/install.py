"""Installs what ``scripts/conformance`` runs, each from its own registry, once.

    python -m conformance.install [STEP]...

What a step has installed stays until its inputs change: in the folder ``.venv-clients``,
or in the system, where that needs root and apt. A step that cannot be done is no failure:
its reason goes into ``installed.json``, and the clients that need it are skipped with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from clients.places import CLI_V2, CLIENTS_FOLDER, HERE

INSTALLED = CLIENTS_FOLDER / "installed.json"
TIMEOUT_S = 1200


class Missing(Exception):
    """Why a step cannot be done, for the user."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something to install."""

    name: str
    there: Callable[[], bool]
    """True if there is nothing to do."""
    install: Callable[[], None]


def main() -> int:
    """Do the steps that are named, or all; gives 1 if one that is named cannot be done."""
    asked = sys.argv[1:]
    CLIENTS_FOLDER.mkdir(exist_ok=True)
    reasons = json.loads(INSTALLED.read_text("utf-8")) if INSTALLED.exists() else {}
    for step in STEPS:
        if asked and step.name not in asked:
            continue
        try:
            if not step.there():
                _say(f"installing for conformance: {step.name}")
                step.install()
            reasons[step.name] = ""
        except (Missing, OSError, subprocess.TimeoutExpired) as exc:
            reasons[step.name] = str(exc)
            _say(f"cannot be installed: {step.name}: {exc}")
    INSTALLED.write_text(json.dumps(reasons, indent=1) + "\n", "utf-8")
    return 1 if any(reasons.get(name) for name in asked) else 0


def _say(text: str) -> None:
    sys.stderr.write(f"awsgate: {text}\n")


def _run(command: Sequence[str | Path], folder: Path = HERE, **env: str) -> None:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env={**os.environ, **env},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or [""]
        raise Missing(f"{Path(str(command[0])).name} failed: {lines[-1][:200]}")


def _needs(program: str, hint: str) -> None:
    if shutil.which(program) is None:
        raise Missing(f"needs {program}: {hint}")


# --- what is the same as last time is left alone -----------------------------------------


def _stamp(name: str) -> Path:
    return CLIENTS_FOLDER / f"{name}.stamp"


def _digest(inputs: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in inputs:
        found.update(path.read_bytes())
    return found.hexdigest()


def _built(name: str, inputs: Sequence[Path], build: Callable[[], None]) -> Step:
    """Give a step that is done again when one of its inputs has changed."""

    def there() -> bool:
        stamp = _stamp(name)
        return stamp.exists() and stamp.read_text("ascii") == _digest(inputs)

    def install() -> None:
        build()
        _stamp(name).write_text(_digest(inputs), "ascii")

    return Step(name, there, install)


def _of_debian(name: str, packages: Sequence[str], there: Callable[[], bool]) -> Step:
    """Give a step that apt does, where this user may."""

    def install() -> None:
        if shutil.which("apt-get") is None or os.getuid() != 0:
            raise Missing(f"needs {name}: apt-get install {' '.join(packages)}, as root")
        _run(["apt-get", "update", "-qq"])
        options = ["-o", "DPkg::Lock::Timeout=300", "-qq", "-y", "--no-install-recommends"]
        _run(["apt-get", *options, "install", *packages], DEBIAN_FRONTEND="noninteractive")
        if not there():
            raise Missing(f"apt-get installed {' '.join(packages)}, and it does not run")

    return Step(name, there, install)


def _says(command: Sequence[str], word: str = "") -> bool:
    if shutil.which(command[0]) is None:
        return False
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode == 0 and word in done.stdout + done.stderr


# --- the steps ---------------------------------------------------------------------------


def _python() -> None:
    python = CLIENTS_FOLDER / "bin/python"
    if not python.exists():
        _run([sys.executable, "-m", "venv", CLIENTS_FOLDER])
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, "-r", HERE / "requirements.txt"])


def _go() -> None:
    _needs("go", "Go 1.24 or later")
    _run(["go", "build", "-o", CLIENTS_FOLDER / "bin/goclient", "."], GO)


def _js() -> None:
    _needs("npm", "Node.js 20 or later, with npm")
    folder = CLIENTS_FOLDER / "js"
    folder.mkdir(exist_ok=True)
    for name in ("package.json", "client.mjs"):
        shutil.copy(JS / name, folder)
    _run(["npm", "install", "--no-audit", "--no-fund", "--silent"], folder)


def _java() -> None:
    _needs("javac", "a JDK of 17 or later")
    _needs("mvn", "Maven")
    folder = CLIENTS_FOLDER / "java"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(JAVA, folder)
    goals = ["compile", "dependency:copy-dependencies", "-DincludeScope=runtime"]
    _run(["mvn", "-q", "-B", *goals], folder)


def _rust() -> None:
    _needs("cargo", "Rust 1.94 or later")
    folder = CLIENTS_FOLDER / "rust"
    shutil.copytree(RUST, folder, dirs_exist_ok=True)
    _run(["cargo", "build", "--quiet", "--target-dir", "target"], folder)


def _terraform() -> None:
    raise Missing("needs Terraform 1.11 or later on PATH: no registry here has it")


def _terraform_there() -> bool:
    return any(_says(["terraform", "version"], f"v1.{minor}.") for minor in range(11, 40))


def _curl() -> None:
    raise Missing("needs curl 7.75 or later on PATH")


GO, JS, JAVA, RUST = HERE.parent / "e2e/go", HERE / "js", HERE / "java", HERE / "rust"

STEPS = (
    _built("python", [HERE / "requirements.txt"], _python),
    _of_debian("cli-v2", ["awscli"], lambda: _says([CLI_V2, "--version"], "aws-cli/2.")),
    _of_debian("restic", ["restic"], lambda: _says(["restic", "version"])),
    _of_debian("s3cmd", ["s3cmd"], lambda: _says(["s3cmd", "--version"])),
    _of_debian("ruby", ["ruby-aws-sdk-s3"], lambda: _says(["ruby", "-e", 'require "aws-sdk-s3"'])),
    _of_debian(
        "php",
        ["php-cli", "php-curl", "php-async-aws-sqs"],
        lambda: _says(["php", "-r", 'require "AsyncAws/Sqs/autoload.php"; curl_init();']),
    ),
    _of_debian("rclone-old", ["rclone"], lambda: _says(["/usr/bin/rclone", "version"], "v1.60.")),
    Step("curl", lambda: _says(["curl", "--help", "all"], "--aws-sigv4"), _curl),
    Step("terraform", _terraform_there, _terraform),
    _built("js", [JS / "package.json", JS / "client.mjs"], _js),
    _built("go", [GO / "go.mod", GO / "go.sum", GO / "main.go"], _go),
    _built("java", [JAVA / "pom.xml", JAVA / "src/main/java/Client.java"], _java),
    _built("rust", [RUST / "Cargo.toml", RUST / "src/main.rs"], _rust),
)

if __name__ == "__main__":
    sys.exit(main())
