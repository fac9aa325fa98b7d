"""The cache of real credentials, and the call that fills it."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from awsgate import credentials
from awsgate.credentials import (
    AwsCredentials,
    CredentialCache,
    RoleRequest,
    StsAssumer,
    sts_region,
)
from awsgate.errors import Code, Refusal

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
START = 1_000_000.0
DENIED = Refusal(Code.ROLE_UNAVAILABLE, "no", hint="h", status=403, detail="d")
OUTAGE = Refusal(Code.ROLE_UNAVAILABLE, "later", status=503)


class FakeClock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class FakeAssumer:
    """Gives numbered credentials for an hour, or what ``failure`` says."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: list[RoleRequest] = []
        self.threads: set[str] = set()
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def assume(self, request: RoleRequest) -> AwsCredentials:
        self.calls.append(request)
        self.threads.add(threading.current_thread().name)
        assert self.open.wait(5)
        if self.failure is not None:
            raise self.failure
        number = len(self.calls)
        return AwsCredentials(f"ASIA{number}", "s3cr3t", "t0k3n", self.clock.now + 3600)


class Rig:
    """A cache with everything around it faked; ``jitter`` in the middle."""

    def __init__(self, max_size: int = 1024, jitter: float = 0.5) -> None:
        self.clock = FakeClock()
        self.sts = FakeAssumer(self.clock)
        self.results: list[str] = []
        self.seconds: list[float] = []
        self.expiries: list[tuple[str, float]] = []
        self.cache = CredentialCache(
            self.sts,
            clock=self.clock,
            max_size=max_size,
            on_result=self.results.append,
            on_sts=self.seconds.append,
            on_expiry=lambda role, at: self.expiries.append((role, at)),
            jitter=lambda: jitter,
        )

    async def settle(self) -> None:
        """Wait until no call is under way."""
        async with asyncio.timeout(5):
            await asyncio.gather(*self.cache._flights.values())


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.sts.open.set()
    made.cache.close()


# --- the cache ------------------------------------------------------------------


async def test_credentials_are_fetched_once_and_then_at_hand(rig: Rig) -> None:
    assert rig.cache.peek(READER) is None

    first = await rig.cache.get(READER)

    assert rig.cache.peek(READER) is first
    assert await rig.cache.get(READER) is first
    assert len(rig.sts.calls) == 1
    assert rig.results == ["miss", "hit", "hit"]
    assert len(rig.seconds) == 1
    assert rig.expiries == [(ROLE, START + 3600)]


CHANGES = {
    "role_arn": "arn:aws:iam::111122223333:role/writer",
    "session_name": "grace",
    "external_id": "ext-2",
    "region": "us-east-1",
    "partition": "aws-cn",
    "duration_s": 900,
    "account": "444455556666",
}


@pytest.mark.parametrize("name", [field.name for field in fields(RoleRequest)])
async def test_nobody_gets_credentials_of_a_request_that_differs(rig: Rig, name: str) -> None:
    await rig.cache.get(READER)
    other = replace(READER, **{name: CHANGES[name]})  # type: ignore[arg-type]

    assert rig.cache.peek(other) is None
    await rig.cache.get(other)

    assert rig.sts.calls == [READER, other]


async def test_fifty_who_wait_share_one_call(rig: Rig) -> None:
    rig.sts.open.clear()
    waiters = [asyncio.ensure_future(rig.cache.get(READER)) for _ in range(50)]
    await asyncio.sleep(0.01)
    rig.sts.open.set()

    found = await asyncio.gather(*waiters)

    assert {credentials.access_key_id for credentials in found} == {"ASIA1"}
    assert rig.results == ["miss"] * 50
    assert len(rig.sts.calls) == 1


async def test_fifty_who_wait_are_all_told_of_a_refusal(rig: Rig) -> None:
    rig.sts.open.clear()
    rig.sts.failure = DENIED
    waiters = [asyncio.ensure_future(rig.cache.get(READER)) for _ in range(50)]
    await asyncio.sleep(0.01)
    rig.sts.open.set()

    found = await asyncio.gather(*waiters, return_exceptions=True)

    assert {str(refusal) for refusal in found} == {"no"}
    assert len({id(refusal) for refusal in found}) == 50, "each has its own traceback"
    assert len(rig.sts.calls) == 1


async def test_one_who_goes_away_takes_nothing_from_the_others(rig: Rig) -> None:
    rig.sts.open.clear()
    leaves, stays = (asyncio.ensure_future(rig.cache.get(READER)) for _ in range(2))
    await asyncio.sleep(0.01)
    leaves.cancel()
    await asyncio.sleep(0.01)
    rig.sts.open.set()

    assert (await stays).access_key_id == "ASIA1"
    assert leaves.cancelled()


@pytest.mark.parametrize("failure", [None, DENIED])
async def test_a_call_goes_on_when_all_who_wait_go_away(
    rig: Rig, failure: Exception | None
) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    rig.sts.open.clear()
    rig.sts.failure = failure
    waiter = asyncio.ensure_future(rig.cache.get(READER))
    await asyncio.sleep(0.01)
    waiter.cancel()
    await asyncio.sleep(0.01)
    rig.sts.open.set()
    await rig.settle()

    assert (rig.cache.peek(READER) is None) == (failure is not None)
    assert not faults


async def test_sts_never_holds_up_the_event_loop(rig: Rig) -> None:
    rig.sts.open.clear()
    waiter = asyncio.ensure_future(rig.cache.get(READER))

    for _ in range(20):
        await asyncio.sleep(0.001)
    rig.sts.open.set()
    await waiter

    assert all(name.startswith("awsgate-sts") for name in rig.sts.threads)


async def test_credentials_are_renewed_while_the_old_ones_serve(rig: Rig) -> None:
    old = await rig.cache.get(READER)
    rig.clock.now = START + 2700  # three quarters of the hour
    rig.sts.open.clear()

    assert rig.cache.peek(READER) is old
    assert rig.cache.peek(READER) is old, "one renewal at a time"
    rig.sts.open.set()
    await rig.settle()

    new = rig.cache.peek(READER)
    assert new is not None
    assert new.access_key_id == "ASIA2"
    assert rig.results == ["miss", "hit", "hit", "refresh", "hit"]
    assert rig.expiries[-1] == (ROLE, START + 2700 + 3600)


@pytest.mark.parametrize(("jitter", "starts"), [(0.0, 2880), (0.5, 2700), (1.0, 2520)])
async def test_renewal_starts_in_the_last_quarter_give_or_take(jitter: float, starts: int) -> None:
    rig = Rig(jitter=jitter)
    await rig.cache.get(READER)

    rig.clock.now = START + starts - 1
    rig.cache.peek(READER)
    await rig.settle()
    assert len(rig.sts.calls) == 1

    rig.clock.now = START + starts + 1
    rig.cache.peek(READER)
    await rig.settle()
    assert len(rig.sts.calls) == 2
    rig.cache.close()


def test_the_jitter_of_production_spreads_over_its_range() -> None:
    found = [credentials._random_share() for _ in range(200)]

    assert all(0 <= share < 1 for share in found)
    assert min(found) < 0.2 < 0.8 < max(found)


@pytest.mark.parametrize("failure", [DENIED, OUTAGE])
async def test_if_renewal_fails_the_old_ones_serve_until_they_end(
    rig: Rig, failure: Refusal, caplog: pytest.LogCaptureFixture
) -> None:
    old = await rig.cache.get(READER)
    rig.sts.failure = failure
    for second in (2700, 3000, 3569):
        rig.clock.now = START + second
        assert rig.cache.peek(READER) is old
        await rig.settle()

    rig.clock.now = START + 3570  # 30 seconds before the end

    assert rig.cache.peek(READER) is None
    with pytest.raises(Refusal, match=failure.message):
        await rig.cache.get(READER)
    assert f"renewal of {ROLE} failed" in caplog.text


async def test_a_failed_renewal_is_not_tried_again_at_once(rig: Rig) -> None:
    await rig.cache.get(READER)
    rig.sts.failure = OUTAGE
    rig.clock.now = START + 2800

    for second in (0, 0.5, 1.9, 2.1):
        rig.clock.now = START + 2800 + second
        rig.cache.peek(READER)
        await rig.settle()

    assert len(rig.sts.calls) == 3, "the first call, the renewal, and one more after 2 s"


@pytest.mark.parametrize(
    ("failure", "seconds", "result"), [(DENIED, 10, "denied"), (OUTAGE, 2, "failed")]
)
async def test_a_refusal_is_remembered_for_seconds(
    rig: Rig, failure: Refusal, seconds: int, result: str
) -> None:
    rig.sts.failure = failure
    caught = []
    for second in (0.0, 0.1, seconds - 0.1):
        rig.clock.now = START + second
        with pytest.raises(Refusal) as found:
            await rig.cache.get(READER)
        caught.append(found.value)

    assert len(rig.sts.calls) == 1
    assert {(r.code, r.message, r.hint, r.status, r.detail) for r in (*caught, failure)} == {
        (failure.code, failure.message, failure.hint, failure.status, failure.detail)
    }
    assert rig.results == ["miss", result]

    rig.clock.now = START + seconds + 0.1
    rig.sts.failure = None
    assert (await rig.cache.get(READER)).access_key_id == "ASIA2"


async def test_a_fault_of_the_assumer_is_a_refusal_without_its_text(rig: Rig) -> None:
    rig.sts.failure = KeyError("s3cr3t")

    with pytest.raises(Refusal) as caught:
        await rig.cache.get(READER)

    assert (caught.value.status, caught.value.detail) == (503, "KeyError")
    assert "s3cr3t" not in caught.value.message


async def test_memory_is_bounded() -> None:
    rig = Rig(max_size=3)
    requests = [replace(READER, session_name=f"user{n}") for n in range(5)]
    for request in requests:
        await rig.cache.get(request)
    rig.sts.failure = DENIED
    for n in range(5):
        with pytest.raises(Refusal):
            await rig.cache.get(replace(READER, session_name=f"other{n}"))

    assert [rig.cache.peek(request) is not None for request in requests] == [False] * 2 + [True] * 3
    assert len(rig.cache._refused) == 3
    rig.cache.close()


async def test_after_close_nothing_new_starts_and_what_is_there_serves(rig: Rig) -> None:
    held = await rig.cache.get(READER)
    rig.cache.close()
    rig.clock.now = START + 2800

    assert rig.cache.peek(READER) is held
    with pytest.raises(Refusal, match="shutting down"):
        await rig.cache.get(replace(READER, duration_s=900))
    assert len(rig.sts.calls) == 1


async def test_close_tells_those_whose_call_had_not_started() -> None:
    clock = FakeClock()
    sts = FakeAssumer(clock)
    cache = CredentialCache(sts, clock=clock, workers=1)
    sts.open.clear()
    running = asyncio.ensure_future(cache.get(READER))
    queued = asyncio.ensure_future(cache.get(replace(READER, duration_s=900)))
    await asyncio.sleep(0.01)

    cache.close()
    sts.open.set()

    assert (await running).access_key_id == "ASIA1"
    with pytest.raises(Refusal, match="shutting down"):
        await queued


def test_repr_shows_no_secret() -> None:
    shown = repr(AwsCredentials("ASIA1", "s3cr3t", "t0k3n", 1.0))

    assert shown == "AwsCredentials(access_key_id='ASIA1', expires_at=1.0)"


# --- STS ------------------------------------------------------------------------

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


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class QuietHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, body: str, kind: str = "text/xml") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def sts() -> Iterator[StubSts]:
    stub = StubSts()

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            stub.forms.append({name: values[0] for name, values in parse_qs(body).items()})
            stub.authorizations.append(self.headers["Authorization"])
            stub.agents.append(self.headers["User-Agent"])
            self.answer(stub.status, stub.body)

    with serving(Handler) as stub.url:
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


REGIONS = {
    "the same region": ("eu-west-1", "aws", True, "eu-west-1"),
    "a region that is new": ("ap-southwest-9", "aws", True, "ap-southwest-9"),
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

    assert credentials._Base("").client(region, "").meta.endpoint_url == HOSTS[region]


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

    with serving(Handler) as url:
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
    with serving(Metadata) as url:
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
    finally:
        cache.close()
        server.stop()

    assert found.access_key_id.startswith("ASIA")
    assert abs(found.expires_at - datetime.now(UTC).timestamp() - 3600) < 60
