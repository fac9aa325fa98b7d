"""Where a user stands as a role in an app, whatever the call. Pure and total.

It is the part of a decision that is the same for every request of a session.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from awsgate.policy.fields import ACCOUNT_LABEL, account_and_partition, partition_of_uri
from awsgate.policy.matching import matches_both
from awsgate.policy.resources import App, Policy, Role, User
from awsgate.policy.rules import Deny

NO_USER = "the user is not known"
NO_APP = "the app is not known"
NO_ROLE_ARN = "what is asked for is not the arn of an iam role"
OTHER_ACCOUNT = "the role is not in the account of the app"
OTHER_PARTITION = "the role is not in the partition of the app"
DENIED = "a deny rule matches"

MAX_STANDINGS = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """What a policy says of a user, an app and a role, whatever the call."""

    account: str
    """Of the role; empty if what was asked for is no role."""
    reason: str = ""
    """Why the user may not be this role whatever is allowed; empty: nothing says so."""
    denying: Role | None = None
    """The rule that says so, if it is one."""
    allowing: tuple[Role, ...] = ()
    on_calls: tuple[Role, ...] = ()
    """Those that deny some calls there."""


class Known(Protocol):
    """Where standings are found that one policy gives."""

    def of(self, user: str, app: str, role_arn: str) -> Standing:
        """Give the standing of a user as a role in an app."""
        ...


class Standings:
    """The standings that one policy gives, each found once: a request asks for one.

    And what else a request asks of a user, who may have thousands of roles. Bounded. A
    policy never changes; another one has others.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._found: dict[tuple[str, str, str], Standing] = {}
        self._restricted: dict[str, bool] = {}

    def of(self, user: str, app: str, role_arn: str) -> Standing:
        """Give the standing of a user as a role in an app."""
        about = (user, app, role_arn)
        found = self._found.get(about)
        if found is None:
            if len(self._found) >= MAX_STANDINGS:
                self._found.clear()
            found = self._found[about] = standing_of(self._policy, user, app, role_arn)
        return found

    def restricts_resources(self, user: str) -> bool:
        """True if a role of ``user`` looks at resources, so that they must be known."""
        found = self._restricted.get(user)
        if found is None:
            if len(self._restricted) >= MAX_STANDINGS:
                self._restricted.clear()
            found = self._restricted[user] = _restricts_resources(self._policy, user)
        return found


def standing_of(policy: Policy, user: str, app: str, role_arn: str) -> Standing:
    """Ask all that is not about the call. Total."""
    account, partition = account_and_partition(role_arn) or ("", "")
    who, what = policy.users.get(user), policy.apps.get(app)
    reason, denying = _may_not(policy, who, what, role_arn, account, partition)
    if reason or who is None or what is None:
        return Standing(account, reason, denying)
    return Standing(
        account,
        allowing=tuple(allowing_roles_of(policy, who, what, role_arn)),
        on_calls=tuple(
            role for role in roles_of(policy, who) if is_there(role.spec.deny, who, what, role_arn)
        ),
    )


def _restricts_resources(policy: Policy, user: str) -> bool:
    who = policy.users.get(user)
    return who is not None and any(
        role.spec.allow.aws_resources or role.spec.deny.aws_resources or role.spec.allow.approvals
        for role in roles_of(policy, who)
    )


def _may_not(
    policy: Policy, user: User | None, app: App | None, role_arn: str, account: str, partition: str
) -> tuple[str, Role | None]:
    """Give why the user may not be this role whatever is allowed, and the rule that says so."""
    if user is None:
        return NO_USER, None
    if app is None:
        return NO_APP, None
    if not account:
        return NO_ROLE_ARN, None
    if app.labels.get(ACCOUNT_LABEL, account) != account:
        return OTHER_ACCOUNT, None
    if (partition_of_uri(app.spec.uri) or partition) != partition:
        return OTHER_PARTITION, None
    denying = denying_role(policy, user, app, role_arn)
    return (DENIED, denying) if denying is not None else ("", None)


def roles_of(policy: Policy, user: User) -> Iterator[Role]:
    """Give the roles of a user, in the order in which they were given."""
    for name in user.spec.roles:
        role = policy.roles.get(name)
        if role is not None:
            yield role


def rule_of(role: Role) -> str:
    """Give ``role/<name>``."""
    return f"role/{role.metadata.name}"


def is_there(deny: Deny, user: User, app: App, role_arn: str) -> bool:
    """True if a deny has conditions on calls, and means those in this app as this role."""
    if not deny.about_calls:
        return False
    anywhere = not (deny.app_labels or deny.aws_role_arns)
    return anywhere or any(matches_both(deny, user, app, role_arn))


def denying_role(policy: Policy, user: User, app: App, role_arn: str) -> Role | None:
    """Give the first role of the user that denies the app or the ARN, whatever the call."""
    for role in roles_of(policy, user):
        deny = role.spec.deny
        if not deny.about_calls and any(matches_both(deny, user, app, role_arn)):
            return role
    return None


def allowing_roles_of(policy: Policy, user: User, app: App, role_arn: str) -> Iterator[Role]:
    """Give the roles of the user that allow the app and the ARN together."""
    for role in roles_of(policy, user):
        if all(matches_both(role.spec.allow, user, app, role_arn)):
            yield role
