"""Machines log in with the token that their platform gave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from awsgate.connect.ways import LoginRefused
from awsgate.login import Identity
from oidcissuer import NOW, Issuer, Signer, rsa_key
from oidclogin import Connect

GATE = "https://gate.example.com"
MACHINES: dict[str, Any] = {"client_id": "", "id_tokens": {"audiences": [GATE]}}

# platform -> (claims as its documentation has them, row, user, a trait)
PLATFORMS: dict[str, tuple[dict[str, Any], dict[str, Any], str, tuple[str, tuple[str, ...]]]] = {
    "GitHub Actions": (
        {
            "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
            "repository": "octo-org/octo-repo",
            "repository_owner": "octo-org",
            "ref": "refs/heads/main",
            "event_name": "push",
            "runner_environment": "github-hosted",
            "run_attempt": "2",
        },
        {"repository": "octo-org/octo-repo", "ref": "refs/heads/main"},
        "repo:octo-org/octo-repo:ref:refs/heads/main",
        ("repository_owner", ("octo-org",)),
    ),
    "GitLab": (
        {
            "sub": "project_path:mygroup/my-project:ref_type:branch:ref:main",
            "project_path": "mygroup/my-project",
            "namespace_path": "mygroup",
            "ref_protected": "true",
            "user_identities": [{"provider": "github", "extern_uid": "2435223452345"}],
            "groups_direct": ["mygroup/mysubgroup"],
        },
        {"namespace_path": "mygroup", "ref_protected": "true"},
        "project_path:mygroup/my-project:ref_type:branch:ref:main",
        ("groups_direct", ("mygroup/mysubgroup",)),
    ),
    "Kubernetes": (
        {
            "sub": "system:serviceaccount:payments:worker",
            "aud": [GATE],
            "kubernetes.io": {
                "namespace": "payments",
                "node": {"name": "n1", "uid": "646e7c5e"},
                "serviceaccount": {"name": "worker", "uid": "a32f8d6b"},
            },
        },
        {"kubernetes.io.namespace": "pay*", "kubernetes.io.serviceaccount.name": "worker"},
        "system:serviceaccount:payments:worker",
        ("kubernetes.io.node.name", ("n1",)),
    ),
}


def machine(issuer: Issuer, **claims: object) -> str:
    issuer.person = {"sub": "job-1", "repository": "a/b"}
    return issuer.token(**{"aud": GATE, **claims})


async def prove(connect: Connect, token: str, **spec: Any) -> Identity:
    rows = [{"claim": "repository", "value": "a/*", "roles": ["deploy"]}]
    connector = connect(**{"claims_to_roles": rows, **MACHINES, **spec})
    return await connector.prove_id_token(token)


@pytest.mark.parametrize(("claims", "row", "user", "trait"), PLATFORMS.values(), ids=PLATFORMS)
async def test_a_job_has_the_role_of_its_claims(
    issuer: Issuer,
    connect: Connect,
    claims: dict[str, Any],
    row: dict[str, Any],
    user: str,
    trait: tuple[str, tuple[str, ...]],
) -> None:
    rows = [{"claims": row, "roles": ["deploy"]}]

    identity = await prove(connect, machine(issuer, **claims), claims_to_roles=rows)

    assert (identity.user, identity.roles) == (user, ("deploy",))
    assert identity.traits[trait[0]] == trait[1]
    for name in row:
        other = {"claims": {**row, name: "something else"}, "roles": ["deploy"]}
        with pytest.raises(LoginRefused) as caught:
            await prove(connect, machine(issuer, **claims), claims_to_roles=[other])
        assert caught.value.reason == "no-role"


async def test_a_token_is_good_again_and_its_login_ends_with_it(
    issuer: Issuer, connect: Connect
) -> None:
    token = machine(issuer, exp=NOW + 200)
    connector = connect(
        claims_to_roles=[{"claim": "repository", "value": "a/*", "roles": ["deploy"]}], **MACHINES
    )

    first = await connector.prove_id_token(token)

    assert await connector.prove_id_token(token) == first
    assert first.ends_at == NOW + 200
    assert "/token" not in issuer.asked


@pytest.mark.parametrize(
    ("spec", "claims", "user"),
    [
        ({}, {}, "job-1"),
        ({}, {"email": "sa@x.example", "email_verified": True}, "sa@x.example"),
        ({"username_claim": "repository"}, {}, "a/b"),
        ({"username_prefix": "ci:"}, {}, "ci:job-1"),
    ],
    ids=["subject", "service account with an address", "as the spec says", "with a prefix"],
)
async def test_a_machine_is_named(
    issuer: Issuer, connect: Connect, spec: dict[str, Any], claims: dict[str, Any], user: str
) -> None:
    assert (await prove(connect, machine(issuer, **claims), **spec)).user == user


# what is wrong -> (claims, reason)
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "for somebody else": ({"aud": "sts.amazonaws.com"}, "wrong-audience"),
    "for the client of people": ({"aud": "awsgate"}, "wrong-audience"),
    "for somebody else too": ({"aud": [GATE, "https://other"]}, "wrong-audience"),
    "for nobody": ({"aud": []}, "wrong-audience"),
    "expired": ({"exp": NOW - 61}, "expired"),
    "without an end": ({"exp": None}, "missing-claim"),
    "not yet valid": ({"nbf": NOW + 100}, "not-yet-valid"),
    "of another issuer": ({"iss": "https://evil.example.com"}, "wrong-issuer"),
    "of another repository": ({"repository": "b/a/c"}, "no-role"),
    "without a subject": ({"sub": None}, "missing-claim"),
    "with an address that nobody verified": ({"email": "root@x.example"}, "email-not-verified"),
}


@pytest.mark.parametrize(("claims", "reason"), WRONG.values(), ids=WRONG)
async def test_a_machines_token_that_is_wrong(
    issuer: Issuer, connect: Connect, claims: dict[str, Any], reason: str
) -> None:
    token = machine(issuer)
    issuer.change = claims

    with pytest.raises(LoginRefused) as caught:
        await prove(connect, issuer.token(aud=GATE))

    assert caught.value.reason == reason
    assert (await prove(connect, token)).roles == ("deploy",)


async def test_a_tampered_token_is_refused(issuer: Issuer, connect: Connect) -> None:
    head, _, signature = machine(issuer).split(".")
    _, payload, _ = machine(issuer, repository="a/other").split(".")

    with pytest.raises(LoginRefused) as caught:
        await prove(connect, f"{head}.{payload}.{signature}")

    assert caught.value.reason == "bad-signature"


async def test_a_connector_without_id_tokens_takes_none(issuer: Issuer, connect: Connect) -> None:
    with pytest.raises(LoginRefused) as caught:
        await connect().prove_id_token(machine(issuer, aud="awsgate"))

    assert caught.value.reason == "unsupported"


async def test_keys_can_be_elsewhere_and_nothing_else_is_asked_for(
    issuer: Issuer, connect: Connect
) -> None:
    """The issuer of a cluster is a name that resolves in the cluster alone."""
    inside = "https://kubernetes.default.svc.cluster.local"
    token = machine(issuer, iss=inside)

    for url in (f"{issuer.url}/keys", "http://127.0.0.1:1/keys"):
        spec = {"issuer_url": inside, "jwks_url": url}
        with pytest.raises(LoginRefused) as caught:
            await prove(connect, token, **spec)
        # An issuer of HTTPS has no keys in the clear, on this machine neither.
        assert caught.value.reason == "provider-failed"
    assert issuer.asked == []


async def test_keys_can_be_in_a_file_and_a_new_key_is_read_from_it(
    issuer: Issuer, connect: Connect, tmp_path: Path
) -> None:
    inside = "https://kubernetes.default.svc.cluster.local"
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [issuer.signer.jwk()]}))
    clock = [float(NOW)]
    rows = [{"claim": "repository", "value": "a/*", "roles": ["deploy"]}]
    spec = {**MACHINES, "issuer_url": inside, "jwks_url": file.as_uri(), "claims_to_roles": rows}
    connector = connect(clock=lambda: clock[0], **spec)

    assert (await connector.prove_id_token(machine(issuer, iss=inside))).roles == ("deploy",)
    issuer.signer = Signer("k2", rsa_key("k2"))
    file.write_text(json.dumps({"keys": [issuer.signer.jwk()]}))
    clock[0] += 11
    assert (await connector.prove_id_token(machine(issuer, iss=inside))).roles == ("deploy",)
    assert issuer.asked == []


@pytest.mark.parametrize("content", [None, "", "[]", "{", '{"keys": 1}'])
async def test_a_key_file_that_is_none_proves_nothing(
    issuer: Issuer, connect: Connect, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_text(content)

    with pytest.raises(LoginRefused) as caught:
        await prove(connect, machine(issuer), jwks_url=file.as_uri())

    assert caught.value.reason in ("provider-failed", "unknown-key")
