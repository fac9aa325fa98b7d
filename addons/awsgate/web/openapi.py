"""The description of the API, OpenAPI 3.1, made of the table that is served."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from awsgate.version import __version__
from awsgate.web import samlmetadata
from awsgate.web.calls import Operation
from awsgate.web.shapes import Answer, Failed

PATH = "/v1/openapi.json"
_REF = "#/components/schemas/{model}"
_INTRODUCTION = (
    "Log in, get credentials, and be locked out of an awsgate gateway. Times are epoch "
    "seconds. Whatever is 400 or more has `error` with a stable `code`. No answer may be "
    "stored; there is no CORS."
)
_BACK = (
    ("get", "/v1/callback", "callbackQuery"),
    ("post", "/v1/callback", "callbackForm"),
    ("post", "/v1/saml/acs/{name}", "samlAcs"),
)


def describe(operations: Iterable[Operation], url: str) -> dict[str, Any]:
    """Give the document; ``url`` is where the API is reached."""
    operations = tuple(operations)
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    for method, path, name in _BACK:
        paths.setdefault(path, {})[method] = _back(path, name)
    paths[samlmetadata.PATH] = {"get": _saml_metadata()}
    paths[PATH] = {
        "get": {
            "operationId": "openapi",
            "summary": "This document.",
            "responses": {"200": {"description": "The document.", "content": _json({})}},
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "awsgate", "version": __version__, "description": _INTRODUCTION},
        "servers": [{"url": url}],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "securitySchemes": {
                "login": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "gatelogin",
                    "description": "The login of /v1/login/...",
                }
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    answers = {operation.status: operation.answer, **operation.also}
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {
            **{
                str(status): {"description": _first_line(model), "content": _content(model)}
                for status, model in answers.items()
            },
            "default": {"description": "Why not.", "content": _content(Failed)},
        },
    }
    if operation.needs == "admin":
        found["description"] = "For roles with `options.gateway_admin`."
    if operation.needs:
        found["security"] = [{"login": []}]
    if operation.asked is not None:
        found["requestBody"] = {"required": True, "content": _content(operation.asked)}
    parameters = _parameters(operation.path)
    return found | ({"parameters": parameters} if parameters else {})


def _back(path: str, name: str) -> dict[str, Any]:
    parameters = _parameters(path)
    found: dict[str, Any] = {
        "operationId": name,
        "summary": "Where browsers come back from the provider.",
        "responses": {
            "303": {"description": "On to 127.0.0.1 and the port of whoever began the login."},
            "default": {
                "description": "No login waits for this.",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            },
        },
    }
    return found | ({"parameters": parameters} if parameters else {})


def _saml_metadata() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    return {
        "operationId": "samlMetadata",
        "summary": "What the identity provider of a saml connector is set up with.",
        "parameters": _parameters(samlmetadata.PATH),
        "responses": {
            "200": {"description": "XML.", "content": {samlmetadata.CONTENT_TYPE: text}},
            "default": {"description": "Why not.", "content": {"text/plain": text}},
        },
    }


def _parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return _json({"$ref": _REF.format(model=model.__name__)})


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for operation in operations:
        models: list[type[BaseModel]] = [operation.answer, *operation.also.values()]
        if operation.asked is not None:
            models.append(operation.asked)
        for model in models:
            _add(found, model)
    _add(found, Failed)
    return dict(sorted(found.items()))


def _add(found: dict[str, Any], model: type[BaseModel]) -> None:
    mode = "serialization" if issubclass(model, Answer) else "validation"
    schema = model.model_json_schema(ref_template=_REF, mode=mode)  # type: ignore[arg-type]
    found |= schema.pop("$defs", {})
    found[model.__name__] = schema


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]
