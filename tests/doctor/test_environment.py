"""What in a shell gets in the way of clients: one row a planted fault."""

from __future__ import annotations

import pytest

from awsgate.doctor.environment import check_shell
from awsgate.doctor.finding import Finding, Severity
from awsgate.doctor.shell import Place, Shell, same_address
from awsgate.variables import ADDED_ROOT, BUNDLES, NO_PROXY, Keys, Way, access_by_keys

PLACE = Place("127.0.0.1:8080", "/c/ca-cert.pem", "/c/ca-bundle.pem")
CANARY = "c4nary-p4ssw0rd"
HEALTHY = {
    "AWS_ACCESS_KEY_ID": "GATEABCDEFGHIJKLMNOP",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_SESSION_TOKEN": "t",
    "AWS_CREDENTIAL_EXPIRATION": "2026-11-27T18:00:00Z",
    "HTTPS_PROXY": PLACE.url,
    "https_proxy": PLACE.url,
    "NO_PROXY": NO_PROXY,
    "no_proxy": NO_PROXY,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "eu-west-1",
    **dict.fromkeys(BUNDLES, PLACE.bundle),
    ADDED_ROOT: PLACE.root_cert,
}
TRUSTED = dict.fromkeys((*BUNDLES, ADDED_ROOT), "ours")


def shell(changes: dict[str, str | None], **facts: object) -> Shell:
    environ = {k: v for k, v in {**HEALTHY, **changes}.items() if v is not None}
    return Shell(PLACE, environ, **{"trust": TRUSTED, "session": "open", **facts})  # type: ignore[arg-type]


def bad(findings: list[Finding]) -> list[Finding]:
    return [f for f in findings if f.severity is not Severity.OK]


def test_what_awsgate_env_sets_is_healthy() -> None:
    found = check_shell(shell({}))

    assert bad(found) == []
    assert [f.what for f in found] == ["gateway credentials, good until 2026-11-27 18:00 UTC"]


def test_nothing_that_awsgate_env_sets_is_amiss() -> None:
    """The two are read by each other: what one writes, the other checks."""
    way = Way(PLACE.url, PLACE.bundle, PLACE.root_cert, "eu-west-1")
    keys = Keys("GATEABCDEFGHIJKLMNOP", "x", "t", 1_800_000_000)

    made = access_by_keys(way, keys, {"NO_PROXY": "corp.example .amazonaws.com"}).applied({})

    assert bad(check_shell(Shell(PLACE, made, trust=TRUSTED, session="open"))) == []  # type: ignore[arg-type]


Row = tuple[dict[str, str | None], str, str]
PLANTED: list[Row] = [
    ({"HTTP_PROXY": PLACE.url}, "http-proxy-names-gateway", "unset HTTP_PROXY"),
    ({"http_proxy": "localhost:8080"}, "http-proxy-names-gateway", "unset http_proxy"),
    ({"ALL_PROXY": PLACE.url}, "all-proxy-names-gateway", "unset ALL_PROXY"),
    (
        {"HTTPS_PROXY": None, "https_proxy": None},
        "https-proxy-missing",
        "export HTTPS_PROXY=http://127.0.0.1:8080 https_proxy=http://127.0.0.1:8080",
    ),
    (
        {"https_proxy": f"http://u:{CANARY}@proxy:3128"},
        "https-proxy-differs",
        "https_proxy=http://127.0.0.1:8080",
    ),
    ({"https_proxy": None}, "https-proxy-one-case", "https_proxy=http://127.0.0.1:8080"),
    (
        {
            "HTTPS_PROXY": f"http://{CANARY}@other:8080",
            "https_proxy": f"http://{CANARY}@other:8080",
        },
        "https-proxy-elsewhere",
        "export HTTPS_PROXY=http://127.0.0.1:8080",
    ),
    (
        {"HTTPS_PROXY": "127.0.0.1:8080", "https_proxy": "127.0.0.1:8080"},
        "https-proxy-no-scheme",
        "export HTTPS_PROXY=http://127.0.0.1:8080",
    ),
    (
        {"NO_PROXY": f"{NO_PROXY},.amazonaws.com"},
        "no-proxy-covers-aws",
        f"export NO_PROXY={NO_PROXY}",
    ),
    ({"no_proxy": "*"}, "no-proxy-covers-aws", f"no_proxy={NO_PROXY}"),
    ({"no_proxy": f"{NO_PROXY},com"}, "no-proxy-covers-aws", f"no_proxy={NO_PROXY}"),
    (
        {"no_proxy": f"{NO_PROXY},b.s3.eu-west-1.amazonaws.com:443"},
        "no-proxy-covers-aws",
        f"no_proxy={NO_PROXY}",
    ),
    # As curl has them, and with the dot of the root.
    ({"no_proxy": "localhost .amazonaws.com"}, "no-proxy-covers-aws", f"no_proxy={NO_PROXY}"),
    (
        {"no_proxy": f"{NO_PROXY},*.amazonaws.com."},
        "no-proxy-covers-aws",
        f"no_proxy={NO_PROXY}",
    ),
    ({"no_proxy": f"{NO_PROXY},intranet"}, "no-proxy-differs", f"no_proxy={NO_PROXY}"),
    (
        {"NO_PROXY": "localhost", "no_proxy": "localhost"},
        "no-proxy-lacks-metadata",
        "169.254.169.254",
    ),
    # 169.254.170.23 is no 169.254.170.2.
    (
        dict.fromkeys(("NO_PROXY", "no_proxy"), NO_PROXY.replace("169.254.170.2,", "")),
        "no-proxy-lacks-metadata",
        "169.254.170.2,",
    ),
    ({"NO_PROXY": None, "no_proxy": None}, "no-proxy-lacks-metadata", "fd00:ec2::254"),
    ({"AWS_PROFILE": "work"}, "profile-beside-keys", "unset AWS_PROFILE"),
    ({"AWS_DEFAULT_PROFILE": "work"}, "profile-beside-keys", "unset AWS_DEFAULT_PROFILE"),
    ({"AWS_ACCESS_KEY_ID": None}, "stale-session-token", "unset AWS_SESSION_TOKEN"),
    ({"AWS_SESSION_TOKEN": None}, "session-token-missing", 'eval "$(awsgate env'),
    (
        {"AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE"},
        "real-keys",
        "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN",
    ),
    (
        {"AWS_ENDPOINT_URL_S3": f"http://u:{CANARY}@minio:9000"},
        "endpoint-url",
        "unset AWS_ENDPOINT_URL_S3",
    ),
    ({"AWS_ENDPOINT_URL": PLACE.url}, "endpoint-url", "unset AWS_ENDPOINT_URL"),
    ({"AWS_CA_BUNDLE": None}, "ca-bundle-missing", "export AWS_CA_BUNDLE=/c/ca-bundle.pem"),
    ({"SSL_CERT_FILE": None}, "ssl-cert-file-missing", "export SSL_CERT_FILE=/c/ca-bundle.pem"),
    ({"SSL_CERT_DIR": "/etc/ssl/certs"}, "ssl-cert-dir", "unset SSL_CERT_DIR"),
    (
        {"REQUESTS_CA_BUNDLE": None},
        "ca-variables-missing",
        "export REQUESTS_CA_BUNDLE=/c/ca-bundle.pem",
    ),
    ({ADDED_ROOT: None}, "node-ca-missing", f"export {ADDED_ROOT}=/c/ca-cert.pem"),
    (
        {"AWS_EC2_METADATA_DISABLED": None},
        "metadata-not-disabled",
        "export AWS_EC2_METADATA_DISABLED=true",
    ),
    ({"AWS_REGION": None}, "region-missing", "export AWS_REGION=us-east-1"),
]


@pytest.mark.parametrize(("changes", "id_", "fix"), PLANTED, ids=lambda v: str(v)[:40])
def test_a_planted_fault_is_found_alone_and_the_fix_is_named(
    changes: dict[str, str | None], id_: str, fix: str
) -> None:
    found = bad(check_shell(shell(changes)))

    assert [f.id for f in found] == [id_]
    assert fix in found[0].fix
    assert found[0].why
    assert CANARY not in str(found)


def test_a_long_term_key_with_a_token_left_over() -> None:
    found = bad(check_shell(shell({"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"})))

    assert [f.id for f in found] == ["stale-session-token", "real-keys"]
    assert found[0].fix == "unset AWS_SESSION_TOKEN"


@pytest.mark.parametrize(
    ("state", "id_"),
    [("unreadable", "ca-unreadable"), ("earlier", "ca-stale"), ("foreign", "ca-foreign")],
)
@pytest.mark.parametrize("name", [*BUNDLES, ADDED_ROOT])
def test_a_file_that_does_not_trust_the_gateway_is_named(name: str, state: str, id_: str) -> None:
    (found,) = bad(check_shell(shell({}, trust={**TRUSTED, name: state})))

    assert (found.id, found.severity) == (id_, Severity.FAULT)
    wanted = PLACE.root_cert if name == ADDED_ROOT else PLACE.bundle
    assert found.fix == f"export {name}={wanted}"


@pytest.mark.parametrize(
    ("state", "id_"), [("expired", "session-expired"), ("unknown", "keys-of-another-gateway")]
)
def test_a_session_that_does_not_open(state: str, id_: str) -> None:
    (found,) = bad(check_shell(shell({}, session=state)))

    assert found.id == id_
    assert found.fix.startswith('eval "$(awsgate env')


def test_a_shell_that_is_no_client_is_left_alone() -> None:
    """An operator's shell holds the gateway's own keys, and needs no proxy."""
    operator = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_ENDPOINT_URL": "http://x:1"}
    (found,) = check_shell(Shell(PLACE, operator))

    assert (found.id, found.severity) == ("shell-not-a-client", Severity.NOTE)


def test_the_gateway_as_endpoint_is_found_in_any_shell() -> None:
    (found,) = check_shell(Shell(PLACE, {"AWS_ENDPOINT_URL": PLACE.url}))

    assert "missing-forwarded-host" in found.why


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://127.0.0.1:8080/", True),
        ("http://user:pass@localhost:8080", True),
        ("127.0.0.1:8080", True),
        ("https://127.0.0.1:8080", True),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:8081", False),
        ("http://10.0.0.1:8080", False),
        ("", False),
    ],
)
def test_addresses(url: str, same: bool) -> None:
    assert same_address(url, "127.0.0.1:8080") is same


def test_neither_facts_nor_findings_show_a_secret() -> None:
    facts = shell({"AWS_SECRET_ACCESS_KEY": CANARY, "AWS_SESSION_TOKEN": CANARY})

    assert CANARY not in repr(facts) + repr(check_shell(facts))
