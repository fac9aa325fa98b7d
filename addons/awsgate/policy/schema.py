"""The JSON Schema of the policy documents, for editors that check YAML. Pure.

Made from the models, so it says what they say of shapes and names; what a value must
look like, and what holds between documents, ``awsgate check`` alone knows.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter

from awsgate.policy.connectors import Github, Oidc, Saml
from awsgate.policy.parse import KINDS
from awsgate.policy.resources import App, Gateway, Lock, Role, User

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(kind: str = "") -> dict[str, Any]:
    """Give the schema of all kinds, or of one of ``KINDS``."""
    if kind:
        model: type[BaseModel] = KINDS[kind]
        return {"$schema": DIALECT, **model.model_json_schema()}
    adapter: TypeAdapter[object] = TypeAdapter(
        Annotated[
            Role | User | App | Lock | Gateway | Oidc | Github | Saml, Field(discriminator="kind")
        ]
    )
    return {"$schema": DIALECT, **adapter.json_schema()}
