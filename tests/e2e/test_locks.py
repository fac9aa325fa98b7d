"""Locks, on connections that stay open: refused in words, cut in midstream, let in again."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from awsgate.aws.sigv4 import SigningKeys
from e2e.held import (
    BUCKET,
    OTHER,
    POWER,
    READ,
    SOON_S,
    STREAM,
    STREAM_BYTES,
    Bench,
    Held,
    app,
    bench_in,
    cut_within,
    drained,
    in_seconds,
    is_open,
    lock_document,
    role,
    until,
    user,
)
from rawclient import Call, head, secure
from refused import CALLS, error_of

POLICY = "---\n".join(
    [
        role("power", POWER, READ),
        role("ops", OTHER),
        user("alice", "power"),
        user("bob", "power"),
        user("dave", "ops", "power"),
        app("main"),
        app("side"),
    ]
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench_in(tmp_path_factory.mktemp("locks"), {"policy.yaml": POLICY}) as made:
        yield made


# --- the next request on a connection that is open --------------------------------------

TARGETS = {
    # kind: its value, who is locked by it, who is not
    "user": ("alice", ("alice", POWER, "main"), ("bob", POWER, "main")),
    "role": ("ops", ("dave", POWER, "main"), ("bob", POWER, "main")),
    "app": ("side", ("alice", POWER, "side"), ("alice", POWER, "main")),
    "aws_role_arn": (READ, ("alice", READ, "main"), ("alice", POWER, "main")),
}


@pytest.mark.parametrize(("kind", "row"), TARGETS.items(), ids=TARGETS)
def test_a_lock_holds_the_next_request_and_no_other_caller(
    bench: Bench, kind: str, row: tuple[str, tuple[str, str, str], tuple[str, str, str]]
) -> None:
    value, (who, arn, where), (other, other_arn, other_where) = row
    with (
        bench.held(who, role_arn=arn, app=where) as held,
        bench.held(other, role_arn=other_arn, app=other_where) as free,
    ):
        assert (held.verdict(), free.verdict()) == ("200", "200")
        with bench.locked(f"by-{kind}", {kind: value}, message="talk to security"):
            assert (held.verdict(), free.verdict()) == ("locked", "200")
        assert (held.verdict(), free.verdict()) == ("200", "200")

    (line,) = bench.lines(event="lock.add", rule=f"lock/by-{kind}")
    assert (line["decision"], line["reason"]) == (
        "allowed",
        f"{kind}={value} for good: talk to security",
    )


def test_a_lock_holds_one_session_of_a_user(bench: Bench) -> None:
    with bench.held("alice") as held, bench.held("alice") as free:
        assert (held.verdict(), free.verdict()) == ("200", "200")
        with bench.locked("one-session", {"session": bench.session_of(held.keys)}):
            assert (held.verdict(), free.verdict()) == ("locked", "200")
        assert (held.verdict(), free.verdict()) == ("200", "200")


def test_all_that_a_lock_names_must_fit(bench: Bench) -> None:
    with bench.held("alice", role_arn=READ) as held, bench.held("alice") as free:
        assert (held.verdict(), free.verdict()) == ("200", "200")
        with bench.locked("both", {"user": "alice", "aws_role_arn": READ}):
            assert (held.verdict(), free.verdict()) == ("locked", "200")


def test_every_protocol_hears_of_a_lock_in_its_own_words(bench: Bench) -> None:
    keys = bench.keys("alice")
    with ExitStack() as opened:
        everyone = {name: opened.enter_context(bench.held(keys, c)) for name, c in CALLS.items()}
        # The 404 is AWS's: nobody stored that object.
        assert {held.verdict() for held in everyone.values()} == {"200", "404"}
        with bench.locked("protocols", {"user": "alice"}, message="talk to security"):
            answers = {name: held.ask() for name, held in everyone.items()}
        assert {held.verdict() for held in everyone.values()} == {"200", "404"}

    assert {(a.status, a.code) for a in answers.values()} == {(403, "locked")}
    for name, answer in answers.items():
        error = error_of(answer, name)
        said = "UnauthorizedOperation" if name == "ec2" else "AccessDenied"
        assert said in error["Code"], (name, error)
        assert error["Message"].startswith("awsgate locked: talk to security"), (name, error)


def test_a_lock_ends_by_itself(bench: Bench) -> None:
    with bench.held("alice") as held:
        assert held.verdict() == "200"
        ends = time.time() + 1.5
        with bench.taken("lock.add"):
            bench.locks.add(lock_document("brief", {"user": "alice"}, expires=in_seconds(1.5)))
        assert held.verdict() == "locked"
        assert until(lambda: held.verdict() == "200", within=ends - time.time() + 0.3)

        assert time.time() >= ends
        assert "brief" in {lock.metadata.name for lock in bench.locks.open()}, "nobody removed it"
    with bench.taken("lock.remove"):
        bench.locks.remove("brief")


def test_an_operator_locks_and_lets_in_again(bench: Bench) -> None:
    with bench.held("alice") as held:
        assert held.verdict() == "200"
        with bench.taken("lock.add"):
            added = bench.command("lock", "add", "--user", "alice", "--reason", "laptop lost")
        assert held.verdict() == "locked"
        with bench.taken("lock.remove"):
            removed = bench.command("lock", "rm", added.stdout.strip())
        assert held.verdict() == "200"

    assert (added.returncode, added.stderr, removed.returncode) == (0, "", 0)
    (line,) = bench.lines(event="lock.add", rule=f"lock/{added.stdout.strip()}")
    assert line["reason"].startswith("user=alice for good by ")
    assert line["reason"].endswith(": laptop lost")


def test_a_lock_of_the_policy_is_one_too(bench: Bench) -> None:
    file = bench.policy / "lock.yaml"
    with bench.held("alice") as held, bench.held("bob") as free:
        assert (held.verdict(), free.verdict()) == ("200", "200")
        with bench.taken("policy.reload"):
            file.write_text(json.dumps(lock_document("policys-own", {"user": "alice"})))
        assert (held.verdict(), free.verdict()) == ("locked", "200")
        with bench.taken("policy.reload"):
            file.unlink()
        assert held.verdict() == "200"


# --- what is under way ------------------------------------------------------------------


@contextmanager
def downloading(bench: Bench, who: str | SigningKeys) -> Iterator[Held]:
    """A download that is in full flow."""
    with bench.held(who, STREAM) as held:
        held.send()
        assert drained(held.wire, 5 << 20) >= 5 << 20
        yield held


def test_a_download_is_cut_and_anothers_is_not(bench: Bench) -> None:
    before = len(bench.lines(event="request", code="locked"))
    with downloading(bench, "alice") as held, downloading(bench, "bob") as free:
        with bench.locked("cut", {"user": "alice"}, message="stop"):
            assert cut_within(held.wire)
            assert drained(free.wire, 32 << 20) >= 32 << 20, "the other one goes on"
        assert until(lambda: len(bench.lines(event="request", code="locked")) > before)

    (line,) = bench.lines(event="request", code="locked")[before:]
    assert (line["user"], line["decision"], line["status"]) == ("alice", "refused", 200)
    assert line["reason"] == "cut off: stop [lock/cut]"
    assert 5 << 20 <= line["bytes_out"] < STREAM_BYTES
    with bench.held("alice") as again:
        assert again.verdict() == "200"


def test_a_lock_of_the_policy_cuts_too(bench: Bench) -> None:
    file = bench.policy / "cut.yaml"
    with downloading(bench, "alice") as held:
        with bench.taken("policy.reload"):
            file.write_text(json.dumps(lock_document("policy-cut", {"user": "alice"})))
        assert cut_within(held.wire)
        with bench.taken("policy.reload"):
            file.unlink()
    assert until(
        lambda: any("[lock/policy-cut]" in x["reason"] for x in bench.lines(code="locked"))
    )


def test_a_client_that_does_not_read_is_cut_too(bench: Bench) -> None:
    """What is written for it is dropped: to wait until it is read would be for ever."""
    with downloading(bench, "alice") as held:
        time.sleep(0.5)  # every buffer on the way is full by now
        port = held.wire.sock.getsockname()[1]
        before = len(bench.lines(event="request", code="locked"))
        assert is_open(bench.gateway.port, port)
        with bench.locked("deaf", {"user": "alice"}):
            assert until(lambda: not is_open(bench.gateway.port, port))
        assert until(lambda: len(bench.lines(event="request", code="locked")) == before + 1)


def test_a_slow_upload_is_cut_and_never_stored(bench: Bench) -> None:
    keys = bench.keys("alice")
    body = b"x" * 100_000
    call = Call("s3", BUCKET, "PUT", "/cut", body=body, sign_body=True)
    before = len(bench.lines(event="request", code="locked"))
    with secure(bench.gateway, BUCKET) as wire:
        wire.send(head("PUT", "/cut", call.signed(keys)) + body[:50_000])
        assert until(lambda: any(r.target == "/cut" for r in bench.aws.requests))
        with bench.locked("upload", {"user": "alice"}):
            assert cut_within(wire)

    assert until(lambda: len(bench.lines(event="request", code="locked")) == before + 1)
    (seen,) = [r for r in bench.aws.requests if r.target == "/cut"]
    assert until(lambda: seen.fault == "body-truncated")
    assert ("held", "cut") not in bench.aws.objects
    with bench.held(bench.keys("alice"), call) as whole:
        assert whole.verdict() == "200"
    assert ("held", "cut") in bench.aws.objects, "the same upload, not cut"


def test_a_call_whose_body_is_awaited_is_cut_and_never_forwarded(bench: Bench) -> None:
    call = CALLS["query"]
    keys, seen = bench.keys("alice"), len(bench.aws.requests)
    with secure(bench.gateway, call.host) as wire:
        wire.send(head(call.method, call.target, call.signed(keys)) + call.body[:10])
        time.sleep(0.2)
        with bench.locked("awaited", {"user": "alice"}):
            assert cut_within(wire)

    assert until(lambda: any("[lock/awaited]" in x["reason"] for x in bench.lines(code="locked")))
    assert len(bench.aws.requests) == seen


@contextmanager
def talking(bench: Bench, keys: SigningKeys) -> Iterator[ClientConnection]:
    """A WebSocket that AWS has answered on."""
    trusted = ssl.create_default_context(cafile=str(bench.gateway.certs / "ca-cert.pem"))
    url = _signed(keys, "https://transcribestreaming.us-east-1.amazonaws.com/ws", "transcribe")
    with connect(url, proxy=bench.gateway.proxy, ssl=trusted) as client:
        client.send("a text")
        assert client.recv(5) == "a text"
        yield client


def _signed(keys: SigningKeys, url: str, service: str) -> str:
    request = AWSRequest("GET", url)
    own = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    SigV4QueryAuth(own, service, "us-east-1", expires=300).add_auth(request)
    return request.url.replace("https://", "wss://")


def test_a_websocket_is_cut_and_anothers_is_not(bench: Bench) -> None:
    before = len(bench.lines(event="request", status=101))
    with (
        talking(bench, bench.keys("alice")) as client,
        talking(bench, bench.keys("bob")) as free,
    ):
        with bench.locked("socket", {"user": "alice"}):
            with pytest.raises(ConnectionClosed):
                client.recv(SOON_S)
            free.send("still here")
            assert free.recv(5) == "still here"
        assert until(lambda: len(bench.lines(event="request", status=101)) == before + 1)

    line = bench.lines(event="request", status=101)[before]
    assert (line["user"], line["code"]) == ("alice", "locked")
    assert len(bench.lines(event="websocket.open", user="alice", id=line["id"])) == 1


def test_credentials_of_the_locked_are_dropped_and_asked_for_again(bench: Bench) -> None:
    with bench.held("alice") as held, bench.held("bob") as free:
        assert (held.verdict(), free.verdict()) == ("200", "200")
        alices, bobs = bench.assumed("alice"), bench.assumed("bob")
        assert held.verdict() == "200"
        assert bench.assumed("alice") == alices > 0, "they come from memory"
        with bench.locked("forget", {"user": "alice"}):
            assert held.verdict() == "locked"
        assert (held.verdict(), free.verdict()) == ("200", "200")

    assert (bench.assumed("alice"), bench.assumed("bob")) == (alices + 1, bobs)


def test_a_lock_that_cannot_be_read_keeps_no_other_from_its_work(bench: Bench) -> None:
    broken = bench.locks.folder / "broken.json"
    with bench.held("alice") as held, bench.held("bob") as free:
        with bench.locked("broken", {"user": "bob"}):
            with bench.taken("locks.reload"):
                broken.write_text("{")
            with bench.locked("whole", {"user": "alice"}):
                assert (held.verdict(), free.verdict()) == ("locked", "locked")
            assert (held.verdict(), free.verdict()) == ("200", "locked"), "it stays so"
        assert free.verdict() == "200"

    events = [line["decision"] for line in bench.lines(event="locks.reload")]
    assert set(events[:-1]) == {"refused"}
    assert events[-1] == "allowed"
    assert bench.log().count("awsgate: locks that cannot be read stay as they were") == 1
