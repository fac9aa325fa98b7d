"""What is valid in the documents and probably not meant. Pure.

A warning is one line like a fault: the place of the document, the path in it, what is
odd. It stops nothing, so only what can be told from the documents alone is one. These
are cheap, and every start looks for them; ``awsgate check`` looks further (``lint``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from awsgate.policy.connectors import Oidc
from awsgate.policy.fields import (
    ACCOUNT_LABEL,
    account_and_partition,
    is_account,
    is_session_name,
    partition_of_uri,
)
from awsgate.policy.handoff import handoff_warnings
from awsgate.policy.remark import Remark
from awsgate.policy.resources import App, Role, User
from awsgate.policy.sharedissuers import shared_issuer_warnings


def warnings_about(resources: Iterable[tuple[str, object]]) -> Iterator[str]:
    """Give a line for each thing that is odd in ``resources``, pairs of place and resource."""
    placed = list(resources)
    apps = [resource for _, resource in placed if isinstance(resource, App)]
    for place, resource in placed:
        if isinstance(resource, App):
            found = _app(resource)
        elif isinstance(resource, User):
            found = _user(resource, apps)
        elif isinstance(resource, Role):
            found = _role(resource, apps)
        elif isinstance(resource, Oidc):
            found = shared_issuer_warnings(resource)
        else:
            continue
        yield from (Remark.of(place, line) for line in found)


def _app(app: App) -> Iterator[str]:
    if ACCOUNT_LABEL in app.labels:
        return
    folded = {key.casefold(): key for key in app.labels}
    near = difflib.get_close_matches(ACCOUNT_LABEL, folded, n=1)
    meant = [folded[near[0]]] if near else [k for k, v in app.labels.items() if is_account(v)]
    hint = f": did you mean {ACCOUNT_LABEL!r} by {meant[0]!r}" if meant else ""
    yield f"metadata.labels: no {ACCOUNT_LABEL!r}, so roles of any account fit this app{hint}"


def _user(user: User, apps: list[App]) -> Iterator[str]:
    name = user.metadata.name
    if not is_session_name(name):
        yield (
            f"metadata.name: {name!r} is no session name of AWS (2 to 64 letters, digits "
            "and _+=,.@-): CloudTrail will show it changed, with a hash"
        )
    for trait, values in user.spec.traits.items():
        yield from _arns(f"spec.traits.{trait}", values, apps)


def _role(role: Role, apps: list[App]) -> Iterator[str]:
    for part, rules in (("allow", role.spec.allow), ("deny", role.spec.deny)):
        yield from _arns(f"spec.{part}.aws_role_arns", rules.aws_role_arns, apps)
    yield from handoff_warnings(role)


def _arns(path: str, values: Iterable[str], apps: list[App]) -> Iterator[str]:
    for index, value in enumerate(values):
        parts = account_and_partition(value)
        problem = _out_of_place(*parts, apps) if parts else ""
        if problem:
            yield f"{path}[{index}]: {value!r}: {problem}"


def _out_of_place(account: str, partition: str, apps: list[App]) -> str:
    """Say why ``decide`` would refuse such a role in every app, or nothing."""
    there = [app for app in apps if app.labels.get(ACCOUNT_LABEL, account) == account]
    if not there:
        return f"no app is in account {account}"
    if not any(partition_of_uri(app.spec.uri) in ("", partition) for app in there):
        return f"no app of account {account} has a uri in partition {partition}"
    return ""
