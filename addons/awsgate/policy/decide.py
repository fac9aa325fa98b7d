"""The decision: whether a user may be a role, in an app, for a call.

Default deny, deny beats allow, and every decision carries its reason. The meaning of
labels, ARNs and templates is the reference product's:

- allow: the labels of the app match *and* the ARN is listed, in one and the same role;
- deny: the labels match *or* the ARN is listed, in any role of the user. Its deny
  rules are greedy on purpose, and a narrower reading would open what they close;
- labels: every key must be there with one of the values; ``*`` is any run of
  characters, ``^...$`` a regular expression; no labels at all match nothing;
- ARNs are compared exactly, but for ``*`` and ``?`` in what the role itself says.

Ours are the conditions on the AWS call (``conditions``). In an allow, all that are
given must hold for the call too. In a deny, they make it a deny of the calls for
which all of them may hold, in the apps and roles that it names, or in all of them.

One thing is stricter: a trait that a template puts into a value is compared as it
stands, so that no identity provider can hand out a wildcard.

Pure and total: no input makes it raise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from awsgate.policy.approvals import AskedCall, Need, is_marked, need_of
from awsgate.policy.conditions import CallFacts, may_hold, over_limit, unmet
from awsgate.policy.fields import ACCOUNT_LABEL, account_and_partition, is_account
from awsgate.policy.resources import App, Policy, Role, User
from awsgate.policy.rules import Deny
from awsgate.policy.standing import (
    Known,
    Standings,
    allowing_roles_of,
    denying_role,
    is_there,
    roles_of,
    rule_of,
)

NO_ALLOW = "no role of the user allows this role in this app"
NO_TENANT_ENDPOINT = "no role of the user allows an endpoint that other tenants can own"
DENIED_CALL = "a deny rule matches this call"
NO_CALL = "no rule allows this call"
OTHER_IDENTITY = "the identity is of no account that the policy names"
NEEDS_APPROVAL = "the call needs an approval"
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
    """For AssumeRole; empty unless allowed, or allowed but for an approval."""
    account: str
    """The account of the role; empty if what was asked for is no role."""
    unmet: tuple[str, ...] = ()
    """The fields of ``rule`` that keep this call out, if that is why."""
    reported: str = ""
    """In report mode: the refusal that ``enforce`` would have given."""
    needs: tuple[Need, ...] = ()
    """Approvals of which one is needed. Not allowed without: see ``awsgate.approving``."""
    approval: str = ""
    """Id of the approval by which it is allowed; empty: it needs none."""
    asked: AskedCall | None = None
    """What has become of the request for an approval, where there is one."""

    @property
    def about_call(self) -> bool:
        """True if it is a refusal of this call, where another one would pass."""
        return self.reason.startswith((DENIED_CALL, NO_CALL, NEEDS_APPROVAL))


def decide(
    policy: Policy,
    *,
    user: str,
    app: str,
    role_arn: str,
    endpoint_service: str,
    tenant_controlled: bool,
    call: CallFacts | None = None,
    standings: Known | None = None,
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
    8. if ``tenant_controlled``: one such role lists ``endpoint_service`` too;
    9. no role of the user denies the call;
    10. one of those of 7 and 8 allows the call, and the session is within its limits;
        if it marks the call (``approvals``), the decision says what approval it ``needs``.

    Without ``call`` the last two are left out: may the user be this role at all? In
    report mode they refuse nothing, and ``reported`` says what they would have refused.
    ``standings`` are those of ``policy``; without them the first seven are asked anew.
    """
    standing = (standings or Standings(policy)).of(user, app, role_arn)

    def answer(reason: str, rule: str = "", **more: Any) -> Decision:
        return Decision(False, reason, rule, user, role_arn, "", standing.account, **more)

    who, what = policy.users.get(user), policy.apps.get(app)
    if standing.reason or who is None or what is None:
        return answer(standing.reason, rule_of(standing.denying) if standing.denying else "")
    allowing = standing.allowing
    if not allowing:
        return answer(NO_ALLOW)
    if tenant_controlled:
        allowing = tuple(role for role in allowing if lists_endpoint(role, endpoint_service))
        if not allowing:
            return answer(NO_TENANT_ENDPOINT)
    rule, reported = rule_of(allowing[0]), ""
    if call is not None:
        on_call = _on_call(who, standing.on_calls, allowing, call, role_arn)
        if on_call.reason == ALLOWED:
            rule = on_call.rule
        elif policy.gateway.mode == "report":
            reported = f"{on_call.text} [{on_call.rule}]"
        elif on_call.needs:
            waits = answer(on_call.text, on_call.rule, needs=on_call.needs)
            return replace(waits, external_id=what.spec.aws.external_id)
        else:
            return answer(on_call.text, on_call.rule, unmet=on_call.unmet)
    external_id, account = what.spec.aws.external_id, standing.account
    return Decision(True, ALLOWED, rule, user, role_arn, external_id, account, (), reported)


@dataclass(frozen=True, slots=True)
class _OnCall:
    reason: str
    rule: str
    unmet: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()

    @property
    def text(self) -> str:
        return (
            f"{self.reason}: {', '.join(self.unmet)} of {self.rule}"
            if self.unmet
            else (f"{self.reason}: {self.rule}")
        )


def _on_call(
    user: User,
    on_calls: Iterable[Role],
    allowing: Iterable[Role],
    call: CallFacts,
    role_arn: str,
) -> _OnCall:
    """Decide on the call alone, by the roles that have a say in this app and role."""
    for role in on_calls:
        if may_hold(role.spec.deny, call, user.spec.traits):
            return _OnCall(DENIED_CALL, rule_of(role))
    nearest = _OnCall(NO_CALL, "")
    needs: list[Need] = []
    for role in allowing:
        missing = unmet_by(role, user, call)
        if not missing and needs_approval(role, call):
            marks, name = role.spec.allow.approvals, role.metadata.name
            need = need_of(marks, call.call, role=name, role_arn=role_arn)
            if need is not None:
                needs.append(need)
            missing = ("approvals",)
        if not missing:
            return _OnCall(ALLOWED, rule_of(role))
        if not nearest.unmet or len(missing) < len(nearest.unmet):
            nearest = _OnCall(NO_CALL, rule_of(role), missing)
    if needs:
        return _OnCall(NEEDS_APPROVAL, f"role/{needs[0].call.role}", (), tuple(needs))
    return nearest


def denied_by(
    policy: Policy, *, user: str, app: str, role_arn: str, call: CallFacts | None = None
) -> str:
    """Give ``role/<name>`` of a rule that denies ``role_arn``, or nothing.

    For a role that the user's own role assumes: AWS decides whether it may, and a deny
    rule of ours still holds.
    """
    who, what = policy.users.get(user), policy.apps.get(app)
    if who is None or what is None:
        return ""
    denying = denying_role(policy, who, what, role_arn)
    if denying is None and call is not None and policy.gateway.mode == "enforce":
        roles = roles_of(policy, who)
        denying = next(
            (r for r in roles if denies_call(r.spec.deny, who, what, role_arn, call)), None
        )
    return rule_of(denying) if denying is not None else ""


def decide_federated(policy: Policy, *, role_arn: str, tenant_controlled: bool) -> Decision:
    """Decide a call by someone whom AWS knows and the policy does not.

    Web and SAML identities assume roles with no gateway session. Their credentials
    are good for accounts that the policy knows, so that nobody can carry data into
    an account of his own.
    """
    account = (account_and_partition(role_arn) or ("", ""))[0]
    if account not in _accounts(policy):  # nor is no account
        reason = OTHER_IDENTITY
    else:
        reason = NO_TENANT_ENDPOINT if tenant_controlled else ALLOWED
    rule = "gateway/unsigned.apis"
    return Decision(reason == ALLOWED, reason, rule, "", role_arn, "", account)


def _accounts(policy: Policy) -> set[str]:
    found = {app.labels.get(ACCOUNT_LABEL, "") for app in policy.apps.values()}
    for role in policy.roles.values():
        for arn in role.spec.allow.aws_role_arns:
            account = (arn.split(":") + [""] * 5)[4]  # of a pattern too, if it names one
            if is_account(account):
                found.add(account)
    return found - {""}


def allowing_roles(policy: Policy, user: str, app: str, role_arn: str) -> tuple[Role, ...]:
    """Give the roles that let ``user`` be ``role_arn`` in ``app``; none if anything denies it."""
    if not may_be(policy, user, app, role_arn):
        return ()
    return tuple(allowing_roles_of(policy, policy.users[user], policy.apps[app], role_arn))


def may_be(
    policy: Policy, user: str, app: str, role_arn: str, standings: Known | None = None
) -> bool:
    """True if ``user`` may be the role in the app at all, whatever the call."""
    return decide(
        policy,
        user=user,
        app=app,
        role_arn=role_arn,
        endpoint_service="",
        tenant_controlled=False,
        standings=standings,
    ).allowed


def unmet_by(role: Role, user: User, call: CallFacts) -> tuple[str, ...]:
    """Give the fields of a role that keep it from allowing a call."""
    spec = role.spec
    return (*unmet(spec.allow, call, user.spec.traits), *over_limit(spec.options, call))


def needs_approval(role: Role, call: CallFacts) -> bool:
    """True if a role marks a call, or may mark it."""
    marks = role.spec.allow.approvals
    return bool(marks) and is_marked(marks, call.call)


def denies_call(deny: Deny, user: User, app: App, role_arn: str, call: CallFacts) -> bool:
    """True if a deny has conditions on the call, and all of them may hold."""
    return is_there(deny, user, app, role_arn) and may_hold(deny, call, user.spec.traits)


def lists_endpoint(role: Role, service: str) -> bool:
    """True if a role allows endpoints of ``service`` that anybody can own."""
    listed = role.spec.allow.aws_tenant_endpoints
    return "*" in listed or service in listed
