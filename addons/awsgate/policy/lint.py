"""What is valid in a whole policy and probably not meant: for ``awsgate check``. Pure.

    unreachable   rules that can never match
    misnamed      actions, services and regions that AWS does not have
    nevermet      what AWS has, and no request can be known by
    here          who and what nothing uses, locks that lock nobody

Beside these stand the warnings that every start looks for (``warn``), which are in
``Policy.warnings`` already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from awsgate.aws.catalogue import similar
from awsgate.policy.connectors import OidcSpec, given_roles
from awsgate.policy.fields import account_and_partition, is_session_id, same_name
from awsgate.policy.locks import in_force
from awsgate.policy.misnamed import misnamed
from awsgate.policy.nevermet import never_met
from awsgate.policy.remark import Remark
from awsgate.policy.requests import may_review
from awsgate.policy.resources import App, Lock, Policy, Role, User
from awsgate.policy.ttl import AWS_MAX_S
from awsgate.policy.unreachable import Problem, reaches, unreachable


def lint(policy: Policy, now: datetime) -> Iterator[Remark]:
    """Give all that is odd, by kind and name."""
    warned = {(w.place, w.path) for w in map(Remark.parse, policy.warnings)}
    holders: dict[str, list[User]] = {}
    for user in policy.users.values():
        for name in user.spec.roles:
            holders.setdefault(name, []).append(user)
    given = {role for c in policy.connectors.values() for role in given_roles(c)}
    by_connector = any("$" in role for role in given)
    for name, role in policy.roles.items():
        place = policy.places.get(f"role/{name}", "")
        held = name in given or by_connector
        for path, what, todo in _role(policy, role, holders.get(name, []), held=held):
            # What is said of each of the ARNs need not be said of all of them.
            each = [f"{path}[{n}]" for n in range(len(role.spec.allow.aws_role_arns))]
            if not (path.endswith("aws_role_arns") and warned.issuperset((place, p) for p in each)):
                yield Remark(place, path, what, todo)
    for name, user in policy.users.items():
        if not user.spec.roles:
            place = policy.places.get(f"user/{name}", "")
            yield Remark(place, "spec.roles", f"user {name!r} has no role, so may do nothing")
    for name, app in policy.apps.items():
        if not any(reaches(role.spec.allow, app) for role in policy.roles.values()):
            yield Remark(policy.places.get(f"app/{name}", ""), "", *_unused(app))
    for name, lock in policy.locks.items():
        place = policy.places.get(f"lock/{name}", "")
        for path, what, todo in idle(lock, policy, now):
            yield Remark(place, path, what, todo)
    yield from _connectors(policy)
    yield from _gateway(policy)


def _connectors(policy: Policy) -> Iterator[Remark]:
    """Say where one name could be two people, and where one kind of login is another."""
    whose: dict[str, str] = {"": "client certificates"} if policy.gateway.control.client_ca else {}
    for name, connector in policy.connectors.items():
        spec, place = connector.spec, policy.places.get(name, "")
        first = whose.setdefault(spec.username_prefix, name)
        if first != name:
            what = f"that of {first} is the same, so one name can be two people"
            todo = "give each connector a prefix of its own, unless no two can name one user"
            yield Remark(place, "spec.username_prefix", what, todo)
        if (
            isinstance(spec, OidcSpec)
            and spec.id_tokens is not None
            and spec.client_id in spec.id_tokens.audiences
        ):
            what = "has the client_id, so a person's ID token logs in as a machine's does"
            todo = "name the gateway's URL: of machines no nonce, max_age or acr_values is asked"
            yield Remark(place, "spec.id_tokens.audiences", what, todo)


def _role(policy: Policy, role: Role, holders: Sequence[User], *, held: bool) -> Iterator[Problem]:
    if not holders and not held:
        yield "metadata.name", f"no user has the role {role.metadata.name!r}", ""
    yield from unreachable(role, list(policy.apps.values()))
    yield from misnamed(role)
    if role.spec.allow.approvals and not any(
        may_review([other.spec], role.metadata.name) for other in policy.roles.values()
    ):
        what = "no role may answer, so only who works in the gateway's state folder can approve"
        todo = f"allow.review_requests: {{roles: [{role.metadata.name}]}} of another role"
        yield "spec.allow.approvals", what, todo
    if not held:  # whose traits nobody knows before they log in
        yield from never_met(role, holders)


def _unused(app: App) -> tuple[str, str]:
    labels = ", ".join(f"{key}: {value}" for key, value in sorted(app.labels.items()))
    what = f"no role reaches the app {app.metadata.name!r}, so nobody can use it"
    return what, f"its labels are {labels}" if labels else "it has no labels"


def idle(lock: Lock, policy: Policy | None, now: datetime) -> Iterator[Problem]:
    """Say why a lock holds nobody, if that is so: a misspelt name looks like safety.

    Without a policy the names in it are not looked up.
    """
    target = lock.spec.target
    named = (
        {"user": policy.users, "role": policy.roles, "app": policy.apps}
        if policy is not None
        else {}
    )
    for kind, known in named.items():
        name = getattr(target, kind)
        if kind == "user" and policy is not None and policy.connectors:
            # Who logs in by them, no document says; but a slip of the pen is likelier.
            near = similar(name, known) if name is not None and name not in known else ""
            if near and name is not None and same_name(near) != same_name(name):
                what = f"no document is of the user {name!r}"
                yield "spec.target.user", what, f"did you mean {near!r}"
            continue
        if name is not None and kind == "user" and same_name(name) in map(same_name, known):
            continue  # a lock holds a user in whatever letters
        if name is not None and name not in known:
            near = similar(name, known)
            what = f"there is no {kind} {name!r}, so this locks nobody"
            yield f"spec.target.{kind}", what, f"did you mean {near!r}" if near else ""
    if target.session is not None and not is_session_id(target.session):
        what = f"{target.session!r} is no session id, so this locks nobody"
        yield "spec.target.session", what, "20 hexadecimal digits, as in the audit"
    arn = target.aws_role_arn
    if arn is not None and account_and_partition(arn) is None:
        what = f"{arn!r} is not the ARN of an IAM role, so this locks nobody"
        yield "spec.target.aws_role_arn", what, "arn:aws:iam::<account>:role/<name>"
    if lock.spec.expires is not None and not in_force(lock, now):
        yield "spec.expires", f"expired at {lock.spec.expires.isoformat()}", "take the lock out"


def _gateway(policy: Policy) -> Iterator[Remark]:
    if policy.gateway.session.max_ttl_s > AWS_MAX_S:
        what = "over 12h has no effect: AWS gives no role a longer session"
        place = next((p for k, p in policy.places.items() if k.startswith("gateway/")), "")
        yield Remark(place, "spec.session.max_ttl", what)
