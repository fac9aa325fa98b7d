"""A gateway with a page that is worth looking at: several apps, roles, and ways to fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from awsgate.demo.embedded_aws import ACCOUNT, POWER_ROLE, READ_ONLY_ROLE, EmbeddedAws
from e2e.signin_server import SigninServer
from identity.gateway import Gateway, document, gateway_with, role
from identity.provider import CLIENT, Provider

OTHER = "555566667777"
LOCAL = "carol@example.com"
"""A user of the gateway's own."""
CONSOLE = "https://console.aws.amazon.com/"
ROWS = [
    {"claim": "groups", "value": "admins", "roles": ["power", "read", "ops", "narrow", "reports",
                                                   "lead"]},
    {"claim": "groups", "value": "staff", "roles": ["read", "engineer", "on-call"]},
]  # fmt: skip
_REQUEST = {
    # role -> what it lets ask for
    "engineer": {
        "roles": ["deployer"],
        "max_duration": "8h",
        "reason": {"mode": "required", "prompt": "which release"},
        "suggested_reviewers": ["ann@example.com"],
    },
    "on-call": {"roles": ["dba"], "max_duration": "2h"},
}


def _app(name: str, account: str, text: str, **labels: str) -> dict[str, Any]:
    made = document("app", name, {"uri": CONSOLE}, labels={"aws_account_id": account, **labels})
    made["metadata"]["description"] = text
    return made


def documents(idp: Provider, *, brief: bool = False) -> list[dict[str, Any]]:
    """Give the policy. ``brief``: logins end after seconds."""
    people = {
        **CLIENT,
        "display": "the company's account",
        "issuer_url": idp.url,
        "scope": ["openid", "email", "groups"],
        "claims_to_roles": ROWS,
        **({"login_ttl": "6s"} if brief else {}),
    }
    narrow = role("narrow", f"arn:aws:iam::{OTHER}:role/Auditor")
    narrow["spec"]["allow"] |= {"aws_access_levels": ["Read", "List"]}
    for one in (reports := role("reports", f"arn:aws:iam::{OTHER}:role/Reports"), narrow):
        one["spec"]["allow"]["app_labels"] = {"team": "finance"}
    deployer = role("deployer", POWER_ROLE)
    deployer["spec"]["allow"]["app_labels"] = {"team": "web"}
    review = {"review_requests": {"roles": ["deployer", "dba"]}}
    return [
        *(document("role", name, {"allow": {"request": one}}) for name, one in _REQUEST.items()),
        document("role", "lead", {"allow": review}),
        deployer,
        role("dba", f"arn:aws:iam::{OTHER}:role/Dba"),
        document("oidc", "corp", people),
        document("user", LOCAL, {"roles": ["read"]}),
        role("ops", READ_ONLY_ROLE, gateway_admin=True),
        narrow,
        reports,
        _app("shop", ACCOUNT, "The shop, as customers see it", env="prod", team="web"),
        _app("shop-staging", ACCOUNT, "", env="staging", team="web"),
        _app("books", OTHER, "Ledgers and invoices", env="prod", team="finance"),
    ]


@contextmanager
def gateway_with_page(
    folder: Path,
    aws: EmbeddedAws,
    idp: Provider,
    control: int,
    signin: SigninServer,
    *,
    workers: int = 0,
    brief: bool = False,
    spec: Mapping[str, Any] | None = None,
) -> Iterator[Gateway]:
    """Run it before an AWS whose sign-in endpoint is ``signin``."""
    more = {
        "upstreams": [{"hosts": ["*.signin.aws.amazon.com"], "url": signin.url}],
        **(spec or {}),
    }
    with gateway_with(
        folder, aws, documents(idp, brief=brief), control=control, workers=workers, spec=more
    ) as running:
        yield running
