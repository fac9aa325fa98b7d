"""All checks of a set-up, in parallel, with a time limit on the whole.

A check that does not come back in time is a finding too. Its thread is left behind: a
daemon, so that the process can end.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from awsgate.address import reachable
from awsgate.aws.partitions import BY_ID
from awsgate.aws.sigv4 import SigningKeys
from awsgate.ca import BUNDLE_NAME, CERT_NAME
from awsgate.doctor.accounts import BaseFacts, GatewayState, broken, check_base, slow, unasked
from awsgate.doctor.ahead import check_ahead
from awsgate.doctor.asking import MAX_ROLES, Asker, Wanted, wanted_roles
from awsgate.doctor.assuming import RoleFacts, check_role, partition_of
from awsgate.doctor.clientfiles import check_client_files
from awsgate.doctor.connect import Caller, Way, walk
from awsgate.doctor.environment import check_shell
from awsgate.doctor.files import check_ca, check_policy, check_state
from awsgate.doctor.finding import Finding, Group, note
from awsgate.doctor.gather import (
    ca_facts,
    client_files,
    in_container,
    policy_facts,
    shell_facts,
    state_facts,
    tool_facts,
)
from awsgate.doctor.passage import PassageFacts, Reach, check_passage
from awsgate.doctor.shell import Place, Shell
from awsgate.doctor.tools import check_mitmproxy, check_tools
from awsgate.policy import Policy
from awsgate.session import ENTROPY_BYTES, SessionKeys, mint
from awsgate.variables import CREDENTIALS

_CALL_TTL_S = 120
_LISTEN = "127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class Patient:
    """What is to be examined. Absolute paths."""

    policy: Path
    state: Path
    certs: Path
    environ: Mapping[str, str] = field(repr=False)
    proxy: str = ""
    """``host:port``, if the gateway is not where the policy says."""
    upstream: str = ""
    user: str = ""
    app: str = ""
    role_arn: str = ""
    endpoint_keys: SigningKeys | None = field(default=None, repr=False)
    """What the endpoint of ``awsgate exec`` gives to this shell."""
    offline: bool = False
    timeout_s: float = 20.0


Progress = Callable[[str], None]


class _Jobs:
    """Things done at once, each in a thread of its own that nobody waits for too long."""

    def __init__(self, timeout_s: float) -> None:
        self._ends = time.monotonic() + timeout_s
        self._threads: dict[str, threading.Thread] = {}
        self._results: dict[str, Any] = {}
        self._errors: dict[str, Exception] = {}

    def start(self, name: str, work: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                self._results[name] = work()
            except Exception as exc:  # noqa: BLE001 - becomes a finding
                self._errors[name] = exc

        self._threads[name] = threading.Thread(target=run, name=name, daemon=True)
        self._threads[name].start()

    def result(self, name: str) -> Any | None:
        """Give what a job gave; None: it failed, is not back in time, or was not started."""
        thread = self._threads.get(name)
        if thread is not None:
            thread.join(max(0.0, self._ends - time.monotonic()))
        return self._results.get(name)

    def lacking(self, name: str, group: Group, what: str) -> Finding:
        """Say why a job gave nothing."""
        error = self._errors.get(name)
        return slow(group, what) if error is None else broken(group, what, error)

    def started(self, name: str) -> bool:
        return name in self._threads


def examine(patient: Patient, progress: Progress = lambda _: None) -> list[Finding]:
    """Give all findings, in the order of their groups."""
    now = datetime.now(UTC)
    policy_found, policy = policy_facts(patient.policy)
    ca, root = ca_facts(patient.certs)
    state, keys = state_facts(patient.state)
    address = reachable(patient.proxy or (policy.gateway.listen if policy else _LISTEN))
    tls = policy.gateway.tls if policy else False
    place = Place(address, str(patient.certs / CERT_NAME), str(patient.certs / BUNDLE_NAME), tls)
    shell = shell_facts(patient.environ, place, root, keys, int(now.timestamp()))
    jobs = _Jobs(patient.timeout_s)
    progress("programs on PATH")
    jobs.start("tools", lambda: tool_facts(shell))
    if not patient.offline and root:
        caller = _caller(patient, policy, shell, keys, now)
        way = _way(patient, place, root, patient.role_arn or shell.role_arn)
        jobs.start("gateway", lambda: walk(way, caller))
    wanted = _wanted(patient, policy)
    asker = Asker(policy.gateway, patient.upstream) if policy is not None else None
    ahead = policy.gateway.upstream_gateway if policy is not None else None
    if asker is not None and ahead is None and not patient.offline:
        _ask_bases(jobs, asker, wanted)

    found = _gateway(jobs, progress, offline=patient.offline)
    passage: PassageFacts | None = jobs.result("gateway")
    found += [*check_policy(policy_found), *check_ca(ca, now), *check_state(state)]
    found += check_shell(shell)
    found += check_client_files(client_files(patient.environ, root, is_client=shell.is_client))
    if ahead is not None:
        found += check_ahead(ahead, now.timestamp())
    elif patient.offline or asker is None:
        reason = "--offline" if patient.offline else "the policy cannot be read"
        found.append(unasked(reason))
    else:
        progress("AWS")
        found += _aws(jobs, asker, wanted, _state(passage))
    tools = jobs.result("tools")
    found += (
        check_tools(tools)
        if tools is not None
        else [jobs.lacking("tools", Group.TOOLS, "programs on PATH")]
    )
    order = list(Group)
    return sorted(found, key=lambda finding: order.index(finding.group))


# --- the gateway ------------------------------------------------------------------


def _way(patient: Patient, place: Place, root: bytes, role_arn: str) -> Way:
    try:
        roots = root + (patient.certs / CERT_NAME).read_bytes()
    except OSError:
        roots = root
    partition = BY_ID.get(partition_of(role_arn), BY_ID["aws"])
    host = f"sts.{partition.global_region}.{partition.suffix}"
    region, certs = partition.global_region, str(patient.certs)
    return Way(place.address, host, region, certs, root, roots, tls=place.tls)


def _caller(
    patient: Patient, policy: Policy | None, shell: Shell, keys: SessionKeys | None, now: datetime
) -> Caller | None:
    """Give credentials for a call through the gateway: made for ``--user``, or this shell's."""
    if patient.user and patient.role_arn and policy is not None and keys is not None:
        made = mint(
            keys,
            user=patient.user,
            app=patient.app,
            role_arn=patient.role_arn,
            ttl_s=_CALL_TTL_S,
            now=int(now.timestamp()),
            entropy=secrets.token_bytes(ENTROPY_BYTES),
        )
        signing = SigningKeys(made.access_key_id, made.secret_access_key, made.session_token)
        return Caller(f"{patient.user} in {patient.app}", signing)
    if patient.endpoint_keys is not None:
        return Caller("this shell", patient.endpoint_keys)
    # Without the session key here it cannot be told whether they are good: a call tells.
    if not shell.has_gateway_keys or shell.session not in ("open", "none"):
        return None
    key, secret, token = (shell.value(name) for name in CREDENTIALS)
    return Caller("this shell", SigningKeys(key, secret, token))


def _gateway(jobs: _Jobs, progress: Progress, *, offline: bool) -> list[Finding]:
    found: list[Finding] = []
    if jobs.started("gateway"):
        progress("the gateway")
        passage: PassageFacts | None = jobs.result("gateway")
        found += (
            check_passage(passage)
            if passage
            else [jobs.lacking("gateway", Group.GATEWAY, "the gateway")]
        )
    else:
        reason = "--offline" if offline else "there is no CA to know it by"
        found.append(
            note(Group.GATEWAY, "gateway-not-asked", f"the gateway was not asked: {reason}")
        )
    progress("mitmproxy")
    tools = jobs.result("tools")
    return found + (list(check_mitmproxy(tools)) if tools is not None else [])


# --- AWS --------------------------------------------------------------------------


def _wanted(patient: Patient, policy: Policy | None) -> list[Wanted]:
    if policy is None:
        return []
    return list(wanted_roles(policy, user=patient.user, app=patient.app, role_arn=patient.role_arn))


def _ask_bases(jobs: _Jobs, asker: Asker, wanted: list[Wanted]) -> None:
    for profile, partition in _profiles(asker, wanted).items():
        jobs.start(f"base {profile}", lambda p=profile, q=partition: asker.base(p, q, _blank()))  # type: ignore[misc]


def _blank() -> BaseFacts:
    disabled = os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    return BaseFacts("", in_container=in_container(), metadata_disabled=disabled)


def _profiles(asker: Asker, wanted: list[Wanted]) -> dict[str, str]:
    """Give each profile that is used, and the partition of a role it is used for."""
    found = {asker.profiles(frozenset({w.request.account}))[0]: w.request.partition for w in wanted}
    return found or dict.fromkeys(asker.profiles(frozenset()), "aws")


def _state(passage: PassageFacts | None) -> GatewayState:
    if passage is None or passage.reach not in (Reach.THROUGH, Reach.EARLIER_CA):
        return "down"
    if passage.answer is None:
        return "up"
    return "serves" if passage.answer.arn else "down"


def _aws(jobs: _Jobs, asker: Asker, wanted: list[Wanted], gateway: GatewayState) -> list[Finding]:
    found: list[Finding] = []
    bases: dict[str, BaseFacts] = {}
    for profile in _profiles(asker, wanted):
        facts: BaseFacts | None = jobs.result(f"base {profile}")
        if facts is None:
            found.append(jobs.lacking(f"base {profile}", Group.AWS, "awsgate's own credentials"))
            continue
        bases[profile] = facts
        found += check_base(replace(facts, gateway=gateway))
    if not any(facts.good for facts in bases.values()):
        return found
    for number, one in enumerate(wanted[:MAX_ROLES]):
        jobs.start(f"role {number}", lambda w=one: asker.role(w, bases))  # type: ignore[misc]
    for number, one in enumerate(wanted[:MAX_ROLES]):
        role: RoleFacts | None = jobs.result(f"role {number}")
        if role is None:
            found.append(jobs.lacking(f"role {number}", Group.AWS, one.request.role_arn))
        elif asker.has_credentials(role):
            found.append(check_role(role))
    if not wanted:
        found.append(note(Group.AWS, "no-roles", "the policy gives nobody a role by its full ARN"))
    if len(wanted) > MAX_ROLES:
        rest = f"{len(wanted) - MAX_ROLES} more roles were not asked for"
        found.append(note(Group.AWS, "roles-left-out", rest, fix="awsgate doctor --user USER"))
    return found
