"""The decision: whether a user may be a role, in an app, at an endpoint.

Default deny, deny beats allow, and every decision carries its reason. The meaning of
labels, ARNs and templates is the reference product's:

- allow: the labels of the app match *and* the ARN is listed, in one and the same role;
- deny: the labels match *or* the ARN is listed, in any role of the user. Its deny
  rules are greedy on purpose, and a narrower reading would open what they close;
- labels: every key must be there with one of the values; ``*`` is any run of
  characters, ``^...$`` a regular expression; no labels at all match nothing;
- ARNs are compared exactly.

One thing is stricter: a trait that a template puts into a label is compared as it
stands, so that no identity provider can hand out a wildcard.

Pure and total: no input makes it raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from re import Pattern

from awsgate.policy.fields import (
    account_and_partition,
    label_pattern,
    partition_of_uri,
    split_template,
)
from awsgate.policy.resources import Allow, App, Deny, Policy, Role, User

type Traits = Mapping[str, tuple[str, ...]]

NO_USER = "the user is not known"
NO_APP = "the app is not known"
NO_ROLE_ARN = "what is asked for is not the arn of an iam role"
OTHER_ACCOUNT = "the role is not in the account of the app"
OTHER_PARTITION = "the role is not in the partition of the app"
DENIED = "a deny rule matches"
NO_ALLOW = "no role of the user allows this role in this app"
NO_TENANT_ENDPOINT = "no role of the user allows an endpoint that other tenants can own"
OTHER_IDENTITY = "the identity is of no account that the policy names"
ALLOWED = "an allow rule matches"


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, why, and what the next step needs."""

    allowed: bool
    reason: str
    """A fixed lower-case clause. It may be shown to the user."""
    rule: str
    """``role/<name>`` that decided, or nothing. For the audit."""
    user: str
    role_arn: str
    external_id: str
    """For AssumeRole; empty unless allowed."""
    account: str
    """The account of the role; empty if what was asked for is no role."""


def decide(
    policy: Policy,
    *,
    user: str,
    app: str,
    role_arn: str,
    endpoint_service: str,
    tenant_controlled: bool,
) -> Decision:
    """Decide one call. Total: any input has a decision, and the default is deny.

    In this order, the first that says no ends it:

    1. the user is known;
    2. the app is known;
    3. ``role_arn`` has the form of an IAM role's ARN;
    4. it is in the account of the app, if the app is labelled ``aws_account_id``;
    5. it is in the partition of the app, if the app's URI names one;
    6. no role of the user denies the app or the ARN;
    7. one role of the user allows the app and the ARN together;
    8. if ``tenant_controlled``: one such role lists ``endpoint_service`` too.
    """
    parts = account_and_partition(role_arn)
    account, partition = parts or ("", "")

    def answer(
        reason: str, role: Role | None = None, *, external_id: str | None = None
    ) -> Decision:
        return Decision(
            allowed=external_id is not None,
            reason=reason,
            rule=f"role/{role.metadata.name}" if role else "",
            user=user,
            role_arn=role_arn,
            external_id=external_id or "",
            account=account,
        )

    who, what = policy.users.get(user), policy.apps.get(app)
    if who is None:
        return answer(NO_USER)
    if what is None:
        return answer(NO_APP)
    if parts is None:
        return answer(NO_ROLE_ARN)
    if what.labels.get("aws_account_id", account) != account:
        return answer(OTHER_ACCOUNT)
    if (partition_of_uri(what.spec.uri) or partition) != partition:
        return answer(OTHER_PARTITION)
    denying = _denying(policy, who, what, role_arn)
    if denying is not None:
        return answer(DENIED, denying)
    allowing = list(_allowing(policy, who, what, role_arn))
    if not allowing:
        return answer(NO_ALLOW)
    if tenant_controlled:
        allowing = [role for role in allowing if _lists(role, endpoint_service)]
        if not allowing:
            return answer(NO_TENANT_ENDPOINT)
    return answer(ALLOWED, allowing[0], external_id=what.spec.aws.external_id)


def denied_by(policy: Policy, *, user: str, app: str, role_arn: str) -> str:
    """Give ``role/<name>`` of a rule that denies ``role_arn``, or nothing.

    For a role that the user's own role assumes: AWS decides whether it may, and a deny
    rule of ours still holds.
    """
    who, what = policy.users.get(user), policy.apps.get(app)
    if who is None or what is None:
        return ""
    denying = _denying(policy, who, what, role_arn)
    return f"role/{denying.metadata.name}" if denying is not None else ""


def decide_federated(policy: Policy, *, role_arn: str, tenant_controlled: bool) -> Decision:
    """Decide a call by someone whom AWS knows and the policy does not.

    Web and SAML identities assume roles with no gateway session. Their credentials
    are good for accounts that the policy knows, so that nobody can carry data into
    an account of his own.
    """
    account = (account_and_partition(role_arn) or ("", ""))[0]
    known = account != "" and account in _accounts(policy)
    if not known:
        reason = OTHER_IDENTITY
    else:
        reason = NO_TENANT_ENDPOINT if tenant_controlled else ALLOWED
    rule = "gateway/unsigned.apis"
    return Decision(reason == ALLOWED, reason, rule, "", role_arn, "", account)


def _accounts(policy: Policy) -> set[str]:
    found = {app.labels.get("aws_account_id", "") for app in policy.apps.values()}
    for role in policy.roles.values():
        for arn in role.spec.allow.aws_role_arns:
            found.add((account_and_partition(arn) or ("", ""))[0])
    return found - {""}


def grantable_roles(policy: Policy, user: str, app: str | None = None) -> list[tuple[str, str]]:
    """Give every (app, role ARN) that ``user`` may ask for, sorted.

    With ``app``, those of this app alone. An unknown user or app has none.
    """
    who = policy.users.get(user)
    if who is None:
        return []
    arns = {
        arn
        for role in _roles(policy, who)
        for arn in _expand(role.spec.allow.aws_role_arns, who.spec.traits)
    }
    apps = policy.apps if app is None else [app]
    return sorted((name, arn) for name in apps for arn in arns if _may(policy, user, name, arn))


def max_ttl_s(policy: Policy, user: str, app: str, role_arn: str) -> int:
    """Give how many seconds a session for this may last; 0 if it is not allowed at all.

    The smallest ``max_session_ttl`` of the roles that allow it, and never more than
    the gateway's own limit.
    """
    if not _may(policy, user, app, role_arn):
        return 0
    roles = _allowing(policy, policy.users[user], policy.apps[app], role_arn)
    limits = (role.spec.options.max_session_ttl_s for role in roles)
    return min([policy.gateway.session.max_ttl_s, *(s for s in limits if s is not None)])


def _may(policy: Policy, user: str, app: str, role_arn: str) -> bool:
    return decide(
        policy,
        user=user,
        app=app,
        role_arn=role_arn,
        endpoint_service="",
        tenant_controlled=False,
    ).allowed


def _roles(policy: Policy, user: User) -> Iterator[Role]:
    """Give the user's roles, in the order in which they were given."""
    for name in user.spec.roles:
        role = policy.roles.get(name)
        if role is not None:
            yield role


def _denying(policy: Policy, user: User, app: App, role_arn: str) -> Role | None:
    for role in _roles(policy, user):
        labels, arn = _matches(role.spec.deny, user, app, role_arn)
        if labels or arn:
            return role
    return None


def _allowing(policy: Policy, user: User, app: App, role_arn: str) -> Iterator[Role]:
    for role in _roles(policy, user):
        labels, arn = _matches(role.spec.allow, user, app, role_arn)
        if labels and arn:
            yield role


def _matches(rules: Allow | Deny, user: User, app: App, role_arn: str) -> tuple[bool, bool]:
    """Say whether the labels match, and whether the ARN is listed."""
    traits = user.spec.traits
    return (
        _labels_match(rules.app_labels, app.labels, traits),
        role_arn in _expand(rules.aws_role_arns, traits),
    )


def _lists(role: Role, service: str) -> bool:
    listed = role.spec.allow.aws_tenant_endpoints
    return "*" in listed or service in listed


def _labels_match(
    selector: Mapping[str, tuple[str, ...]], labels: Mapping[str, str], traits: Traits
) -> bool:
    if not selector:
        return False
    if "*" in selector:
        return True
    return all(
        key in labels and any(_value_matches(value, labels[key], traits) for value in values)
        for key, values in selector.items()
    )


def _value_matches(value: str, label: str, traits: Traits) -> bool:
    if split_template(value) is not None:
        return label in _expand([value], traits)
    return _compiled(value).search(label) is not None


def _expand(values: Iterable[str], traits: Traits) -> Iterator[str]:
    """Fill in the templates. One trait with several values makes several values."""
    for value in values:
        parts = split_template(value)
        if parts is None:
            yield value
            continue
        before, trait, after = parts
        for filled in traits.get(trait, ()):
            yield f"{before}{filled}{after}"


@lru_cache(maxsize=1024)
def _compiled(value: str) -> Pattern[str]:
    return label_pattern(value)
