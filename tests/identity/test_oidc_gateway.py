"""People and machines log in at the real gateway, and AWS sees who they are."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from awsgate.demo.embedded_aws import EmbeddedAws
from awsgate.demo.processes import free_port
from awsgate.session import session_name_for
from identity.browser import Browser, browsing
from identity.gateway import Gateway, Person, document, gateway_with
from identity.provider import CLIENT, Provider, log_in, provider

POWER, READ = "ExamplePowerAccess", "ExampleReadOnlyAccess"
AUDIENCE = "https://gate.example.com"
ROWS = [
    {"claim": "groups", "value": "admins", "roles": ["power"]},
    {"claim": "groups", "value": "staff", "roles": ["read"]},
]


@pytest.fixture(scope="module")
def control() -> int:
    return free_port()


@pytest.fixture(scope="module")
def idp(control: int) -> Iterator[Provider]:
    with provider(f"https://127.0.0.1:{control}/v1/callback") as running:
        yield running


@pytest.fixture(scope="module", params=[0, 2], ids=["mitmdump", "awsgate run"])
def gateway(
    request: pytest.FixtureRequest,
    aws: EmbeddedAws,
    control: int,
    idp: Provider,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    people = {
        **CLIENT,
        "issuer_url": idp.url,
        "scope": ["openid", "email", "groups"],
        "claims_to_roles": ROWS,
    }
    machines = {
        "issuer_url": idp.url,
        "username_prefix": "ci:",
        "id_tokens": {"audiences": [AUDIENCE]},
        "claims_to_roles": [
            {"claims": {"repository": "acme/app", "ref": "refs/heads/main"}, "roles": ["power"]},
            {"claim": "repository", "value": "acme/*", "roles": ["read"]},
        ],
    }
    connectors = [document("oidc", "corp", people), document("oidc", "ci", machines)]
    folder = tmp_path_factory.mktemp("gateway")
    workers: int = request.param
    with gateway_with(folder, aws, connectors, control=control, workers=workers) as running:
        yield running


type Window = Callable[[], Browser]


@pytest.fixture
def window(
    gateway: Gateway, chromedriver: httpx.Client, tmp_path: Path, opened: ExitStack
) -> Window:
    """Open a browser that trusts the gateway's certificate, and knows nothing else."""
    count = iter(range(9))

    def opening() -> Browser:
        folder = tmp_path / f"browser-{next(count)}"
        return opened.enter_context(browsing(chromedriver, folder, trusted=gateway.trusted))

    return opening


def by_browser(person: Person, browser: Browser, user: str) -> None:
    with person.logging_in("--connector", "oidc/corp", "--no-browser") as login:
        browser.go(login.url())
        log_in(browser, user)
        browser.wait_for("Logged in")
        code, _, err = login.ended()
    assert code == 0, err


def test_a_person_logs_in_and_aws_sees_who(gateway: Gateway, window: Window) -> None:
    ann, browser = gateway.person("ann"), window()
    with ann.logging_in("--connector", "oidc/corp", "--no-browser") as login:
        browser.go(login.url())
        log_in(browser, "ann")
        browser.wait_for("Logged in")
        code, out, err = login.ended()

    assert code == 0, err
    said = json.loads(out)
    assert (said["user"], said["connector"]) == ("ann@example.com", "oidc/corp")
    assert said["roles"] == ["power", "read"]
    for role in (POWER, READ):
        assert ann.whoami("--role", role).endswith(f":assumed-role/{role}/ann@example.com")
    line = gateway.logins()[-1]
    assert (line["user"], line["decision"]) == ("ann@example.com", "allowed")
    metrics = gateway.process.metrics()
    assert 'awsgate_logins_total{connector="oidc/corp",result="ok"}' in metrics


def test_two_at_the_same_time_have_each_their_own(gateway: Gateway, window: Window) -> None:
    ann, bob = gateway.person("ann-2"), gateway.person("bob-2")
    ones, others = window(), window()
    with (
        ann.logging_in("--connector", "oidc/corp", "--no-browser") as first,
        bob.logging_in("--connector", "oidc/corp", "--no-browser") as second,
    ):
        ones.go(first.url())
        others.go(second.url())
        log_in(others, "bob")
        log_in(ones, "ann")
        for login in (second, first):
            code, _, err = login.ended()
            assert code == 0, err
    before = len(gateway.process.audit())

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(person.whoami, "--role", READ) for person in (ann, bob, ann, bob)]
        names = [answer.result().rpartition("/")[2] for answer in asked]

    assert names == ["ann@example.com", "bob@example.com"] * 2
    refused = bob.python("", "--role", POWER)
    assert refused.returncode == 1, "bob is no admin"
    lines = [li for li in gateway.process.audit(at_least=before + 4) if li["event"] == "request"]
    assert {li["user"] for li in lines[-4:]} == {"ann@example.com", "bob@example.com"}
    assert len({li["session"] for li in lines[-4:]}) >= 2
    for user in ("ann@example.com", "bob@example.com"):
        assert f'user="{user}"' in gateway.process.metrics()

    mixed = bob.python(MIXED.format(other=_keys(ann)), "--role", READ, "--static")
    assert mixed.stdout.split() == ["InvalidClientTokenId"] * 2, mixed.stderr


# The token of one session with the key of another, and the other way round.
MIXED = """
import boto3, os
from botocore.exceptions import ClientError
names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
mine, other = {{n: os.environ[n.upper()] for n in names}}, {other}
for one, two in ((mine, other), (other, mine)):
    keys = {{**one, "aws_session_token": two["aws_session_token"]}}
    try:
        boto3.client("sts", **keys).get_caller_identity()
        print("passed")
    except ClientError as no:
        print(no.response["Error"]["Code"])
"""
KEYS = """
import json, os
names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
print(json.dumps({n: os.environ[n.upper()] for n in names}))
"""


def _keys(person: Person) -> dict[str, str]:
    done = person.python(KEYS, "--role", READ, "--static")
    assert done.returncode == 0, done.stderr
    keys: dict[str, str] = json.loads(done.stdout)
    return keys


def test_a_lock_and_a_logout_end_one_persons_sessions_within_a_second(
    gateway: Gateway, window: Window
) -> None:
    """Each has a client that is under way, on a connection that is open."""
    ann, bob = gateway.person("ann-3"), gateway.person("bob-3")
    by_browser(ann, window(), "ann")
    by_browser(bob, window(), "bob")

    with asking(ann) as anns, asking(bob) as bobs:
        gateway.operator(
            "lock", "add", "--user", "ann@example.com", "--ttl", "5m", "--name", "of-ann"
        )
        done = time.time()
        code, at = anns.refused()
        assert (code, at - done < 1) == ("AccessDenied", True)
        assert bobs.is_served()

        assert bob.run("logout").returncode == 0
        done = time.time()
        code, at = bobs.refused()
        assert (code, at - done < 1) == ("AccessDenied", True)
    assert bob.run("exec", "--role", READ, "--", "true").returncode == 1
    gateway.operator("lock", "rm", "of-ann")


class Asking:
    """A client of AWS that asks again and again, until it is refused."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert self._line() == "served"

    def is_served(self) -> bool:
        """True if it has been served just now."""
        return all(self._line() == "served" for _ in range(5))

    def refused(self) -> tuple[str, float]:
        """Give the code of the refusal, and when it came."""
        while (line := self._line()) == "served":
            pass
        assert line, self._process.communicate()[1]
        code, _, at = line.partition(" ")
        return code, float(at)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def asking(person: Person) -> Iterator[Asking]:
    """Run one; it ends with the block."""
    process = person.start("exec", "--role", READ, "--static", "--", sys.executable, "-c", ASK)
    try:
        yield Asking(process)
    finally:
        process.kill()
        process.communicate()


ASK = """
import boto3, time
from botocore.exceptions import ClientError
client = boto3.client("sts")
try:
    while True:
        client.get_caller_identity()
        print("served", flush=True)
        time.sleep(0.1)
except ClientError as no:
    print(no.response["Error"]["Code"], time.time(), flush=True)
"""


def test_who_has_no_browser_types_a_code_elsewhere(gateway: Gateway, window: Window) -> None:
    bob, browser = gateway.person("bob-4"), window()
    with bob.logging_in("--connector", "oidc/corp", "--device") as login:
        browser.go(login.line(r"awsgate: in any browser, open (\S+)"))
        browser.fill("[name=user_code]", login.line(r"  and type the code  (\S+)"))
        browser.click("[form='op.deviceInputForm']")
        browser.click("[form='op.deviceConfirmForm']")
        log_in(browser, "bob")
        browser.wait_for("done")
        code, out, err = login.ended()

    assert code == 0, err
    assert json.loads(out)["roles"] == ["read"]
    assert bob.whoami().endswith(f":assumed-role/{READ}/bob@example.com")


def test_who_says_no_at_the_provider_is_told_and_recorded(gateway: Gateway, window: Window) -> None:
    ann, browser = gateway.person("ann-5"), window()
    with ann.logging_in("--connector", "oidc/corp", "--no-browser") as login:
        browser.go(login.url())
        browser.click("#no")
        browser.wait_for("Not logged in")
        code, _, err = login.ended()

    assert (code, "[denied]" in err) == (1, True), err
    assert gateway.logins()[-1]["decision"] == "refused"


JOB = {"sub": "repo:acme/app:ref:refs/heads/main", "aud": AUDIENCE, "repository": "acme/app"}
MAIN = {**JOB, "ref": "refs/heads/main"}


def test_a_job_of_ci_has_exactly_its_role(gateway: Gateway, idp: Provider, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(idp.machine_token(**MAIN))
    job = gateway.person("job-6")

    done = job.log_in("--id-token-file", str(file))

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["roles"] == ["power", "read"]
    name = session_name_for(f"ci:{MAIN['sub']}")
    assert job.whoami("--role", POWER).endswith(f":assumed-role/{POWER}/{name}")
    other = gateway.person("other-6")
    other.env = {"AWSGATE_ID_TOKEN": idp.machine_token(**{**JOB, "ref": "refs/heads/x"})}
    assert json.loads(other.log_in().stdout)["roles"] == ["read"]
    assert other.python("", "--role", POWER).returncode == 1


def now() -> int:
    return int(time.time())


# what is wrong -> (claims, reason)
WRONG: dict[str, tuple[Callable[[], dict[str, object]], str]] = {
    "for somebody else": (lambda: {**MAIN, "aud": "sts.amazonaws.com"}, "wrong-audience"),
    "expired": (lambda: {**MAIN, "iat": now() - 900, "exp": now() - 600}, "expired"),
    "of another issuer": (lambda: {**MAIN, "iss": "https://evil.example.com"}, "wrong-issuer"),
    "of another repository": (lambda: {**MAIN, "repository": "evil/app"}, "no-role"),
}


@pytest.mark.parametrize(("claims", "reason"), WRONG.values(), ids=WRONG)
def test_a_job_with_a_wrong_token_is_refused_and_recorded(
    gateway: Gateway,
    idp: Provider,
    claims: Callable[[], dict[str, object]],
    reason: str,
) -> None:
    job = gateway.person("job-7")
    job.env = {"AWSGATE_ID_TOKEN": idp.machine_token(**claims())}
    before = len(gateway.logins())

    done = job.log_in("--connector", "oidc/ci")

    assert (done.returncode, f"[{reason}]" in done.stderr) == (1, True), done.stderr
    assert len(gateway.logins()) == before + 1
    assert job.env["AWSGATE_ID_TOKEN"] not in gateway.process.log.read_text("utf-8")


def test_a_tampered_and_an_unsigned_token_are_refused(gateway: Gateway, idp: Provider) -> None:
    head, payload, signature = idp.machine_token(**JOB).split(".")
    _, better, _ = idp.machine_token(**MAIN).split(".")
    job = gateway.person("job-8")
    for token, reason in (
        (f"{head}.{better}.{signature}", "bad-signature"),
        (f"{head}.{payload}.", "not-signed"),
    ):
        job.env = {"AWSGATE_ID_TOKEN": token}
        done = job.log_in("--connector", "oidc/ci")
        assert (done.returncode, f"[{reason}]" in done.stderr) == (1, True), done.stderr


def test_an_agent_stops_at_its_limits_and_reads_why(gateway: Gateway, idp: Provider) -> None:
    job = gateway.person("agent-9")
    job.env = {"AWSGATE_ID_TOKEN": idp.machine_token(**MAIN)}
    assert job.log_in().returncode == 0

    done = job.python(AGENT, "--role", POWER, "--read-only", "--max-requests", "3", "--ttl", "2m")

    assert done.stdout.startswith("listed"), done.stderr
    _, write, over = done.stdout.splitlines()
    assert write.startswith("AccessDenied"), done.stdout
    assert "reading alone" in write
    assert "as many requests as they were issued for" in over, done.stdout


AGENT = """
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
s3 = boto3.client("s3", config=Config(retries={"max_attempts": 1}))
s3.list_buckets()
print("listed")
try:
    s3.create_bucket(Bucket="made-by-an-agent")
    print("made")
except ClientError as no:
    print(no.response["Error"]["Code"], no)
try:
    for _ in range(5):
        s3.list_buckets()
    print("never stopped")
except ClientError as no:
    print(no.response["Error"]["Code"], no)
"""
