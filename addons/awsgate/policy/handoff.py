"""What goes into AssumeRole beside role and session name, so that AWS enforces it too.

    make_handoff      session policy, session tags, source identity for one user
    handoff_faults    what AWS would refuse of them, as far as it is known beforehand

The session policy that is computed from a rule is in ``sessionpolicy``. What AWS can
refuse is refused here already, when the policy is checked; but how much space tags and
policies take packed, STS alone knows (``handoff_warnings`` estimates it).

Pure. The limits are those of ``AssumeRole`` in the STS API Reference, and of "IAM and STS
quotas" and "Pass session tags" in the IAM User Guide.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from awsgate.aws.partitions import BY_ID
from awsgate.policy.fields import is_account
from awsgate.policy.resources import Role, User
from awsgate.policy.sessionpolicy import left_to_the_gateway, rule_values, session_policy
from awsgate.policy.templates import Traits, expand

MAX_POLICY_CHARS = 2048  # of the inline policy and the ARNs together
MAX_POLICY_ARNS = 10
MAX_TAGS = 50
WARN_SHARE = 0.75

# STS packs policies and tags into a space of its own, which fills up long before the
# other limits. 9 tags of 252 characters took 498 % of it (aws-actions/configure-aws-
# credentials, issue 1898): about 450 characters of tags are all of it.
PACKED_TAG_CHARS = 450

# "upper- and lower-case alphanumeric characters ... plus _=,.@-" of sts:SourceIdentity;
# checked here, where the traits are known.
_SOURCE_IDENTITY = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_POLICY = "spec.options.aws_session_policy"
_TAG_TEXT = "letters, digits, spaces and _.:/=+-@"


@dataclass(frozen=True, slots=True)
class Handoff:
    """What goes into AssumeRole beside role and session name. Part of the cache's key."""

    policy: str = ""
    """JSON without white space; empty: none."""
    policy_arns: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    """Sorted."""
    transitive_tag_keys: tuple[str, ...] = ()
    source_identity: str = ""
    faults: tuple[str, ...] = ()
    """Why AWS would not take it. Then it is not to be sent: without what is missing, the
    session could do more than the role's options say."""


NOTHING = Handoff()


def make_handoff(role: Role, user: User, *, partition: str, enforce: bool = True) -> Handoff:
    """Give what the options of ``role`` ask for, filled in for ``user``.

    ``partition`` is that of the IAM role. Without ``enforce`` no policy is computed: what
    the gateway only reports, AWS must not refuse. Total: what cannot be made is in
    ``faults``.
    """
    return _make(role, user.spec.traits, partition, enforce=enforce)


def handoff_faults(role: Role) -> list[str]:
    """Say what AWS would refuse, whoever the user is. Templates are not filled in."""
    wanted = role.spec.options.aws_session_policy
    policy, arns = ("", ()) if wanted is None else (wanted.inline, wanted.policy_arns)
    if wanted is not None and wanted.computed and not _depends(rule_values(role)):
        policy, arns = session_policy(role, {}, _partition(role))
    return list(_faults(role, None, policy, arns))


def handoff_faults_for(role: Role, user: User) -> list[str]:
    """Say what AWS would refuse with the templates filled in for ``user``."""
    return list(make_handoff(role, user, partition=_partition(role)).faults)


def handoff_warnings(role: Role, user: User | None = None) -> list[str]:
    """Say what may fail, and what of ``computed`` holds at the gateway alone.

    Without ``user``, that it depends on him is a warning too.
    """
    options = role.spec.options
    computed = options.aws_session_policy is not None and options.aws_session_policy.computed
    values = [*options.aws_session_tags.values(), options.aws_source_identity]
    values += rule_values(role) if computed else []
    alone = left_to_the_gateway(role, _partition(role)) if computed else ()
    found = [f"{_POLICY}: {line}" for line in alone]
    if user is None and _depends(values):
        return [*found, "spec.options: what AWS is given depends on the traits of the user"]
    traits = user.spec.traits if user is not None else {}
    return found + list(_close(_make(role, traits, _partition(role))))


def _make(role: Role, traits: Traits, partition: str, *, enforce: bool = True) -> Handoff:
    options = role.spec.options
    wanted = options.aws_session_policy
    tagged = options.aws_session_tags or options.aws_transitive_tags
    if wanted is None and not tagged and not options.aws_source_identity:
        return NOTHING
    policy, arns = ("", ()) if wanted is None else (wanted.inline, wanted.policy_arns)
    if wanted is not None and wanted.computed and enforce:
        policy, arns = session_policy(role, traits, partition)
    tags = [(key, _one(value, traits)[0]) for key, value in options.aws_session_tags.items()]
    return Handoff(
        policy=policy,
        policy_arns=arns,
        tags=tuple(sorted(tags)),
        transitive_tag_keys=tuple(sorted(options.aws_transitive_tags)),
        source_identity=_one(options.aws_source_identity, traits)[0],
        faults=tuple(_faults(role, traits, policy, arns)),
    )


def _faults(role: Role, traits: Traits | None, policy: str, arns: tuple[str, ...]) -> Iterator[str]:
    options = role.spec.options
    wanted = options.aws_session_policy
    if wanted is not None and not wanted.computed:
        inline = _inline_faults(policy) if policy else ()
        yield from (f"{_POLICY}.inline: {fault}" for fault in inline)
        yield from (f"{_POLICY}.policy_arns: {fault}" for fault in _arn_faults(role, arns))
    chars = len(policy) + sum(map(len, arns))
    if chars > MAX_POLICY_CHARS:
        yield (
            f"{_POLICY}: {chars} characters, AWS takes {MAX_POLICY_CHARS}: use wildcards, fewer "
            "entries, or a managed policy by its ARN"
        )
    yield from _tag_faults(role, traits)
    text, fault = _one(options.aws_source_identity, traits)
    if text and not _SOURCE_IDENTITY.fullmatch(text):
        fault = f"{text[:80]!r} is not 2 to 64 letters, digits and _+=,.@-"
    if fault:
        yield f"spec.options.aws_source_identity: {fault}"


def _inline_faults(text: str) -> Iterator[str]:
    document = json.loads(text)
    statements = document["Statement"]
    listed = statements if isinstance(statements, list) else [statements]
    if not listed or not all(isinstance(statement, dict) for statement in listed):
        yield "Statement: is not a list of statements"
        return
    if document.get("Version") not in ("2012-10-17", "2008-10-17"):
        yield "Version: is not '2012-10-17'"
    for index, statement in enumerate(listed):
        keys = set(statement)
        if statement.get("Effect") not in ("Allow", "Deny"):
            yield f"Statement[{index}].Effect: is not Allow or Deny"
        for one in ("Action", "Resource"):
            if len(keys & {one, f"Not{one}"}) != 1:
                yield f"Statement[{index}]: needs {one} or Not{one}, and not both"
        if keys & {"Principal", "NotPrincipal"}:
            yield f"Statement[{index}]: a session policy has no Principal"


def _arn_faults(role: Role, arns: tuple[str, ...]) -> Iterator[str]:
    if len(arns) > MAX_POLICY_ARNS:
        yield f"{len(arns)} policies, AWS takes {MAX_POLICY_ARNS}"
    homes = _homes(role)
    for arn in arns:
        _, own, _, _, owner, _ = arn.split(":", 5)
        for partition, account in homes:
            elsewhere = account and owner not in ("aws", account)
            if (partition and own != partition) or elsewhere:
                yield f"{arn!r} is not where the role is ({partition or '*'}, {account or '*'})"


def _tag_faults(role: Role, traits: Traits | None) -> Iterator[str]:
    tags, where = role.spec.options.aws_session_tags, "spec.options.aws_session_tags"
    if len(tags) > MAX_TAGS:
        yield f"{where}: {len(tags)} tags, AWS takes {MAX_TAGS}"
    seen: dict[str, str] = {}
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or not _is_tag_text(key):
            yield f"{where}: {key[:80]!r} is not a tag's key: 1 to 128 {_TAG_TEXT}"
        if key.casefold().startswith("aws:"):
            yield f"{where}: {key[:80]!r}: keys that start with 'aws:' are AWS's own"
        other = seen.setdefault(key.casefold(), key)
        if other != key:
            yield f"{where}: {key!r} and {other!r} are one key to AWS"
        text, fault = _one(value, traits)
        if not fault and (len(text) > 256 or not _is_tag_text(text)):
            fault = f"{text[:80]!r} is not a tag's value: up to 256 {_TAG_TEXT}"
        if fault:
            yield f"{where}.{key[:80]}: {fault}"
    for key in role.spec.options.aws_transitive_tags:
        if key not in tags:
            yield f"spec.options.aws_transitive_tags: {key[:80]!r} is not in aws_session_tags"


def _one(value: str, traits: Traits | None) -> tuple[str, str]:
    """Give the one text that ``value`` stands for, and why there is none.

    Without ``traits`` a template stands for nothing, and that is no fault.
    """
    if "{{" not in value:
        return value, ""
    if traits is None:
        return "", ""
    found = expand(value, traits)
    if len(found) == 1:
        return found[0], ""
    return "", f"{value!r} has {len(found) or 'no'} values for this user, AWS takes one"


def _is_tag_text(text: str) -> bool:
    return all(char in "_.:/=+-@" or unicodedata.category(char)[0] in "LZN" for char in text)


def _depends(values: Iterable[str]) -> bool:
    return any("{{" in value for value in values)


def _homes(role: Role) -> list[tuple[str, str]]:
    """Give partitions and accounts of the roles that are allowed; empty: a pattern."""
    found = (arn.split(":") for arn in role.spec.allow.aws_role_arns if arn.count(":") >= 5)
    return [
        (arn[1] if arn[1] in BY_ID else "", arn[4] if is_account(arn[4]) else "") for arn in found
    ]


def _partition(role: Role) -> str:
    return next((partition for partition, _ in _homes(role) if partition), "aws")


def _close(handoff: Handoff) -> Iterator[str]:
    policy = len(handoff.policy) + sum(map(len, handoff.policy_arns))
    tags = sum(len(key) + len(value) for key, value in handoff.tags)
    if policy / MAX_POLICY_CHARS + tags / PACKED_TAG_CHARS > WARN_SHARE:
        yield (
            f"spec.options: {policy} of {MAX_POLICY_CHARS} characters of session policy and {tags} "
            f"of about {PACKED_TAG_CHARS} of tags: AWS packs both into one space, and says only "
            "when the role is assumed whether they fit"
        )
