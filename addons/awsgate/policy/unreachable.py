"""Rules that can never match, as far as the documents alone can tell. Pure.

Only what is certain is said: a template may stand for anything, since an identity
provider can give its users any trait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import get_args

from awsgate.policy.callfields import AccessLevelName
from awsgate.policy.fields import ACCOUNT_LABEL, partition_of_uri
from awsgate.policy.globs import glob_matches
from awsgate.policy.matching import Selector, labels_match
from awsgate.policy.resources import App, Role
from awsgate.policy.rules import ABOUT_REQUESTS, Allow, Deny

EVERY_APP = "app_labels: {'*': '*'} is every app"

type Problem = tuple[str, str, str]
"""Path, what, what to do."""


def unreachable(role: Role, apps: Sequence[App]) -> Iterator[Problem]:
    """Say why the allow part of ``role`` can never allow anything, if that is so."""
    allow, path = role.spec.allow, "spec.allow"
    if not any(value for name, value in allow if name not in ABOUT_REQUESTS):
        return
    if not allow.app_labels:
        yield path, "has no app_labels, so it allows nothing", EVERY_APP
        return
    if not allow.aws_role_arns:
        yield path, "has no aws_role_arns, so it allows nothing", "list the IAM roles it is for"
        return
    fitting = [app for app in apps if may_be_labelled(allow.app_labels, app)]
    if apps and not fitting:
        yield f"{path}.app_labels", "match no app, so it allows nothing", _labels_there(allow, apps)
    elif fitting and not any(reaches(allow, app) for app in fitting):
        where = ", ".join(sorted(f"{app.metadata.name} ({_account(app)})" for app in fitting[:5]))
        what = f"no role of the list is in the account and partition of an app it is for: {where}"
        yield f"{path}.aws_role_arns", what, ""
    elif _is_shadowed(allow, role.spec.deny, fitting):
        what = "all of it is denied by the deny part of the same role, so it allows nothing"
        yield path, what, "narrow the deny, or take the allow out"


def reaches(allow: Allow, app: App) -> bool:
    """True if ``allow`` may let somebody be some role in ``app``."""
    return may_be_labelled(allow.app_labels, app) and any(
        _may_be_in(arn, app) for arn in allow.aws_role_arns
    )


def may_be_labelled(selector: Selector, app: App) -> bool:
    """True if the labels of ``app`` match, or may match by somebody's traits."""
    return labels_match(selector, app.labels, lambda *_: True)


def covers(wide: str, narrow: str) -> bool:
    """True if all that the glob ``narrow`` matches, ``wide`` surely matches too."""
    if wide in ("*", narrow):
        return True
    if "{{" in wide + narrow:
        return False
    if "*" not in narrow and "?" not in narrow:
        return glob_matches(wide, narrow)
    # The wildcards of ``narrow`` as characters that only a star of ``wide`` matches.
    return "?" not in wide and glob_matches(wide, narrow.replace("*", "\0").replace("?", "\1"))


def _labels_there(allow: Allow, apps: Iterable[App]) -> str:
    """Say which values the apps have of the labels that are asked for."""
    said = []
    for key in allow.app_labels:
        values = sorted({app.labels[key] for app in apps if key in app.labels})
        said.append(f"{key}: {', '.join(values[:8])}" if values else f"no app has {key!r}")
    return f"of the apps: {'; '.join(said)}"


def _account(app: App) -> str:
    return app.labels.get(ACCOUNT_LABEL, "any account")


def _may_be_in(arn: str, app: App) -> bool:
    """True if a role that ``arn`` stands for may be in the app's account and partition."""
    parts = arn.split(":")
    if "{{" in arn or len(parts) < 6:
        return True
    account, partition = app.labels.get(ACCOUNT_LABEL, ""), partition_of_uri(app.spec.uri)
    return (not account or glob_matches(parts[4], account)) and (
        not partition or glob_matches(parts[1], partition)
    )


def _is_shadowed(allow: Allow, deny: Deny, fitting: Sequence[App]) -> bool:
    """True if ``deny`` surely denies all that ``allow`` may allow."""
    everywhere = (
        # Apps times ARNs: if one app and one ARN are not denied, that pair is not.
        (fitting and all(_surely(deny, app) for app in fitting))
        or "*" in deny.app_labels
        or all(_covered(deny.aws_role_arns, [arn]) for arn in allow.aws_role_arns)
    )
    if not deny.about_calls:
        return bool(everywhere)
    anywhere = not (deny.app_labels or deny.aws_role_arns)
    return bool(anywhere or everywhere) and _denies_calls(allow, deny)


def _surely(deny: Deny, app: App) -> bool:
    return labels_match(deny.app_labels, app.labels, lambda *_: False)


def _denies_calls(allow: Allow, deny: Deny) -> bool:
    levels = set(deny.aws_access_levels)
    return (
        _implied(deny.aws_actions, allow.aws_actions, fold=True)
        and _implied(deny.aws_resources, allow.aws_resources)
        and _implied(deny.aws_regions, allow.aws_regions)
        and (
            _implied(deny.aws_services, allow.aws_services)
            or _implied(deny.aws_services, [a.partition(":")[0] for a in allow.aws_actions])
        )
        and (
            not levels
            or levels == set(get_args(AccessLevelName.__value__))
            or (bool(allow.aws_access_levels) and levels >= set(allow.aws_access_levels))
        )
        and (not deny.source_networks or _within(allow.source_networks, deny.source_networks))
        and (not deny.hours or (bool(allow.hours) and set(deny.hours) >= set(allow.hours)))
    )


def _implied(denied: Sequence[str], allowed: Sequence[str], *, fold: bool = False) -> bool:
    """True if a condition of the deny holds wherever that of the allow does."""
    if not denied or "*" in denied:
        return True
    if fold:
        denied, allowed = [d.lower() for d in denied], [a.lower() for a in allowed]
    return bool(allowed) and _covered(denied, allowed)


def _covered(wide: Iterable[str], narrow: Iterable[str]) -> bool:
    wide = tuple(wide)
    return all(any(covers(one, value) for one in wide) for value in narrow)


def _within(inner: Sequence[str], outer: Sequence[str]) -> bool:
    nets = [ip_network(net) for net in outer]
    return bool(inner) and all(
        any(_is_subnet(ip_network(net), wide) for wide in nets) for net in inner
    )


def _is_subnet(net: object, wide: object) -> bool:
    try:
        return bool(net.subnet_of(wide))  # type: ignore[attr-defined]
    except TypeError:  # one is of IPv4 and one of IPv6
        return False
