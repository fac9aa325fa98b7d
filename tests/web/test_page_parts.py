"""The parts of the page that need no browser: the end of the log, figures, words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import yaml

from awsgate.audit import AuditLog, AuditRecord, Rotation
from awsgate.metrics import Metrics
from awsgate.web.page import guard
from awsgate.web.page.figures import MAX_BARS, bars, read
from awsgate.web.page.rendering import text_of
from awsgate.web.page.tail import Follower, Record, last, of_user
from samlforge import document
from web.believing import POLICY
from web.paging import Browser, signed_in, words_of
from web.served import Served

REQUESTS = frozenset({"request"})


def write(path: Path, *ids: str, user: str = "alice", rotate: int = 0) -> None:
    log = AuditLog(path, Rotation(rotate))
    for one in ids:
        log.write(AuditRecord(time="2026-11-27T10:15:30.123Z", id=one, event="request", user=user))
    log.close()


def ids(lines: list[bytes], user: str = "alice") -> list[str]:
    found = [of_user(user, REQUESTS)(line) for line in lines]
    return [record["id"] for record in found if record is not None]


def test_a_follower_gives_what_comes_and_goes_on_over_rotations(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, "before")
    follower = Follower(path)
    seen = []
    write(path, "1", "2")
    seen.append(ids(follower.more()))
    write(path, "3")
    path.rename(tmp_path / "audit.jsonl.1")
    write(path, "4")
    seen.append(ids(follower.more()))
    write(path, "5", rotate=1)
    write(path, "6", rotate=1)
    seen.append(ids(follower.more()))
    follower.close()
    write(path, "7")

    assert seen[:2] == [["1", "2"], ["3", "4"]]
    assert seen[2][-1] == "6"
    assert follower.more() == []


def test_a_follower_waits_for_the_end_of_a_line_and_for_the_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    follower = Follower(path)
    assert follower.more() == []
    path.write_bytes(b'{"half":')
    assert follower.more() == []
    with path.open("ab") as file:
        file.write(b"1}\n")
    assert follower.more() == [b'{"half":1}']
    follower.close()


@pytest.mark.parametrize("user", ["alice", 'ä "b" \\', "\u2028"])
def test_lines_are_of_the_user_alone_whatever_the_name(user: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, "1", user=user)
    write(path, "2", user=user + "x")
    write(path, "3", user='"user":"alice"')

    found: list[Record] = last(path, of_user(user, REQUESTS), most=9)

    assert [record["id"] for record in found] == ["1"]


def test_the_last_are_the_latest_back_to_one_that_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, *map(str, range(9)))
    mine = of_user("alice", REQUESTS)

    assert [one["id"] for one in last(path, mine, most=3)] == ["8", "7", "6"]
    assert [one["id"] for one in last(path, mine, most=9, after="6")] == ["8", "7"]
    assert last(tmp_path / "none", mine, most=3) == []


def test_figures_are_what_the_metrics_say() -> None:
    metrics = Metrics(version="test", known_users=("alice",))
    for service, decision in (("s3", "allowed"), ("s3", "allowed"), ("kms", "refused")):
        metrics.request_done(
            user="alice", role="r", service=service, region="", decision=decision, code="200",
            action="", seconds=1, overhead_seconds=0, bytes_in=0, bytes_out=0,
        )  # fmt: skip
    metrics.sts_call(0.25)
    metrics.sts_call(0.75)
    metrics.credential_expiry("r", 200)
    metrics.credential_expiry("q", 50)
    metrics.login("oidc/okta", "ok")
    metrics.login("oidc/okta", "expired")

    found = read(metrics.registry.collect(), now=100)

    assert (found.requests, found.logins, found.refused_logins) == (3, 1, 1)
    assert [(bar.name, bar.value, bar.share) for bar in found.by_service] == [
        ("s3", 2, 1.0),
        ("kms", 1, 0.5),
    ]
    assert (found.sts_calls, found.sts_mean_ms, found.cached_roles) == (2, 500.0, 1)


def test_a_chart_has_so_many_bars_and_the_rest_as_one() -> None:
    from collections import Counter

    found = bars(Counter({f"user-{n}": n for n in range(MAX_BARS + 3)}))

    assert len(found) == MAX_BARS + 1
    assert (found[-1].name, found[-1].value) == ("all others", 3)


def test_what_is_on_a_row_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)>"
    names = ("time", "what", "decision", "status", "role", "app", "resource", "code", "reason")
    row = {**dict.fromkeys(names, evil), "ms": 1.0, "refused": True, "rule": "", "id": "1"}

    text = text_of("_call.html", call=row, new=False).replace("<wbr>", "")

    assert "<img" not in text
    assert text.count("&lt;img") >= 7


def test_why_a_changed_policy_is_not_in_force_is_shown(own: Served) -> None:
    assert own.api.insight is not None
    own.api.insight = replace(own.api.insight, faults=lambda: ("roles.yaml: <no> such key",))

    answer = signed_in(own, "olga").get("/gateway")

    assert "are not in force: the one before is" in words_of(answer)
    assert "roles.yaml: <no> such key" in words_of(answer)
    assert "<no>" not in answer.text


def test_a_saml_provider_comes_back_with_a_form(own: Served) -> None:
    admin = {"kind": "role", "version": "v5", "metadata": {"name": "admin"}, "spec": {}}
    own.take_policy(POLICY + "---\n" + yaml.safe_dump_all([document(), admin]))
    own.api.connectors.take(own.policy[0])
    browser = Browser(own)
    begun = browser.get("/sign-in/provider", connector="saml/corp")
    state = httpx.URL(begun.headers["location"]).params["state"]
    kept = browser.attributes[guard.BEGUN]

    answer = browser.post(
        "/v1/saml/acs/corp",
        {"RelayState": state, "SAMLResponse": "x", "code": "alice"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://idp.example.com"},
    )

    assert "samesite=none" in kept
    assert {"httponly", "secure"} <= {part.strip() for part in kept.split(";")}
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "alice" in words_of(browser.get("/"))
