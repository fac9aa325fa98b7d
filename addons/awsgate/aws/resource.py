"""The ARNs that a request names: surely all of them, or none.

Which operations name a resource, and where, is in the table (``operations``); how an ARN
is made of it, here. A name that may stand for another thing gives nothing: an alias of a
key, an access point in the place of a bucket, a secret without its random end. So does a
request that says it twice, or in an encoding that AWS might read otherwise.
Total and pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from awsgate.aws.request import Asked
from awsgate.aws.router import CLASSIC, DOTS, Routed

MAX_JSON_BYTES = 1024 * 1024
# "Reserved suffixes": names of access points that work as bucket names.
_ALIAS = re.compile(r".+(?:-s3alias|--ol-s3|--op-s3|--x-s3|--table-s3|\.mrap)")


@dataclass(frozen=True, slots=True)
class _Name:
    """What names the resource, with what an ARN of it needs besides."""

    value: Any
    routed: Routed
    asked: Asked
    members: Mapping[str, Any]
    account: str

    def arn(self, service: str, rest: str, account: str = "") -> tuple[str, ...]:
        """Give the ARN in the endpoint's region; nothing if that has none."""
        endpoint, owner = self.asked.endpoint, account or self.account
        if not owner or not endpoint.region:
            return ()
        return (f"arn:{endpoint.partition}:{service}:{endpoint.region}:{owner}:{rest}",)

    def text(self, member: str) -> str:
        """Give another member of the body; empty: it is not there; ``:``: it is unclear."""
        if any(key.lower() == member.lower() and key != member for key in self.members):
            return ":"
        value = self.members.get(member, "")
        return value if isinstance(value, str) else ":"


def resources_of(routed: Routed, asked: Asked, account: str) -> tuple[str, ...]:
    """Give the ARNs that a request names; nothing, unless it is surely all of them."""
    wanted = routed.service.resources.get(routed.operation)
    if wanted is None or not routed.alone or routed.also:
        return ()
    in_body = any(where == "body" for where, _ in wanted.places)
    members = members_of(routed, asked) if in_body else {}
    if members is None:
        return ()
    found = None
    for where, place in wanted.places:
        value = _at(routed, asked, members, where, place.rstrip("!"))
        if value is None:
            continue
        if found is not None or place.endswith("!"):
            return ()
        found = value
    name = _Name(found, routed, asked, members, account)
    if wanted.kind in _TABLES:
        return _all_of(_TABLES[wanted.kind], name)
    if found is None:
        return ()
    if isinstance(found, list) and wanted.kind == "ssm:parameter":
        return _all_of(lambda name: name.value, name)
    return _ONE[wanted.kind](name) if isinstance(found, str) else ()


def members_of(routed: Routed, asked: Asked) -> Mapping[str, Any] | None:
    """Give the top-level members of the body; None if it can be read in two ways."""
    if asked.cbor is not None or b"content-encoding" in asked.headers or asked.body is None:
        return None
    parsed: Any
    if CLASSIC & routed.service.protocols and b"x-amz-target" not in asked.headers:
        in_body = asked.body_pairs
        if in_body is None or asked.has_semicolons:
            return None
        parsed = [*asked.query, *in_body]
    else:
        parsed = _json_pairs(asked.body) if asked.body else []
    if not isinstance(parsed, list) or any(not isinstance(pair, tuple) for pair in parsed):
        return None  # not an object
    members = dict(parsed)
    # Some of AWS's readers do not tell capitals: then one name is there twice.
    folded = {name.lower() for name in members}
    return members if len(folded) == len(parsed) else None


def _json_pairs(body: bytes) -> Any:
    if len(body) > MAX_JSON_BYTES:
        return None
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None


def _at(routed: Routed, asked: Asked, members: Mapping[str, Any], where: str, name: str) -> Any:
    """Give the value at a place; None: nothing is there; other than text: no value."""
    if where == "label":
        return routed.labels.get(name)
    if where == "query":
        values = [value for key, value in asked.query if key == name]
        return values[0] if len(values) == 1 else values or None
    if name in members:
        return members[name] if members[name] is not None else ()
    low = name.lower()
    return () if any(key.lower() == low for key in members) else None


def _all_of(list_of: Callable[[_Name], Any], name: _Name) -> tuple[str, ...]:
    """Give the ARN of each of several names; nothing, if one of them has none."""
    values = list_of(name)
    if not values:
        return ()
    kind = name.routed.service.resources[name.routed.operation].kind
    one = _ONE.get(kind, _table)
    arns: list[str] = []
    for value in values:
        found: tuple[str, ...] = ()
        if isinstance(value, str):
            found = one(replace(name, value=value))
        if not found:
            return ()
        arns += found
    return tuple(dict.fromkeys(arns))


# --- what most services share: a name, or an ARN ---


def _plain(service: str, before: str, name: str, *, named: bool = True) -> Any:
    """Give a maker of ARNs from a name, or only from an ARN, that has this form."""
    fits = re.compile(name)

    def make(given: _Name) -> tuple[str, ...]:
        value = given.value
        if value.startswith("arn:"):
            return _checked(given, service, before, fits)
        return given.arn(service, before + value) if named and fits.fullmatch(value) else ()

    return make


def _checked(given: _Name, service: str, before: str, fits: re.Pattern[str]) -> tuple[str, ...]:
    """Give an ARN as it came, if it is one of this kind at this endpoint."""
    endpoint = given.asked.endpoint
    parts = given.value.split(":", 5)
    right = (
        len(parts) == 6
        and parts[1] == endpoint.partition
        and parts[2] == service
        and parts[3] == endpoint.region != ""
        and re.fullmatch(r"\d{12}", parts[4])
        and parts[5].startswith(before)
        and fits.fullmatch(parts[5][len(before) :])
    )
    return (given.value,) if right else ()


_table = _plain("dynamodb", "table/", r"[A-Za-z0-9_.-]{1,255}")


# --- DynamoDB: requests about several tables, or about an index ---


def _indexed(name: _Name) -> Any:
    return [name.value] if isinstance(name.value, str) else None


def _batch(name: _Name) -> Any:
    # Objects are lists of pairs here, so that a name that is there twice is seen.
    items = name.members.get("RequestItems")
    if not isinstance(items, list) or not all(isinstance(pair, tuple) for pair in items):
        return None
    return [table for table, _ in items]


def _transaction(name: _Name) -> Any:
    items = name.members.get("TransactItems")
    if not isinstance(items, list):
        return None
    tables = []
    for item in items:
        if not isinstance(item, list) or len(item) != 1 or not isinstance(item[0], tuple):
            return None
        fields = item[0][1]
        if not isinstance(fields, list) or not all(isinstance(pair, tuple) for pair in fields):
            return None
        named = [value for key, value in fields if key.lower() == "tablename"]
        if len(named) != 1:
            return None
        tables += named
    return tables


_TABLES: Mapping[str, Callable[[_Name], Any]] = {
    "dynamodb:indexed": _indexed,
    "dynamodb:batch": _batch,
    "dynamodb:transaction": _transaction,
}


def _table_or_index(name: _Name) -> tuple[str, ...]:
    """An index has rules of its own; the table's name alone would open it."""
    table = _table(name)
    index = [key for key in name.members if key.lower() == "indexname"]
    if not index or not table:
        return tuple(table)
    text = name.text("IndexName")
    return (f"{table[0]}/index/{text}",) if re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", text) else ()


# --- Lambda: name, partial ARN, ARN; each with a qualifier, or that in the query ---

_FUNCTION = re.compile(
    r"(?:(?P<arn>arn:(?P<partition>[a-z-]+):lambda:(?P<region>[a-z0-9-]+):)?"
    r"(?P<account>\d{12}):)?(?P<word>function:)?"
    r"(?P<name>[A-Za-z0-9_-]{1,140})(?::(?P<qualifier>[A-Za-z0-9_$-]{1,129}))?"
)


_QUALIFIER = re.compile(r"[A-Za-z0-9_$-]{1,129}")


def _function(name: _Name) -> tuple[str, ...]:
    found, endpoint = _FUNCTION.fullmatch(name.value), name.asked.endpoint
    if found is None or (found["account"] and not found["word"]):
        return ()
    if found["arn"] and (found["partition"], found["region"]) != (
        endpoint.partition,
        endpoint.region,
    ):
        return ()
    given = [value for key, value in name.asked.query if key.lower() == "qualifier"]
    given += [text] if (text := name.text("Qualifier")) else []
    qualifiers = {*given, *filter(None, [found["qualifier"]])}
    if len(qualifiers) > 1 or not all(_QUALIFIER.fullmatch(q) for q in qualifiers):
        return ()
    rest = ":".join(["function", found["name"], *sorted(qualifiers)])
    return name.arn("lambda", rest, found["account"] or "")


# --- S3 ---


def _bucket(name: _Name) -> tuple[str, ...]:
    if name.asked.endpoint.kind != "bucket" or _ALIAS.fullmatch(name.value):
        return ()
    return (f"arn:{name.asked.endpoint.partition}:s3:::{name.value}",)


def _object(name: _Name) -> tuple[str, ...]:
    if b"+" in name.asked.path:  # a plus, or a space: SDKs write %2B and %20
        return ()
    return _with_key(name, name.routed.labels.get("Key", ""))


def _with_key(name: _Name, key: str) -> tuple[str, ...]:
    bucket = _bucket(name)
    # S3 keeps dots; whatever stands between might not.
    if not bucket or not key or not DOTS.isdisjoint(key.split("/")):
        return ()
    return (f"{bucket[0]}/{key}",)


def _objects(name: _Name) -> tuple[str, ...]:
    """The objects of DeleteObjects, which are in its body."""
    arns: list[str] = []
    for key, _ in name.asked.deletions or ():
        found = _with_key(name, key)
        if not found:
            return ()
        arns += found
    return tuple(dict.fromkeys(arns))


# --- the others ---


def _queue(name: _Name) -> tuple[str, ...]:
    """A URL names account and queue; an old client has the queue in its path as well."""
    owner, queue = name.text("QueueOwnerAWSAccountId"), name.value
    if "/" in queue:  # https://sqs.<region>.amazonaws.com/<account>/<queue>
        parts = queue.split("/")
        if len(parts) != 5 or not re.fullmatch(r"\d{12}", parts[3]):
            return ()
        owner, queue = parts[3], parts[4]
    if owner and not re.fullmatch(r"\d{12}", owner):
        return ()
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}(?:\.fifo)?", queue):
        return ()
    if name.asked.path not in (b"/", b"", f"/{owner}/{queue}".encode()):
        return ()
    return name.arn("sqs", queue, owner)


_GROUP = re.compile(r"[A-Za-z0-9_/.#-]{1,512}")


def _log_group(name: _Name) -> tuple[str, ...]:
    """Both forms that rules are written in: with and without what follows the group."""
    group = _log_group_arn(name)
    return (group, f"{group}:log-stream:") if group else ()


def _log_stream(name: _Name) -> tuple[str, ...]:
    group, stream = _log_group_arn(name), name.text("logStreamName")
    if not group or not re.fullmatch(r"[^:*\x00-\x1f]{1,512}", stream):
        return ()
    return (f"{group}:log-stream:{stream}",)


def _log_group_arn(name: _Name) -> str:
    if name.value.startswith("arn:"):
        found = _checked(name, "logs", "log-group:", _GROUP)
    else:
        found = name.arn("logs", f"log-group:{name.value}") if _GROUP.fullmatch(name.value) else ()
    return found[0] if found else ""


def _parameter(name: _Name) -> tuple[str, ...]:
    """``:3`` and ``:label`` choose a version; parameters have neither in their names."""
    value = name.value
    if value.startswith("arn:"):
        return tuple(_parameter_arn(name))
    value = value.partition(":")[0]
    if not re.fullmatch(r"[A-Za-z0-9_./-]{1,2048}", value) or value.lower().startswith("/aws/"):
        return ()  # /aws/reference/... is another service's
    return name.arn("ssm", f"parameter/{value.removeprefix('/')}")


def _repository(name: _Name) -> tuple[str, ...]:
    owner = name.text("registryId")
    if owner and not re.fullmatch(r"\d{12}", owner):
        return ()
    if not re.fullmatch(r"[a-z0-9][a-z0-9._/-]{1,255}", name.value):
        return ()
    return name.arn("ecr", f"repository/{name.value}", owner)


def _state_machine(name: _Name) -> tuple[str, ...]:
    """A version or alias is asked of the machine, and may be named in a rule itself."""
    plain = _machine(name)
    if plain or name.routed.operation not in ("StartExecution", "StartSyncExecution"):
        return tuple(plain)
    machine, _, qualifier = name.value.rpartition(":")
    bare = _machine(replace(name, value=machine))
    return (bare[0], name.value) if bare and re.fullmatch(r"[A-Za-z0-9_.-]+", qualifier) else ()


_KEY = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}"
_STATES = r"[A-Za-z0-9_+!@.()=-]{1,80}"
_EXECUTION = rf"{_STATES}:[A-Za-z0-9_-]{{1,80}}"
_machine = _plain("states", "stateMachine:", _STATES, named=False)
_parameter_arn = _plain("ssm", "parameter/", r"[A-Za-z0-9_./-]{1,2048}", named=False)

_ONE: Mapping[str, Callable[[_Name], tuple[str, ...]]] = {
    "dynamodb:table": _table,
    "dynamodb:indexed": _table_or_index,
    "ecr:repository": _repository,
    "firehose:deliverystream": _plain("firehose", "deliverystream/", r"[A-Za-z0-9_.-]{1,64}"),
    "kinesis:stream": _plain("kinesis", "stream/", r"[A-Za-z0-9_.-]{1,128}"),
    "kms:key": _plain("kms", "key/", _KEY),
    "lambda:function": _function,
    "logs:log-group": _log_group,
    "logs:log-stream": _log_stream,
    "s3:bucket": _bucket,
    "s3:object": _object,
    "s3:objects": _objects,
    "secretsmanager:secret": _plain(
        "secretsmanager", "secret:", r"[A-Za-z0-9/_+=.@!-]+-[A-Za-z0-9]{6}", named=False
    ),
    "sns:topic": _plain("sns", "", r"[A-Za-z0-9_-]{1,256}(?:\.fifo)?"),
    "sqs:queue": _queue,
    "ssm:parameter": _parameter,
    "states:activity": _plain("states", "activity:", _STATES, named=False),
    "states:execution": _plain("states", "execution:", _EXECUTION, named=False),
    "states:statemachine": _state_machine,
}  # fmt: skip
