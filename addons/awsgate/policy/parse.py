"""Parsed documents in, one ``Policy`` out, or every fault at once.

A fault is one line: the place of the document, the path in it, what is wrong, what
was perhaps meant. The operator mends all of them in one go, so a fault in a document
hides none between documents.

Reading and YAML are the business of ``awsgate.policyfile``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from awsgate.errors import SetupError
from awsgate.policy.connectors import Connector, Github, Oidc, Saml, name_of
from awsgate.policy.fields import is_name
from awsgate.policy.handoff import handoff_faults, handoff_faults_for
from awsgate.policy.reference import leave_out_foreign
from awsgate.policy.remark import Remark
from awsgate.policy.resources import (
    App,
    Gateway,
    GatewaySpec,
    Lock,
    Policy,
    Resource,
    Role,
    User,
)
from awsgate.policy.warn import warnings_about

KINDS: Mapping[str, type[Role | User | App | Lock | Gateway | Oidc | Github | Saml]] = {
    "role": Role,
    "user": User,
    "app": App,
    "lock": Lock,
    "oidc": Oidc,
    "github": Github,
    "saml": Saml,
    "gateway": Gateway,
}

_MESSAGES = {
    "missing": "is missing",
    "tuple_type": "is not a list",
    "mapping_type": "is not a mapping of names to values",
    "model_type": "is not a mapping of names to values",
    "recursion_loop": "contains itself",
}
_TYPES = {
    "string_type": "a string: quote it",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}


def parse_policy(
    documents: Sequence[tuple[str, object]],
    *,
    faults: Sequence[str] = (),
    complete: bool = True,
    hint: str = "",
) -> Policy:
    """Build the policy of ``documents``, pairs of place and parsed content.

    ``faults`` are those found while reading. They are reported along with the ones
    found here. If the documents are not ``complete``, a name that is used and not
    there is no fault, since it may be in what could not be read. ``hint`` goes with
    the faults.

    Raises ``SetupError`` with every fault.
    """
    found = list(faults)
    resources: list[tuple[str, Resource | Connector]] = []
    notes: list[str] = []
    for place, document in documents:
        if document is None:  # an empty document: two separators in a row
            continue
        if isinstance(document, Mapping):
            document, foreign = leave_out_foreign(document)
            if foreign:
                left_out = f"not about AWS access, left out: {', '.join(foreign)}"
                notes.append(Remark(place, "", left_out))
        resource, broken = _resource(document)
        found += [Remark.of(place, fault) for fault in broken]
        if resource is not None:
            resources.append((place, resource))
    found += _duplicates(documents)
    if complete:
        found += _unknown_roles(documents)
    found += _handoff_faults(resources)
    if found:
        some = "1 fault" if len(found) == 1 else f"{len(found)} faults"
        raise SetupError(f"{some} in policy", hint=hint, faults=tuple(found))
    return _policy(resources, notes)


def _handoff_faults(placed: Sequence[tuple[str, Resource | Connector]]) -> Iterator[str]:
    """Say what AWS would refuse of the options of a role, for each user who has it."""
    roles = {r.metadata.name: (place, r) for place, r in placed if isinstance(r, Role)}
    told: set[str] = set()
    for place, role in roles.values():
        for fault in handoff_faults(role):
            told.add(f"{place}: {fault}")
            yield Remark.of(place, fault)
    for _, user in placed:
        if not isinstance(user, User):
            continue
        for place, role in filter(None, map(roles.get, user.spec.roles)):
            for fault in handoff_faults_for(role, user):
                if f"{place}: {fault}" not in told:
                    yield Remark(place, "", f"for user {user.metadata.name!r}: {fault}")


def _policy(placed: Sequence[tuple[str, Resource | Connector]], notes: Sequence[str]) -> Policy:
    resources = sorted((resource for _, resource in placed), key=lambda r: r.metadata.name)
    gateways = [r.spec for r in resources if isinstance(r, Gateway)]
    return Policy(
        gateway=gateways[0] if gateways else GatewaySpec(),
        roles=MappingProxyType({r.metadata.name: r for r in resources if isinstance(r, Role)}),
        users=MappingProxyType({r.metadata.name: r for r in resources if isinstance(r, User)}),
        apps=MappingProxyType({r.metadata.name: r for r in resources if isinstance(r, App)}),
        locks=MappingProxyType({r.metadata.name: r for r in resources if isinstance(r, Lock)}),
        connectors=MappingProxyType(
            {name_of(r): r for r in resources if isinstance(r, Oidc | Github | Saml)}
        ),
        warnings=(*notes, *warnings_about(placed)),
        places=MappingProxyType({f"{r.kind}/{r.metadata.name}": place for place, r in placed}),
    )


def _resource(document: object) -> tuple[Resource | Connector | None, list[str]]:
    if not isinstance(document, Mapping):
        return None, ["is not a resource: expected kind, version, metadata and spec"]
    kind = document.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return None, [_bad_kind(document)]
    try:
        return model.model_validate(document), []
    except ValidationError as exc:
        return None, [
            _fault(model, error["type"], error["loc"], error)
            for error in exc.errors(include_url=False)
        ]


def _bad_kind(document: Mapping[Any, Any]) -> str:
    if "kind" not in document:
        return f"kind: is missing, expected one of {', '.join(KINDS)}"
    kind = document["kind"]
    if not isinstance(kind, str):
        return f"kind: {_shown(kind)} is not one of {', '.join(KINDS)}"
    return f"kind: {kind[:80]!r} is not one of {', '.join(KINDS)}{_did_you_mean(kind, KINDS)}"


def _fault(
    model: type[BaseModel], kind: str, loc: tuple[int | str, ...], error: Mapping[str, Any]
) -> str:
    path = _path(loc)
    return (
        f"{path}: {_message(model, kind, loc, error)}"
        if path
        else _message(model, kind, loc, error)
    )


def _message(
    model: type[BaseModel], kind: str, loc: tuple[int | str, ...], error: Mapping[str, Any]
) -> str:
    if kind == "extra_forbidden":
        return _unknown_key(model, loc)
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind in _TYPES:
        return f"{_shown(error['input'])} is not {_TYPES[kind]}"
    if kind in _MESSAGES:
        return _MESSAGES[kind]
    if kind == "literal_error":
        return f"{_shown(error['input'])} is not one of {error['ctx']['expected']}"
    text = str(error["msg"])
    return f"{_shown(error['input'])}: {text[:1].lower()}{text[1:]}"


def _unknown_key(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    key = str(loc[-1])
    at = _model_at(model, loc[:-1])
    known = [field.alias or name for name, field in at.model_fields.items()]
    return f"unknown key{_did_you_mean(key, known) or ', expected ' + ', '.join(known)}"


def _model_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> type[BaseModel]:
    """Give the model that holds the key at ``loc``. Indexes and free keys stay put."""
    for part in loc:
        for name, field in model.model_fields.items():
            if part == (field.alias or name):
                model = next(_models_in(field.annotation), model)
                break
    return model


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for arg in get_args(annotation):
        yield from _models_in(arg)


def _path(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part != "[key]":  # pydantic's mark for a fault in a mapping's key
            text += f".{part[:80]}" if part.isprintable() else f".{part[:80]!r}"
    return text.removeprefix(".")


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 128:
        return "a very long number"  # repr() itself refuses thousands of digits
    if isinstance(value, str | int | float | bool | None):
        return repr(value)[:80]
    return "a list" if isinstance(value, list) else f"a {type(value).__name__}"


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {near[0]!r}" if near else ""


def _raw_name(document: object) -> tuple[str, str] | None:
    """Give kind and name of a document as they stand, valid or not."""
    if not isinstance(document, Mapping):
        return None
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    kind = document.get("kind")
    if kind == "gateway":
        return kind, ""  # there is one, whatever it is called
    return (kind, name) if isinstance(kind, str) and isinstance(name, str) else None


def _duplicates(documents: Sequence[tuple[str, object]]) -> Iterator[str]:
    first: dict[tuple[str, str], str] = {}
    for place, document in documents:
        found = _raw_name(document)
        if found is None or found[0] not in KINDS:
            continue
        if found in first:
            what = f"{found[0]} {found[1]!r}" if found[1] else "a gateway document"
            yield Remark(place, "", f"{what} is already in {first[found]}")
        first.setdefault(found, place)


def _unknown_roles(documents: Sequence[tuple[str, object]]) -> Iterator[str]:
    """Look at the documents as they stand, so that other faults of theirs hide nothing."""
    known = _role_names(documents)
    if known is None:
        return
    for place, document in documents:
        for path, role in _roles_named(document):
            if role not in known:
                near = _did_you_mean(role, sorted(known))
                yield Remark(place, path, f"there is no role {role!r}{near}")


def _role_names(documents: Sequence[tuple[str, object]]) -> set[str] | None:
    """Give the names of all that is a role, or may be meant as one; None: not to be known.

    Broken documents count: their own faults are reported, not their absence.
    """
    names: set[str] = set()
    for _, document in documents:
        if not isinstance(document, Mapping):
            continue
        kind = document.get("kind")
        if kind != "role" and isinstance(kind, str) and kind in KINDS:
            continue
        metadata = document.get("metadata")
        name = metadata.get("name") if isinstance(metadata, Mapping) else None
        if isinstance(name, str):
            names.add(name)
        elif kind == "role":
            return None
    return names


_ROWS = {"oidc": "claims_to_roles", "github": "teams_to_roles", "saml": "attributes_to_roles"}


def _roles_named(document: object) -> Iterator[tuple[str, str]]:
    """Give path and name of the roles that a user or a connector gives.

    What is no name has its own fault; one with ``$`` is made of what a provider sends.
    """
    spec = document.get("spec") if isinstance(document, Mapping) else None
    if not isinstance(document, Mapping) or not isinstance(spec, Mapping):
        return
    kind = document.get("kind")
    places: list[tuple[str, object]] = []
    if kind == "user":
        places.append(("spec.roles", spec.get("roles")))
    elif isinstance(kind, str) and kind in _ROWS:
        rows = spec.get(_ROWS[kind])
        for number, row in enumerate(rows if isinstance(rows, list) else ()):
            if isinstance(row, Mapping):
                places.append((f"spec.{_ROWS[kind]}[{number}].roles", row.get("roles")))
    for path, roles in places:
        for index, role in enumerate(roles if isinstance(roles, list) else ()):
            if isinstance(role, str) and is_name(role) and "$" not in role:
                yield f"{path}[{index}]", role
