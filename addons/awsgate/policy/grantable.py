"""Every (app, role ARN) that a user may ask for, and where the user stands there. Pure.

Pair by pair (``standing``) that is apps times ARNs times roles, which a user with some
hundred roles can make a server reckon for seconds. Here each half of a rule is asked once:
of an app, which roles select it by its labels; of an ARN, which roles list it. Each answer
is a number with a bit for each role of the user, so that a pair is the two numbers put
together; and an app of one account meets the ARNs of that account alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from awsgate.policy.conditions import filled
from awsgate.policy.fields import ACCOUNT_LABEL, account_and_partition, partition_of_uri
from awsgate.policy.globs import Parts, parts_match, plain_start
from awsgate.policy.matching import Selector, app_matches
from awsgate.policy.resources import Policy, Role
from awsgate.policy.rules import Allow, Deny
from awsgate.policy.standing import DENIED, Standing, roles_of, standing_of
from awsgate.policy.templates import Traits, expand


@dataclass(frozen=True, slots=True)
class _Bits:
    """The roles of a user whose rules mean an app, or an ARN: a bit for each."""

    allow: int
    deny: int
    """Whatever the call."""
    deny_calls: int


class Grantable:
    """What one user may ask for under one policy. It never changes: any thread may ask."""

    def __init__(self, policy: Policy, user: str) -> None:
        who = policy.users.get(user)
        self._policy, self._user = policy, user
        self._roles: tuple[Role, ...] = tuple(roles_of(policy, who)) if who is not None else ()
        self._traits: Traits = who.spec.traits if who is not None else {}
        self._denies_anywhere = _sum(
            bit
            for bit, deny in self._rules(_deny_calls)
            if not (deny.app_labels or deny.aws_role_arns)
        )
        self._arns = self._bits_of_arns()
        self._apps = self._bits_of_apps()
        self._granted = self._put_together()

    @property
    def size(self) -> int:
        """About how much it holds, in names."""
        shared = {id(arns): len(arns) for arns in self._granted.values()}
        return 1 + len(self._apps) + len(self._arns) + sum(shared.values())

    def arns(self, app: str) -> tuple[str, ...]:
        """Give the role ARNs in an app, sorted."""
        return self._granted.get(app, ())

    def pairs(self, app: str = "") -> Iterator[tuple[str, str]]:
        """Give every (app, role ARN), sorted; with ``app``, those of this app alone."""
        for name in (app,) if app else sorted(self._granted):
            for arn in self.arns(name):
                yield name, arn

    def count(self, app: str = "") -> int:
        """Give how many they are: where nothing is selected by an account, that can be many."""
        return len(self.arns(app)) if app else sum(map(len, self._granted.values()))

    def of(self, user: str, app: str, role_arn: str) -> Standing:
        """Give the standing of a user as a role in an app: the one of ``standing_of``."""
        here, there = self._apps.get(app), self._arns.get(role_arn)
        place = account_and_partition(role_arn)
        if user != self._user or here is None or there is None or place is None:
            return standing_of(self._policy, user, app, role_arn)
        if not self._meet(app, *place):
            return standing_of(self._policy, user, app, role_arn)
        denying = here.deny | there.deny
        if denying:
            return Standing(place[0], DENIED, next(self._named(denying)))
        return Standing(
            place[0],
            allowing=tuple(self._named(here.allow & there.allow)),
            on_calls=tuple(self._named(self._denies_anywhere | here.deny_calls | there.deny_calls)),
        )

    def _named(self, bits: int) -> Iterator[Role]:
        """Give the roles of some bits, in the order in which the user has them."""
        while bits:
            lowest = bits & -bits
            yield self._roles[lowest.bit_length() - 1]
            bits ^= lowest

    def _rules[R: (Allow, Deny)](self, of: Callable[[Role], R | None]) -> list[tuple[int, R]]:
        """Give the rules of one kind, each with the bit of its role."""
        found = ((1 << place, of(role)) for place, role in enumerate(self._roles))
        return [(bit, rule) for bit, rule in found if rule is not None]

    # --- each half of the rules -------------------------------------------------------

    def _bits_of_arns(self) -> dict[str, _Bits]:
        """A role that only a pattern allows is not among them: no list of all is at hand."""
        arns = sorted(
            {
                arn
                for role in self._roles
                for listed in role.spec.allow.aws_role_arns
                for arn in expand(listed, self._traits)
                if account_and_partition(arn) is not None
            }
        )
        allow, deny, deny_calls = (
            _listing([(bit, rule.aws_role_arns) for bit, rule in rules], arns, self._traits)
            for rules in (self._rules(_allow), self._rules(_deny), self._rules(_deny_calls))
        )
        return {arn: _Bits(allow[arn], deny[arn], deny_calls[arn]) for arn in arns}

    def _bits_of_apps(self) -> dict[str, _Bits]:
        allow, deny, deny_calls = (
            _selecting([(bit, rule.app_labels) for bit, rule in rules])
            for rules in (self._rules(_allow), self._rules(_deny), self._rules(_deny_calls))
        )
        found = {}
        for name, app in self._policy.apps.items():
            labels = app.labels
            found[name] = _Bits(
                *(
                    _sum(bits for one, bits in some if app_matches(one, labels, self._traits))
                    for some in (allow, deny, deny_calls)
                )
            )
        return found

    # --- both -------------------------------------------------------------------------

    def _put_together(self) -> dict[str, tuple[str, ...]]:
        """Give the ARNs of each app that has some. Apps that have the same share them."""
        by_place: defaultdict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
        for arn, bits in self._arns.items():
            if bits.deny or not bits.allow:
                continue
            account, partition = account_and_partition(arn) or ("", "")
            for place in ((account, partition), (account, ""), ("", partition), ("", "")):
                by_place[place].append((arn, bits.allow))
        known: dict[tuple[tuple[str, str], int], tuple[str, ...]] = {}
        granted = {}
        for name, here in self._apps.items():
            if here.deny or not here.allow:
                continue
            place = self._place(name)
            if (place, here.allow) not in known:
                known[place, here.allow] = tuple(
                    arn for arn, allow in by_place.get(place, ()) if allow & here.allow
                )
            if known[place, here.allow]:
                granted[name] = known[place, here.allow]
        return granted

    def _place(self, app: str) -> tuple[str, str]:
        """Give account and partition of an app; empty: it says none."""
        what = self._policy.apps[app]
        return what.labels.get(ACCOUNT_LABEL, ""), partition_of_uri(what.spec.uri)

    def _meet(self, app: str, account: str, partition: str) -> bool:
        """True if the role's account and partition are those of the app."""
        own_account, own_partition = self._place(app)
        return own_account in ("", account) and own_partition in ("", partition)


def grantable_roles(policy: Policy, user: str, app: str | None = None) -> list[tuple[str, str]]:
    """Give every (app, role ARN) that ``user`` may ask for, sorted.

    With ``app``, those of this app alone. An unknown user or app has none. A role that
    only a pattern allows is not among them: no list of all roles is at hand.
    """
    found = Grantable(policy, user)
    return list(found.pairs()) if app is None else [(app, arn) for arn in found.arns(app)]


def _allow(role: Role) -> Allow:
    return role.spec.allow


def _deny(role: Role) -> Deny | None:
    return None if role.spec.deny.about_calls else role.spec.deny


def _deny_calls(role: Role) -> Deny | None:
    return role.spec.deny if role.spec.deny.about_calls else None


def _sum(some: Iterable[int]) -> int:
    """Put bits together."""
    found = 0
    for bits in some:
        found |= bits
    return found


def _selecting(rules: Iterable[tuple[int, Selector]]) -> list[tuple[Selector, int]]:
    """Give each selector once, with the bits of all who have it. Empty ones select nothing."""
    found: dict[tuple[tuple[str, tuple[str, ...]], ...], tuple[Selector, int]] = {}
    for bit, selector in rules:
        if selector:
            about = tuple(selector.items())
            found[about] = (selector, found.get(about, (selector, 0))[1] | bit)
    return list(found.values())


def _listing(
    rules: Iterable[tuple[int, tuple[str, ...]]], arns: Sequence[str], traits: Traits
) -> dict[str, int]:
    """Give for each of some sorted ARNs the bits of those who list it."""
    found = dict.fromkeys(arns, 0)
    patterns: dict[Parts, int] = {}
    for bit, listed in rules:
        for pattern in listed:
            for parts in filled(pattern, traits):
                patterns[parts] = patterns.get(parts, 0) | bit
    for parts, bits in patterns.items():
        start, is_whole = plain_start(parts)
        if is_whole:
            if start in found:
                found[start] |= bits
            continue
        # Sorted: those with this start, an account say, stand together.
        for place in range(bisect_left(arns, start), len(arns)):
            if not arns[place].startswith(start):
                break
            if parts_match(parts, arns[place]):
                found[arns[place]] |= bits
    return found
