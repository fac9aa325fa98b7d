"""Does a rule's condition on the AWS call hold? The two sides differ on the unknown.

An allow needs certainty: what is not known about a call fits no named value. A deny
needs only the possibility: what is not known fits every value. So neither a request
that cannot be read nor a fact that is missing opens anything. Pure and total.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from zoneinfo import ZoneInfo

from awsgate.aws.call import Call
from awsgate.policy.callfields import DAYS
from awsgate.policy.globs import Parts, action_fits, glob_matches, parts_match
from awsgate.policy.rules import CallConditions, Hours, RoleOptions
from awsgate.policy.templates import Template, Traits, parse_template


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is known of one call beside who makes it as which role."""

    call: Call
    regions: tuple[str, ...] = ()
    """Regions that it is signed for, and its endpoint's; empty: not known. One with a ``*``,
    as the region set of SigV4a may have, makes all of them unknown."""
    client: str = ""
    """Address of the caller, without port; empty: not known."""
    now: datetime | None = None
    requests: int = 0
    """Requests of the session so far, this one included."""
    bytes: int = 0
    """Bytes of bodies that the session has moved so far."""


def unmet(rules: CallConditions, facts: CallFacts, traits: Traits) -> tuple[str, ...]:
    """Give the conditions that do not surely hold, by their names. For an allow."""
    call, found = facts.call, []
    if rules.aws_actions and not _actions_allowed(rules.aws_actions, call):
        found.append("aws_actions")
    if rules.aws_resources and not _all(rules.aws_resources, call.resources, traits):
        found.append("aws_resources")
    if rules.aws_regions and not _all(rules.aws_regions, _regions(facts), traits):
        found.append("aws_regions")
    if rules.aws_services and not _all(rules.aws_services, _services(call), traits):
        found.append("aws_services")
    if rules.aws_access_levels and not set(call.access_levels) <= set(rules.aws_access_levels):
        found.append("aws_access_levels")
    if rules.source_networks and not _from_any(rules.source_networks, facts.client):
        found.append("source_networks")
    if rules.hours and not (facts.now and _within_any(rules.hours, facts.now)):
        found.append("hours")
    return tuple(found)


def over_limit(options: RoleOptions, facts: CallFacts) -> tuple[str, ...]:
    """Give the limits of a role that the session is past, by their names."""
    found = []
    if options.max_session_requests is not None and facts.requests > options.max_session_requests:
        found.append("max_session_requests")
    if options.max_session_bytes is not None and facts.bytes > options.max_session_bytes:
        found.append("max_session_bytes")
    return tuple(found)


def may_hold(rules: CallConditions, facts: CallFacts, traits: Traits) -> bool:
    """True if all conditions that are given hold, or may hold. For a deny."""
    call = facts.call
    return (
        (not rules.aws_actions or _actions_denied(rules.aws_actions, call))
        and (not rules.aws_resources or _any_resource(rules.aws_resources, call.resources, traits))
        and (not rules.aws_regions or _any(rules.aws_regions, _regions(facts), traits))
        and (
            not rules.aws_services
            or not call.actions
            or _any(rules.aws_services, _services(call), traits)
        )
        and (
            not rules.aws_access_levels
            or not call.actions
            or not set(call.access_levels).isdisjoint(rules.aws_access_levels)
        )
        and (
            not rules.source_networks
            or not facts.client
            or _from_any(rules.source_networks, facts.client)
        )
        and (not rules.hours or facts.now is None or _within_any(rules.hours, facts.now))
    )


def _actions_allowed(patterns: Sequence[str], call: Call) -> bool:
    if call.actions:
        return all(action_fits(patterns, action) for action in call.actions)
    # Not known: only a rule about all of a service, or of all services, surely fits.
    for pattern in patterns:
        service, _, name = pattern.lower().partition(":")
        if pattern == "*" or (name == "*" and glob_matches(service, call.service)):
            return True
    return False


def _actions_denied(patterns: Sequence[str], call: Call) -> bool:
    return not call.actions or any(action_fits(patterns, action) for action in call.actions)


def _services(call: Call) -> tuple[str, ...]:
    if not call.actions:
        return (call.service,)
    return tuple({action.partition(":")[0] for action in call.actions})


def _regions(facts: CallFacts) -> tuple[str, ...]:
    return facts.regions if all(map(_REGION.fullmatch, facts.regions)) else ()


_REGION = re.compile(r"[a-z0-9-]+")


def _all(patterns: Sequence[str], values: Sequence[str], traits: Traits) -> bool:
    if not values:
        return "*" in patterns
    return all(text_matches(patterns, value, traits) for value in values)


def _any(patterns: Sequence[str], values: Sequence[str], traits: Traits) -> bool:
    return not values or any(text_matches(patterns, value, traits) for value in values)


def _any_resource(patterns: Sequence[str], arns: Sequence[str], traits: Traits) -> bool:
    """As ``_any``; of an ARN whose account is not known, a pattern's may be that one."""
    if _any(patterns, arns, traits):
        return True
    unknown = [arn for arn in arns if arn.split(":", 5)[4:5] == ["*"]]
    wider = [_any_account(pattern) for pattern in patterns] if unknown else []
    return any(text_matches(wider, arn, traits) for arn in unknown)


def _any_account(pattern: str) -> str:
    plain, template, _ = pattern.partition("{{")
    parts = (f"{plain}*" if template else plain).split(":", 5)
    return ":".join([*parts[:4], *("*" for _ in parts[4:5]), *parts[5:]])


def text_matches(patterns: Iterable[str], text: str, traits: Traits) -> bool:
    """True if ``text`` matches one of the patterns. Traits are taken as they stand."""
    return any(
        parts_match(parts, text) for pattern in patterns for parts in filled(pattern, traits)
    )


def filled(pattern: str, traits: Traits) -> list[Parts]:
    """Give what a pattern stands for: itself, or one for each value of its trait."""
    template = parse_template(pattern)
    if template is None:
        return [((pattern, False),)]
    if not isinstance(template, Template):
        return []
    return [
        ((template.before, False), (value, True), (template.after, False))
        for value in template.values(traits)
    ]


def _from_any(networks: Iterable[str], client: str) -> bool:
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in _network(network) for network in networks)


@lru_cache(maxsize=1024)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)


def _within_any(windows: Iterable[Hours], now: datetime) -> bool:
    return any(_within(window, now) for window in windows)


def _within(window: Hours, now: datetime) -> bool:
    local = now.astimezone(ZoneInfo(window.timezone))
    clock = f"{local:%H:%M}"
    if window.start < window.end:
        return _on(window, local) and window.start <= clock < window.end
    # Past midnight: this evening's part, or the rest of what began yesterday.
    if clock >= window.start:
        return _on(window, local)
    return clock < window.end and _on(window, local - timedelta(days=1))


def _on(window: Hours, moment: datetime) -> bool:
    return DAYS[moment.weekday()] in window.days
