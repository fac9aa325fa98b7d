"""The image and the unit: nobody's user, nothing of a secret, nothing that was not locked.

There need be no container engine here, so the image is not built: its file is read, and a
check of one property a rule is made on it. That each rule can fail is shown on files that
break it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTAINERFILE = (ROOT / "deploy/Containerfile").read_text("utf-8")
UNIT = (ROOT / "deploy/awsgate.service").read_text("utf-8")
PRIVATE = "os.mkdir('/var/lib/awsgate', 0o700); os.chown('/var/lib/awsgate', 65532, 65532)"
SECRET_NAMES = re.compile(r"(?i)secret|token|passw|aws_access|_key\b|credential")


def instructions(text: str) -> list[tuple[str, str]]:
    """Give keyword and rest of each instruction."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", lines)
    return [
        (line.split(" ", 1)[0].upper(), line.split(" ", 1)[1])
        for line in joined.split("\n")
        if line
    ]


def faults(text: str) -> Iterator[str]:
    """Give all that is wrong with a Containerfile."""
    steps = instructions(text)
    last = steps[max(i for i, (keyword, _) in enumerate(steps) if keyword == "FROM") :]
    users = [rest for keyword, rest in last if keyword == "USER"]
    if not users or re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]) is None:
        yield "it runs as root, or as a user that only a name tells"
    if ("ARG", "BASE") not in [(k, rest.partition("=")[0]) for k, rest in steps]:
        yield "nobody can pin its base"
    for keyword, rest in steps:
        yield from _faults_of(keyword, rest)
    yield from _faults_of_pip([rest for keyword, rest in steps if keyword == "RUN"])
    volumes = [rest for keyword, rest in last if keyword == "VOLUME"]
    if volumes != ['["/var/lib/awsgate"]'] or not any(PRIVATE in rest for _, rest in last):
        yield "the state is no volume of its user's alone"
    if "HEALTHCHECK" not in dict(last):
        yield "nobody sees whether it is well"
    order = [keyword for keyword, _ in last]
    if users and "RUN" in order[order.index("USER") :]:
        yield "something is run after the user was set, in the image that is shipped"


def _faults_of(keyword: str, rest: str) -> Iterator[str]:
    if keyword == "ADD":
        yield "ADD fetches and unpacks"
    if keyword == "FROM" and not rest.startswith("${BASE}"):
        yield "a base that is not the one that is pinned"
    if keyword in ("ENV", "ARG") and SECRET_NAMES.search(rest):
        yield "a secret in the image's environment"
    if keyword in ("RUN", "CMD", "ENTRYPOINT") and not _is_list(rest):
        yield "it needs a shell"
    if keyword == "HEALTHCHECK" and not _is_list(rest.partition("CMD ")[2]):
        yield "it needs a shell"
    if keyword == "RUN" and re.search(r"apt|apk|curl|wget|dnf", rest):
        yield "it takes up more than Python"
    if keyword == "COPY" and not rest.startswith("--from=build "):
        allowed = {"deploy/requirements.lock", "dist/awsgate-*.whl"}
        yield from (f"{name} is copied" for name in rest.split()[:-1] if name not in allowed)


def _faults_of_pip(runs: list[str]) -> Iterator[str]:
    for words in (json.loads(run) for run in runs if '"pip"' in run and '"install"' in run):
        if "--no-deps" not in words:
            yield "pip may take what is not in the lock"
        if "--no-index" not in words and not {"--require-hashes", "--only-binary"} <= set(words):
            yield "pip takes files without hashes, or builds them"


def _is_list(rest: str) -> bool:
    try:
        return isinstance(json.loads(rest), list)
    except ValueError:
        return False


def test_the_image_breaks_no_rule() -> None:
    assert list(faults(CONTAINERFILE)) == []
    assert [k for k, _ in instructions(CONTAINERFILE)].count("FROM") == 2


BROKEN = {
    "root": ("USER 65532:65532", "USER 0:0", "it runs as root"),
    "a name": ("USER 65532:65532", "USER awsgate", "it runs as root"),
    "no user": ("USER 65532:65532\n", "", "it runs as root"),
    "a base of its own": ("\nFROM ${BASE}\n", "\nFROM python:3\n", "a base that is not"),
    "no argument": ("ARG BASE=", "ARG OTHER=", "nobody can pin"),
    "ADD": ("EXPOSE 8080", "ADD https://example.com/x /x", "ADD fetches"),
    "a secret": ("EXPOSE 8080", "ENV AWS_SECRET_ACCESS_KEY=x", "a secret"),
    "a shell": ('CMD ["run"]', "CMD run", "it needs a shell"),
    "no hashes": (' "--require-hashes",', "", "without hashes"),
    "sdists": ('"--only-binary", ":all:", ', "", "without hashes"),
    "what is not locked": ('"--no-deps", "--only-binary"', '"--only-binary"', "not in the lock"),
    "the whole checkout": ("COPY dist/awsgate-*.whl", "COPY .", "is copied"),
    "tools": ("EXPOSE 8080", 'RUN ["apt-get", "install", "curl"]', "more than Python"),
    "no volume": ('VOLUME ["/var/lib/awsgate"]\n', "", "no volume"),
    "an open volume": ("0o700", "0o755", "no volume"),
    "no health": ("HEALTHCHECK", "LABEL", "nobody sees"),
    "a shell for health": ('CMD ["/opt/awsgate/bin/python", ', 'CMD true ["', "needs a shell"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "what"), BROKEN.values(), ids=BROKEN)
def test_each_rule_finds_what_breaks_it(old: str, new: str, what: str) -> None:
    assert old in CONTAINERFILE

    assert what in " ".join(faults(CONTAINERFILE.replace(old, new)))


def test_nothing_but_lock_and_wheel_is_handed_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()

    assert [line for line in lines if not line.startswith("#")] == [
        "*",
        "!deploy/requirements.lock",
        "!dist/awsgate-*.whl",
    ]


HARDENED = {
    "LimitCORE": "0",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectProc": "invisible",
    "CapabilityBoundingSet": "",
    "SystemCallFilter": "@system-service",
    "StateDirectoryMode": "0700",
    "UMask": "0077",
    "User": "awsgate",
}


def test_the_unit_gives_the_gateway_little() -> None:
    settings = dict(re.findall(r"(?m)^(\w+)=(.*)$", UNIT))

    assert {name: settings.get(name) for name in HARDENED} == HARDENED


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_calls_the_unit_little_exposed() -> None:
    # 25 of 100: under 20 here; what is left is that it speaks to networks.
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=25",
         ROOT / "deploy/awsgate.service"],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip

    if "Unknown" in done.stderr or "unrecognized" in done.stderr:
        pytest.skip("an older systemd-analyze")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr
