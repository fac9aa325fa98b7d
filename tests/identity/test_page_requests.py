"""A role asked for, approved on the page in Chromium, used by boto3, and gone after its time.

Two people, each with a browser and a command line of their own. Pictures are kept in
``.screenshots``.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from awsgate.demo.embedded_aws import POWER_ROLE, EmbeddedAws
from awsgate.demo.processes import free_port
from e2e.held import until
from e2e.verdicts import verdict
from identity.browser import Browser
from identity.gateway import Person
from identity.pagegateway import gateway_with_page
from identity.viewing import look_at, script
from identity.visiting import Place, Window, logged_in, place, sign_in

LIFE_S = 45
KNOWN_S = 5.0
"""Within a second, says the promise: this machine may be busy."""
LIVE = "Changes show up by themselves"
ASK = "form[aria-label='Ask for {}']"


@pytest.fixture(scope="module")
def here(aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("page"), aws, workers=1) as made:
        yield made


CREATE = (
    *("request", "create", "--role", "deployer", "--reason", "release 7 of the shop"),
    *("--duration", f"{LIFE_S}s"),
)


@contextmanager
def asking(person: Person) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Ask on the command line, which waits for the answer; give it, and the id."""
    waits = person.start(*CREATE, "--wait")
    try:
        assert waits.stdout is not None
        yield waits, waits.stdout.readline().strip()
    finally:
        waits.kill()
        waits.communicate()


def approve(browser: Browser, request: str) -> None:
    browser.fill(f"#why-{request}", "seen the change, go ahead")
    browser.click(f"#{request} button[value=approve]")
    browser.wait_for(rf"deployer for {LIFE_S} s approved")


def keys(person: Person) -> dict[str, str]:
    done = person.run("env", "--format", "json", "--app", "shop", "--role", POWER_ROLE)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def gone(at: Place, env: dict[str, str], ends: float) -> str:
    """Use it to its end; give what boto3 is told then."""
    while (said := verdict(env, at.gateway.process, env["AWS_CA_BUNDLE"])) == "ok":
        assert time.time() < ends + KNOWN_S
        time.sleep(0.05)
    assert time.time() >= ends
    return said


def events(at: Place) -> list[tuple[str, str]]:
    """Give what the audit has of requests: what, and of whom."""
    lines = at.gateway.process.audit()
    return [(one["event"], one["user"]) for one in lines if one["event"].startswith("request.")]


@pytest.mark.parametrize("workers", [0, 1], ids=["mitmdump", "awsgate run"])
def test_asked_on_the_command_line_approved_on_the_page_over_restarts(
    workers: int, aws: EmbeddedAws, tmp_path: Path, window: Window, opened: ExitStack
) -> None:
    with place(tmp_path, aws, workers=workers) as at:
        bob = logged_in(window(at), at, "bob")
        assert bob.run("env", "--app", "shop", "--role", POWER_ROLE).returncode == 1
        waits, request = opened.enter_context(asking(bob))
        ann = window(at)
        sign_in(ann, at)
        ann.wait_for(r"Requests\s*,?\s*1")
        ann.click("nav a[href='/requests']")
        ann.wait_for("bob@example.com .* asks for deployer for 45 s")
        ann.wait_for("release 7 of the shop")
        look_at(ann, "requests-waiting")

        at.gateway.restart()
        approve(ann, request)  # on the page of before
        assert waits.wait(30) == 0
        ends = json.loads(bob.run("request", "show", request, "--json").stdout)["until"]
        env = keys(bob)
        bundle = env["AWS_CA_BUNDLE"]
        assert until(lambda: verdict(env, at.gateway.process, bundle) == "ok", within=KNOWN_S)
        at.gateway.restart()
        assert verdict(env, at.gateway.process, bundle) == "ok"  # the first request already

        told = gone(at, env, ends)
        assert told.startswith("AccessDenied awsgate denied: bob@example.com may not do this")
        ann.wait_for(rf"deployer for {LIFE_S} s ended")  # nobody has loaded the page anew
        assert until(lambda: len(events(at)) > 3, within=KNOWN_S)
        assert events(at) == [
            ("request.create", "bob@example.com"),
            ("request.review", "ann@example.com"),
            ("request.granted", "bob@example.com"),
            ("request.ended", "bob@example.com"),
        ]


def test_approved_on_the_page_of_another_gateway_of_the_database(
    aws: EmbeddedAws, tmp_path: Path, window: Window, opened: ExitStack
) -> None:
    port = free_port()
    shared = {"requests": {"database_url": f"sqlite:///{tmp_path}/shared.db"}}
    with (
        place(tmp_path, aws, others=(port,), spec=shared) as one,
        gateway_with_page(
            tmp_path / "two", aws, one.idp, port, one.console.signin, workers=1, spec=shared
        ) as gateway,
    ):
        two = replace(one, control=port, gateway=gateway)
        bob, ann = logged_in(window(one), one, "bob"), window(two)
        waits, request = opened.enter_context(asking(bob))
        sign_in(ann, two)
        ann.go(f"{two.gateway.url}/requests")
        approve(ann, request)

        assert waits.wait(30) == 0
        ends = json.loads(bob.run("request", "show", request, "--json").stdout)["until"]
        env = keys(bob)
        told = gone(one, env, ends)
        assert told.startswith("AccessDenied awsgate denied: bob@example.com may not")
        ann.wait_for(rf"deployer for {LIFE_S} s ended")


def test_two_people_see_what_the_other_does_without_a_reload(here: Place, window: Window) -> None:
    bob, ann = window(here), window(here)
    for browser, who in ((bob, "bob"), (ann, "ann")):
        sign_in(browser, here, who)
        browser.go(f"{here.gateway.url}/requests")
        browser.wait_for(LIVE)
    look_at(bob, "requests-none")
    bob.click("details:has(input[value=dba]) summary")
    bob.fill(f"{ASK.format('dba')} textarea", "<b>the index</b> of orders is slow")
    look_at(bob, "requests-asking")
    bob.click(f"{ASK.format('dba')} button")
    bob.wait_for("dba for 1 h pending")

    ann.wait_for(r"Requests\s*,?\s*1")
    ann.wait_for("bob@example.com .* asks for dba for 1 h\\s+<b>the index</b> of orders is slow")
    first = str(script(ann, "return document.querySelector('.answers > li').id"))
    ann.fill(f"#why-{first}", "half a")
    bob.click("details:has(input[value=deployer]) summary")
    bob.fill(f"{ASK.format('deployer')} textarea", "release 8")
    bob.click(f"{ASK.format('deployer')} button")
    ann.wait_for("Something has changed: it shows when you have left the form")
    assert "asks for deployer" not in ann.text  # nothing moves under somebody who writes
    assert script(ann, "return document.activeElement.value") == "half a"
    look_at(ann, "requests-in-use")
    ann.fill(f"#why-{first}", "not in the daytime")
    ann.click(f"#{first} button[value=deny]")
    ann.wait_for("dba for 1 h denied")
    ann.wait_for("asks for deployer for 1 h")

    bob.wait_for(r"dba for 1 h denied(?s:.)*ann@example.com denied it(?s:.)*not in the daytime")
    look_at(ann, "requests-reviewer")
    look_at(bob, "requests-mine")
    ann.click(".answers button[value=approve]")
    bob.wait_for(r"deployer for 1 h approved(?s:.)*59 min left")
    look_at(bob, "requests-granted")
    bob.go(here.gateway.url)
    bob.wait_for("ExamplePowerAccess")
    ann.click("form[action='/requests/revoke'] button")
    ann.wait_for("Taken back by ann@example.com")


def test_the_last_window_to_answer_is_told_what_the_first_did(here: Place, window: Window) -> None:
    bob, ann = window(here), window(here)
    sign_in(bob, here, "bob")
    bob.go(f"{here.gateway.url}/requests")
    bob.click("details:has(input[value=dba]) summary")
    twice = "const b = document.querySelector(arguments[0]); b.click(); b.click();"
    script(bob, twice, f"{ASK.format('dba')} button")  # a double click asks once
    bob.wait_for("dba for 1 h pending")
    sign_in(ann, here)
    ann.go(f"{here.gateway.url}/requests")
    ann.fill(".answers textarea", "held")  # so that the page stays as it is
    bob.click("form[action='/requests/revoke'] button")
    bob.wait_for("dba for 1 h revoked")
    ann.click(".answers button[value=approve]")
    ann.wait_for("The request ar-[0-9a-f]{10} is revoked already")
    look_at(ann, "requests-late")
    ann.click("a[href='/requests'].button")
    ann.wait_for(LIVE)


def test_a_login_is_renewed_with_one_click(here: Place, window: Window) -> None:
    browser = window(here)
    sign_in(browser, here, "bob")
    browser.go(f"{here.gateway.url}/login")
    before = script(browser, "return document.querySelector('dd code').textContent")
    browser.click("a[href^='/sign-in/provider']")
    browser.wait_for("Apps")
    browser.go(f"{here.gateway.url}/login")
    assert script(browser, "return document.querySelector('dd code').textContent") != before
    assert "bob@example.com" in browser.text
