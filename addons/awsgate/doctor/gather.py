"""The facts on this machine: files, variables, programs. Reads, and writes nothing.

A CA, a state folder or a session key that is not there stays so: the commands that make
them are named in the findings.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from awsgate.ca import BUNDLE_NAME, CA_NAME, CERT_NAME
from awsgate.doctor.clientfiles import ClientFiles, bundles_in, region_in
from awsgate.doctor.files import CaFacts, PolicyFacts, Problem, StateFacts
from awsgate.doctor.shell import Place, SessionState, Shell, Trust
from awsgate.doctor.tools import PACKAGES, PROGRAMS, ToolFacts
from awsgate.errors import Code, Refusal, SetupError
from awsgate.paths import read_private
from awsgate.policy import Policy
from awsgate.policyfile import load_policy
from awsgate.session import KEY_PREFIX, SessionKeys, open_session
from awsgate.state import AUDIT_NAME, keys_in
from awsgate.variables import ADDED_ROOT, BUNDLES, PROFILES

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
_MAX_BYTES = 8 * 1024**2
_COMMAND_S = 10
# In a process of its own: mitmproxy is the addon's to import.
_ASK_PATCHES = (sys.executable, "-m", "awsgate.addon.fitting")


def policy_facts(path: Path) -> tuple[PolicyFacts, Policy | None]:
    """Read the policy."""
    try:
        policy = load_policy(path)
    except SetupError as exc:
        if exc.faults:
            return PolicyFacts(str(path), faults=exc.faults), None
        return PolicyFacts(str(path), problem=Problem(exc.message, exc.hint)), None
    counts = len(policy.users), len(policy.roles), len(policy.apps)
    return PolicyFacts(str(path), warnings=tuple(policy.warnings), counts=counts), policy


def ca_facts(folder: Path) -> tuple[CaFacts, bytes]:
    """Read the CA; with it the root as PEM, empty if there is none to trust."""
    facts = CaFacts(str(folder))
    problem = _open_folder(folder)
    if problem is not None:
        return replace(facts, problem=problem), b""
    try:
        raw = read_private(folder / CA_NAME)
    except SetupError as exc:
        return replace(facts, problem=Problem(exc.message, exc.hint)), b""
    if raw is None:
        return replace(facts, there=False), b""
    try:
        issuing, root = x509.load_pem_x509_certificates(raw)
    except ValueError:
        what = Problem(
            f"{folder / CA_NAME} is not a CA that awsgate made",
            f"restore it from a backup, or: awsgate ca rotate --certs {folder}",
        )
        return replace(facts, problem=what), b""
    pem = root.public_bytes(serialization.Encoding.PEM)
    return (
        replace(
            facts,
            not_before=max(issuing.not_valid_before_utc, root.not_valid_before_utc),
            not_after=min(issuing.not_valid_after_utc, root.not_valid_after_utc),
            published=all(trust_in(folder / name, pem) == "ours"
                          for name in (CERT_NAME, BUNDLE_NAME)),
        ),
        pem,
    )  # fmt: skip


def state_facts(folder: Path) -> tuple[StateFacts, SessionKeys | None]:
    """Read the state folder; with it the session keys, if there are any."""
    audit = folder / AUDIT_NAME
    facts = StateFacts(str(folder), audit=str(audit), free_bytes=_free_bytes(folder))
    problem = _open_folder(folder)
    if problem is not None:
        return replace(facts, problem=problem), None
    try:
        keys = keys_in(folder)
    except SetupError as exc:
        return replace(facts, problem=Problem(exc.message, exc.hint)), None
    writable = os.access(audit if audit.exists() else folder, os.W_OK) or not folder.exists()
    facts = replace(facts, has_key=keys is not None, audit_writable=writable)
    return facts, keys


def _open_folder(folder: Path) -> Problem | None:
    """Say why a private folder may not be used; None: it may, or is not there."""
    try:
        info = folder.stat()
    except FileNotFoundError:
        return None
    except OSError as exc:
        return Problem(f"cannot look into {folder}: {exc.strerror}", f"chmod 700 {folder}")
    if info.st_uid != os.geteuid():
        return Problem(
            f"{folder} belongs to uid {info.st_uid}, and this is uid {os.geteuid()}",
            f"sudo -u '#{info.st_uid}' awsgate doctor",
        )
    if info.st_mode & 0o077:
        mode = stat.S_IMODE(info.st_mode)
        return Problem(
            f"{folder} is open to other users (mode {mode:04o})", f"chmod 700 {folder}"
        )  # fmt: skip
    return None


def _free_bytes(folder: Path) -> int | None:
    there = next((p for p in (folder, *folder.parents) if p.exists()), None)
    try:
        return shutil.disk_usage(there).free if there else None
    except OSError:
        return None


# --- the shell --------------------------------------------------------------------


def trust_in(path: Path, root: bytes) -> Trust:
    """Say what a file of certificates holds of the CA whose root this is."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES)
    except OSError:
        return "unreadable"
    ours, found = _der(root), _der(raw)
    if ours and ours <= found:
        return "ours"
    return "earlier" if any(b"awsgate root " in der for der in found) else "foreign"


def _der(pem: bytes) -> set[bytes]:
    found = set()
    for block in _BLOCK.findall(pem):
        try:
            found.add(base64.b64decode(b"".join(block.split())))
        except binascii.Error:
            continue
    return found


def shell_facts(
    environ: Mapping[str, str], place: Place, root: bytes, keys: SessionKeys | None, now: int
) -> Shell:
    """Look at the variables, and into the files that they name."""
    named = {name: environ[name] for name in (*BUNDLES, ADDED_ROOT) if environ.get(name)}
    trust = {name: trust_in(Path(value).expanduser(), root) for name, value in named.items()}
    if not root:  # no CA here to compare with
        trust = {name: found for name, found in trust.items() if found == "unreadable"}
    files = _client_texts(environ)
    session, role_arn = _session(environ, keys, now)
    profile = next((environ[name] for name in PROFILES if environ.get(name)), "default")
    return Shell(
        place=place,
        environ=environ,
        trust=trust,
        session=session,
        role_arn=role_arn,
        region_in_config=region_in(files[0][1], profile),
    )


def _session(
    environ: Mapping[str, str], keys: SessionKeys | None, now: int
) -> tuple[SessionState, str]:
    key_id = environ.get("AWS_ACCESS_KEY_ID", "")
    if not key_id.startswith(KEY_PREFIX):
        return "none", ""
    if keys is None:
        ended = _is_past(environ.get("AWS_CREDENTIAL_EXPIRATION", ""), now)
        return "expired" if ended else "none", ""
    token = environ.get("AWS_SESSION_TOKEN", "")
    try:
        opened = open_session(keys, access_key_id=key_id, session_token=token, now=now)
    except Refusal as exc:
        return "expired" if exc.code is Code.SESSION_EXPIRED else "unknown", ""
    return "open", opened.session.role_arn


def _is_past(moment: str, now: int) -> bool:
    try:
        return datetime.fromisoformat(moment).timestamp() <= now
    except ValueError:
        return False


def client_files(environ: Mapping[str, str], root: bytes, *, is_client: bool) -> ClientFiles:
    """Read ~/.aws, or where the environment says that it is."""
    (config_path, config), (credentials_path, credentials) = _client_texts(environ)
    bundles = {p: trust_in(Path(p).expanduser(), root) for p in bundles_in(config) if root}
    return ClientFiles(config_path, credentials_path, config, credentials, bundles, is_client)


def _client_texts(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    home = Path(environ.get("HOME") or Path.home()) / ".aws"
    found = []
    for variable, name in (
        ("AWS_CONFIG_FILE", "config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    ):
        path = Path(environ.get(variable) or home / name).expanduser()
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            text = ""
        found.append((str(path), text))
    return found


# --- programs ---------------------------------------------------------------------


def tool_facts(shell: Shell) -> ToolFacts:
    """Look for programs that need a setting, and ask mitmproxy and rclone what they are."""
    path = shell.environ.get("PATH")
    programs = frozenset(name for name in PROGRAMS if shutil.which(name, path=path))
    packages = frozenset(name for name in PACKAGES if find_spec(name) is not None)
    rclone = shutil.which("rclone", path=path)
    version, unpatched = _patches()
    return ToolFacts(
        shell=shell,
        programs=programs,
        packages=packages,
        rclone=_output([rclone, "version"]).partition("\n")[0] if rclone else "",
        unpatched=unpatched,
        mitmproxy=version,
    )


def _patches() -> tuple[str, tuple[str, ...] | None]:
    try:
        version, unpatched = json.loads(_output([*_ASK_PATCHES]))
    except ValueError:
        return "", None
    return str(version), tuple(unpatched)


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - programs of this machine, no input
            command, capture_output=True, text=True, errors="replace", timeout=_COMMAND_S,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def in_container() -> bool:
    """True if this is a container, as far as it can be told."""
    return any(Path(name).exists() for name in ("/.dockerenv", "/run/.containerenv")) or bool(
        os.environ.get("KUBERNETES_SERVICE_HOST")
    )
