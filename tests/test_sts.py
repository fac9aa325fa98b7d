"""AssumeRole: what is asked of STS, what becomes of its answers, and no proxy on the way."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from awsgate import sts as sts_module
from awsgate.credentials import AwsCredentials, CredentialCache, RoleRequest
from awsgate.errors import Code, Refusal
from awsgate.policy.handoff import Handoff
from awsgate.sts import StsAssumer, sts_region
from httpserving import QuietHandler, http_server

ROLE = "arn:aws:iam::111122223333:role/reader"
READER = RoleRequest(
    role_arn=ROLE,
    session_name="ada@example.com",
    external_id="ext-1",
    region="eu-west-1",
    partition="aws",
    duration_s=3600,
    account="111122223333",
)
KEYS = {"AWS_ACCESS_KEY_ID": "AKIABASE", "AWS_SECRET_ACCESS_KEY": "b4se-s3cr3t"}
ENDS = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
GRANTED = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><Credentials><AccessKeyId>ASIAGOOD</AccessKeyId>
<SecretAccessKey>c4nary-s3cr3t</SecretAccessKey><SessionToken>c4nary-t0k3n</SessionToken>
<Expiration>{ENDS:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials></AssumeRoleResult>
</AssumeRoleResponse>"""
FAULT = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
<Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error>
<RequestId>req-1</RequestId></ErrorResponse>"""


class StubSts:
    """Answers every POST with ``status`` and ``body``; keeps what it was sent."""

    def __init__(self) -> None:
        self.status, self.body = 200, GRANTED
        self.forms: list[dict[str, str]] = []
        self.authorizations: list[str] = []
        self.agents: list[str] = []
        self.url = ""


@pytest.fixture
def sts() -> Iterator[StubSts]:
    stub = StubSts()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            stub.forms.append(
                {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
            )
            stub.authorizations.append(self.headers["Authorization"])
            stub.agents.append(self.headers["User-Agent"])
            self.answer(stub.status, stub.body, "text/xml")

    with http_server(Handler) as stub.url:
        yield stub


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment without AWS settings; gives the shared credentials file."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path / "credentials"


@pytest.fixture
def base_keys(monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    shared.unlink(missing_ok=True)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def refusal_of(assumer: StsAssumer, request: RoleRequest = READER) -> Refusal:
    with pytest.raises(Refusal) as caught:
        assumer.assume(request)
    assert caught.value.code is Code.ROLE_UNAVAILABLE
    return caught.value


@pytest.mark.usefixtures("base_keys")
def test_assume_role_is_called_as_requested(sts: StubSts) -> None:
    found = StsAssumer(sts.url).assume(READER)

    assert found == AwsCredentials("ASIAGOOD", "c4nary-s3cr3t", "c4nary-t0k3n", ENDS.timestamp())
    assert sts.forms == [
        {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleArn": ROLE,
            "RoleSessionName": "ada@example.com",
            "ExternalId": "ext-1",
            "DurationSeconds": "3600",
        }
    ]
    assert "Credential=AKIABASE/" in sts.authorizations[0]
    assert "/eu-west-1/sts/aws4_request" in sts.authorizations[0]
    assert " awsgate/" in sts.agents[0]


@pytest.mark.usefixtures("base_keys")
def test_an_empty_external_id_is_not_sent(sts: StubSts) -> None:
    StsAssumer(sts.url).assume(replace(READER, external_id=""))

    assert "ExternalId" not in sts.forms[0]


HANDED_ON = Handoff(
    policy='{"Version":"2012-10-17","Statement":[]}',
    policy_arns=("arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::111122223333:policy/p"),
    tags=(("env", ""), ("team", "blue")),
    transitive_tag_keys=("team",),
    source_identity="ada@example.com",
)


@pytest.mark.usefixtures("base_keys")
def test_what_is_handed_on_goes_into_the_call(sts: StubSts) -> None:
    StsAssumer(sts.url).assume(READER)
    StsAssumer(sts.url).assume(replace(READER, handoff=HANDED_ON))

    without, with_it = sts.forms
    assert with_it == without | {
        "Policy": HANDED_ON.policy,
        "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
        "PolicyArns.member.2.arn": "arn:aws:iam::111122223333:policy/p",
        "Tags.member.1.Key": "env",
        "Tags.member.1.Value": "",
        "Tags.member.2.Key": "team",
        "Tags.member.2.Value": "blue",
        "TransitiveTagKeys.member.1": "team",
        "SourceIdentity": "ada@example.com",
    }


@pytest.mark.usefixtures("base_keys")
def test_a_handoff_with_faults_is_not_assumed_without_what_is_missing(sts: StubSts) -> None:
    handoff = Handoff(faults=("tags.team: '{{internal.t}}' has no values", "more"))

    refusal = refusal_of(StsAssumer(sts.url), replace(READER, handoff=handoff))

    assert refusal.status == 403
    assert ROLE in refusal.message
    assert "awsgate check" in refusal.hint
    assert refusal.detail == "tags.team: '{{internal.t}}' has no values; more"
    assert "internal.t" not in refusal.message + refusal.hint
    assert not sts.forms


REGIONS = {
    "the same region": ("eu-west-1", "aws", True, "eu-west-1"),
    "a region that a caller made up": ("ap-southwest-9", "aws", True, "us-east-1"),
    "no region": ("", "aws", True, "us-east-1"),
    "a pseudo region": ("aws-global", "aws", True, "us-east-1"),
    "a region of another partition": ("cn-north-1", "aws", True, "us-east-1"),
    "china": ("cn-north-1", "aws-cn", True, "cn-north-1"),
    "govcloud pseudo region": ("aws-us-gov-global", "aws-us-gov", True, "us-gov-west-1"),
    "not regional": ("eu-west-1", "aws", False, "us-east-1"),
    "not a region at all": ("a.evil.example/", "aws", True, "us-east-1"),
}


@pytest.mark.parametrize(
    ("region", "partition", "regional", "expected"), REGIONS.values(), ids=REGIONS
)
def test_sts_is_asked_in_the_region_of_the_target(
    region: str, partition: str, regional: bool, expected: str
) -> None:
    assert sts_region(region, partition, regional=regional) == expected


HOSTS = {
    "us-east-1": "https://sts.us-east-1.amazonaws.com",
    "eu-west-1": "https://sts.eu-west-1.amazonaws.com",
    "cn-north-1": "https://sts.cn-north-1.amazonaws.com.cn",
    "us-gov-west-1": "https://sts.us-gov-west-1.amazonaws.com",
    "eusc-de-east-1": "https://sts.eusc-de-east-1.amazonaws.eu",
}


@pytest.mark.usefixtures("base_keys")
@pytest.mark.parametrize("region", HOSTS)
def test_the_endpoint_is_regional_and_of_no_other_setting(
    region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9")

    assert sts_module._Base("").client(region, "").meta.endpoint_url == HOSTS[region]


OWN = "AWS does not accept awsgate's own credentials"
FAULTS = {
    "not trusted": (403, "AccessDenied", 403, "AWS does not let awsgate assume", "trust policy"),
    "too long": (400, "ValidationError", 403, "AWS does not let awsgate assume", "one hour"),
    "region off": (403, "RegionDisabledException", 403, "AWS does not let", "sts.regional"),
    "unheard of": (400, "SomethingNew", 403, "(SomethingNew)", "operator"),
    "own key unknown": (403, "InvalidClientTokenId", 503, OWN, "operator"),
    "own key wrong": (403, "SignatureDoesNotMatch", 503, OWN, "operator"),
    "own token old": (403, "ExpiredToken", 503, OWN, "operator"),
    "throttled": (400, "Throttling", 503, "STS answered Throttling", "try again"),
    "out of order": (500, "InternalFailure", 503, "STS answered InternalFailure", "try again"),
}


@pytest.mark.usefixtures("base_keys")
@pytest.mark.parametrize(
    ("status", "code", "refused_with", "message", "hint"), FAULTS.values(), ids=FAULTS
)
def test_what_sts_says_becomes_a_refusal(
    sts: StubSts, status: int, code: str, refused_with: int, message: str, hint: str
) -> None:
    sts.status, sts.body = status, FAULT.format(code, "x-amz-security-token:c4nary")

    refusal = refusal_of(StsAssumer(sts.url))

    assert refusal.status == refused_with
    assert message in refusal.message
    assert ROLE in refusal.message
    assert hint in refusal.hint
    assert refusal.detail.startswith(f"{code}, request id req-1")
    # A signature error quotes the request it was computed from, token included.
    assert ("c4nary" in refusal.detail) == (code == "AccessDenied")
    assert "c4nary" not in refusal.message + refusal.hint
    assert "ext-1" not in refusal.message + refusal.hint
    assert refusal.__suppress_context__


USER = "User: arn:aws:iam::444455556666:user/gateway is not authorized to perform: "
# The messages are AWS's, as quoted in issues of aws-actions/configure-aws-credentials.
OF_HANDOFFS = {
    "tags too large": (
        400,
        "PackedPolicyTooLarge",
        "Packed size of session tags consumes 142% of allotted space.",
        "(PackedPolicyTooLarge: 142 % of the space for session policy and tags)",
        "shorter or fewer options.aws_session_tags",
    ),
    "policy too large": (
        400,
        "PackedPolicyTooLarge",
        "Packed policy consumes 101% of allotted space, please use smaller policy.",
        "(PackedPolicyTooLarge: 101 % of the space for session policy and tags)",
        "a shorter options.aws_session_policy",
    ),
    "too large by an unknown share": (
        400,
        "PackedPolicyTooLarge",
        "c4nary",
        "(PackedPolicyTooLarge)",
        "cut down",
    ),
    "tags not trusted": (
        403,
        "AccessDenied",
        f"{USER}sts:TagSession on resource: {ROLE}",
        "(AccessDenied: sts:TagSession)",
        "hands on options.aws_session_tags: the role's trust policy, and that of awsgate's own "
        "identity, must allow sts:TagSession",
    ),
    "source identity not trusted": (
        403,
        "AccessDenied",
        f"{USER}sts:SetSourceIdentity on resource: {ROLE}",
        "(AccessDenied: sts:SetSourceIdentity)",
        "must allow sts:SetSourceIdentity beside sts:AssumeRole",
    ),
    "role not trusted": (
        403,
        "AccessDenied",
        f"{USER}sts:AssumeRole on resource: {ROLE}",
        "(AccessDenied)",
        "the role's trust policy must let awsgate's own identity call sts:AssumeRole",
    ),
    "no policy": (
        400,
        "MalformedPolicyDocument",
        "c4nary",
        "(MalformedPolicyDocument)",
        "see options.aws_session_policy",
    ),
    "tags that are there already": (
        400,
        "InvalidParameterValue",
        "c4nary",
        "(InvalidParameterValue)",
        "transitive tags",
    ),
}


@pytest.mark.usefixtures("base_keys")
@pytest.mark.parametrize(
    ("status", "code", "said", "message", "hint"), OF_HANDOFFS.values(), ids=OF_HANDOFFS
)
def test_what_sts_says_of_the_handoff_names_the_role_and_what_to_change(
    sts: StubSts, status: int, code: str, said: str, message: str, hint: str
) -> None:
    sts.status, sts.body = status, FAULT.format(code, said)

    refusal = refusal_of(StsAssumer(sts.url), replace(READER, handoff=HANDED_ON))

    assert refusal.status == 403
    assert ROLE in refusal.message
    assert message in refusal.message
    assert hint in refusal.hint
    assert "user/gateway" not in refusal.message + refusal.hint
    assert "c4nary" not in refusal.message + refusal.hint + refusal.detail


@pytest.mark.usefixtures("base_keys")
def test_no_answer_is_an_outage() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        refusal = refusal_of(StsAssumer(f"http://127.0.0.1:{unused.getsockname()[1]}"))

    assert refusal.status == 503
    assert refusal.detail == "EndpointConnectionError"


def test_without_credentials_the_operator_is_told_and_may_add_them(
    sts: StubSts, shared: Path
) -> None:
    assumer = StsAssumer(sts.url)
    refusal = refusal_of(assumer)

    assert refusal.status == 503
    assert refusal.message == "awsgate has no AWS credentials of its own"
    assert refusal.detail.startswith("NoCredentialsError: botocore's default chain gives none")
    assert not sts.forms

    shared.write_text("[default]\naws_access_key_id=AKIALATE\naws_secret_access_key=s\n")
    assumer.assume(READER)
    assert "Credential=AKIALATE/" in sts.authorizations[0]


def test_credentials_that_aws_rejects_are_read_again(sts: StubSts, shared: Path) -> None:
    shared.write_text("[default]\naws_access_key_id=AKIAOLD\naws_secret_access_key=s\n")
    assumer = StsAssumer(sts.url)
    sts.status, sts.body = 403, FAULT.format("ExpiredToken", "expired")
    refusal_of(assumer)

    shared.write_text("[default]\naws_access_key_id=AKIANEW\naws_secret_access_key=s\n")
    sts.status, sts.body = 200, GRANTED
    assumer.assume(READER)

    assert "Credential=AKIANEW/" in sts.authorizations[-1]


@pytest.mark.usefixtures("base_keys")
def test_an_account_may_have_a_profile_of_its_own(sts: StubSts, shared: Path) -> None:
    shared.write_text("[second]\naws_access_key_id=AKIASECOND\naws_secret_access_key=s\n")
    assumer = StsAssumer(sts.url, True, {"444455556666": "second"})

    assumer.assume(READER)
    assumer.assume(replace(READER, account="444455556666"))

    used = [value.partition("Credential=")[2].partition("/")[0] for value in sts.authorizations]
    assert used == ["AKIABASE", "AKIASECOND"]


@pytest.mark.usefixtures("base_keys")
def test_a_profile_that_is_not_there_is_named_to_the_operator_alone(sts: StubSts) -> None:
    refusal = refusal_of(StsAssumer(sts.url, True, {READER.account: "nowhere"}))

    assert refusal.detail.startswith("ProfileNotFound: profile 'nowhere' gives none")
    assert "nowhere" not in refusal.message + refusal.hint
    assert not sts.forms, "the default chain is not used in its stead"


@pytest.mark.usefixtures("base_keys")
def test_gateway_credentials_are_no_base(sts: StubSts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "GATEAAAAAAAAAAAAAAAA")

    refusal = refusal_of(StsAssumer(sts.url))

    assert "awsgate's own environment holds gateway credentials" in refusal.detail
    assert not sts.forms


@pytest.mark.usefixtures("base_keys")
def test_no_log_shows_a_secret_even_at_debug(
    sts: StubSts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    StsAssumer(sts.url).assume(READER)

    for secret in ("c4nary", "b4se-s3cr3t", "Signature="):
        assert secret not in caplog.text


# --- proxies --------------------------------------------------------------------


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """The gateway as a proxy in its own environment; gives the number of its callers."""
    callers = []

    class Handler(QuietHandler):
        def handle(self) -> None:
            callers.append(self.client_address)

    with http_server(Handler) as url:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, url)
        yield lambda: len(callers)


@pytest.fixture
def dead_url() -> Iterator[str]:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{unused.getsockname()[1]}"


@pytest.mark.usefixtures("base_keys")
def test_sts_is_not_asked_through_a_proxy(
    sts: StubSts, proxy: Callable[[], int], dead_url: str
) -> None:
    StsAssumer(sts.url).assume(READER)
    refusal_of(StsAssumer(dead_url))

    assert proxy() == 0


@pytest.mark.usefixtures("base_keys")
def test_botocore_left_alone_would_use_the_proxy(proxy: Callable[[], int], dead_url: str) -> None:
    """Without this the test above would prove nothing."""
    client: Any = botocore.session.Session().create_client(
        "sts",
        region_name="eu-west-1",
        endpoint_url=dead_url,
        config=Config(retries={"total_max_attempts": 1}),
    )

    with pytest.raises(BotoCoreError):
        client.get_caller_identity()
    assert proxy() > 0


@pytest.mark.usefixtures("shared")
def test_the_metadata_service_is_not_asked_through_a_proxy(
    sts: StubSts, proxy: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {
        "Code": "Success",
        "AccessKeyId": "ASIAHOST",
        "SecretAccessKey": "s",
        "Token": "t",
        "Expiration": f"{ENDS:%Y-%m-%dT%H:%M:%SZ}",
    }

    class Metadata(QuietHandler):
        def do_PUT(self) -> None:
            self.answer(200, "imds-token", "text/plain")

        def do_GET(self) -> None:
            named = self.path.endswith("/gateway-role")
            self.answer(200, json.dumps(found) if named else "gateway-role", "text/plain")

    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with http_server(Metadata) as url:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        StsAssumer(sts.url).assume(READER)

    assert "Credential=ASIAHOST/" in sts.authorizations[0]
    assert proxy() == 0


# --- against an STS that is not ours -----------------------------------------------


@pytest.mark.usefixtures("base_keys")
async def test_cache_and_assumer_work_with_moto() -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    cache = CredentialCache(StsAssumer(f"http://{host}:{port}"))
    try:
        found = await cache.get(READER)
        handed_on = await cache.get(replace(READER, handoff=HANDED_ON))
    finally:
        cache.close()
        server.stop()

    assert found.access_key_id.startswith("ASIA")
    assert handed_on.access_key_id not in ("", found.access_key_id)
    assert abs(found.expires_at - datetime.now(UTC).timestamp() - 3600) < 60


def test_the_profile_of_all_other_accounts_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile own]\naws_access_key_id = AKIAOWN\naws_secret_access_key = x\n", "utf-8"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    assert StsAssumer("", True, {"*": "own"}).missing() == []
    (missing,) = StsAssumer("", True, {"*": "nobody"}).missing()
    assert "profile 'nobody' gives none" in missing
    (default,) = StsAssumer("", True, {"123456789012": "own"}).missing()
    assert "default chain gives none" in default


# --- role chaining ------------------------------------------------------------------------


@pytest.mark.usefixtures("base_keys")
def test_keys_of_an_iam_user_are_no_chain() -> None:
    assert not StsAssumer("http://127.0.0.1:1").chains("111122223333")


@pytest.mark.usefixtures("base_keys")
def test_temporary_keys_make_aws_chain_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "t0k3n")

    assert StsAssumer("http://127.0.0.1:1").chains("111122223333")


def test_each_account_has_its_own_answer(shared: Path) -> None:
    shared.write_text(
        "[long]\naws_access_key_id=AKIAX\naws_secret_access_key=s\n"
        "[short]\naws_access_key_id=ASIAX\naws_secret_access_key=s\naws_session_token=t\n"
    )
    assumer = StsAssumer(base_credentials={"111122223333": "long", "*": "short"})

    assert not assumer.chains("111122223333")
    assert assumer.chains("999999999999")


@pytest.mark.usefixtures("shared")
def test_without_keys_there_is_nothing_to_chain() -> None:
    assert not StsAssumer().chains("111122223333")
