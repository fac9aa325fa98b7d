"""The web page in Chromium: a person signs in at their provider, and lands in AWS's console.

The gateway, the provider, and an AWS whose sign-in endpoint checks the keys at its STS are
processes of their own. Pictures of each page are kept in ``.screenshots``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from awsgate.demo.embedded_aws import ACCOUNT, EmbeddedAws
from awsgate.demo.processes import free_port
from identity.browser import Browser
from identity.pagegateway import LOCAL
from identity.provider import CLIENT, PASSWORD
from identity.viewing import (
    back_to,
    cookies,
    history,
    look_at,
    script,
    source,
    to_new_window,
    windows,
)
from identity.visiting import Place, Window, login_of, place, sign_in

READ = "ExampleReadOnlyAccess"
WHO = f"arn:aws:sts::{ACCOUNT}:assumed-role/{{role}}/ann@example.com"
CALLS = (
    "import boto3\n"
    "s3 = boto3.client('s3')\n"
    "s3.list_objects_v2(Bucket='awsgate-demo')\n"
    "try:\n"
    "    s3.put_object(Bucket='awsgate-demo', Key='x', Body=b'x')\n"
    "except s3.exceptions.ClientError as no:\n"
    "    print(no)\n"
)


OPEN_SHOP = """
const app = [...document.querySelectorAll('article')]
  .find((one) => one.querySelector('h3').textContent === 'shop');
app.querySelector('.where').open = true;
return app.querySelector('form').id;
"""


@pytest.fixture(scope="module", params=[0, 1], ids=["mitmdump", "awsgate run"])
def here(
    request: pytest.FixtureRequest, aws: EmbeddedAws, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("page"), aws, workers=request.param) as made:
        yield made


def note(browser: Browser, at: Place) -> None:
    """Keep what could give a secret away."""
    at.seen += [source(browser), *history(browser)]


def launch(browser: Browser, label: str) -> str:
    """Click Launch; give the window that was before, and be in the new one."""
    before = windows(browser)
    browser.click(f"button[aria-label='{label}, in a new tab']")
    to_new_window(browser, before)
    return before[0]


def test_a_person_signs_in_searches_launches_and_is_that_role(here: Place, window: Window) -> None:
    browser = window(here)
    sign_in(browser, here)
    note(browser, here)

    browser.fill("#q", "staging")
    browser.wait_for(r"shop-staging(?s:(?!Ledgers).)*\Z")
    assert "books" not in browser.text
    browser._post("element/" + browser._find("#q") + "/clear", {})
    script(browser, "document.querySelector('#q').dispatchEvent(new Event('input'))")
    browser.wait_for("books")
    form = script(browser, OPEN_SHOP)
    browser.fill(f"input[form={form}][name=service]", "s3")
    browser.fill(f"input[form={form}][name=region]", "eu-west-1")
    first = launch(browser, f"Launch shop as {READ}")
    browser.wait_for(re.escape(WHO.format(role=READ)))

    assert browser.url == "https://eu-west-1.console.aws.amazon.com/s3/home?region=eu-west-1"
    signin = here.console.signin
    assert signin.landed[-1][1] == WHO.format(role=READ)
    note(browser, here)
    back_to(browser, first)
    launch(browser, "Launch shop as ExamplePowerAccess")
    browser.wait_for(re.escape(WHO.format(role="ExamplePowerAccess")))
    note(browser, here)
    lines = [one for one in here.gateway.process.audit() if one["event"] == "console"]
    assert [one["decision"] for one in lines[-2:]] == ["allowed", "allowed"]
    assert {one["user"] for one in lines} == {"ann@example.com"}


def test_calls_show_up_as_they_end_with_why_one_was_refused(here: Place, window: Window) -> None:
    browser = window(here)
    sign_in(browser, here)
    browser.go(f"{here.gateway.url}/calls")
    browser.wait_for("Live: calls show up as they end")
    person = here.gateway.person("ann")
    with person.logging_in("--connector", "oidc/corp", "--no-browser") as login:
        browser._post("window/new", {"type": "tab"})
        both = windows(browser)
        browser._post("window", {"handle": both[1]})
        browser.go(login.url())
        browser.wait_for("Logged in|allow")
        if browser.has("#go"):
            browser.click("#go")
        browser.wait_for("Logged in")
        code, _, err = login.ended()
        assert code == 0, err
    browser._post("window", {"handle": both[0]})
    done = person.python(CALLS, "--app", "shop", "--role", READ, "--read-only")
    assert done.returncode == 0, done.stderr
    browser.wait_for(r"s3:PutObject")
    browser.wait_for(r"s3:ListBucket")

    words = browser.text
    assert re.search(r"s3:PutObject(?s:.)*refused(?s:.)*read-only", words), words
    look_at(browser, "calls")
    note(browser, here)


PAGES = {"apps": "/", "login": "/login", "requests": "/requests", "gateway": "/gateway"}


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_every_page_is_fit_to_be_seen_and_heard(path: str, here: Place, window: Window) -> None:
    browser = window(here)
    sign_in(browser, here)
    browser.go(here.gateway.url + path)
    if path == "/":
        script(
            browser, "document.querySelectorAll('details').forEach((one, n) => one.open = n < 2)"
        )

    look_at(browser, next(name for name, one in PAGES.items() if one == path))
    note(browser, here)


def test_signing_in_and_what_goes_wrong_is_fit_to_be_seen(here: Place, window: Window) -> None:
    browser = window(here)
    policy = str(here.gateway.process.policy)
    here.gateway.operator("users", "add", LOCAL, "--policy", policy)
    browser.go(here.gateway.url)
    look_at(browser, "signin")
    browser.fill("[name=user]", LOCAL)
    browser.fill("[name=password]", "not the password")
    browser.click("form button")
    browser.wait_for("User, password or code is wrong")
    look_at(browser, "signin-wrong")
    sign_in(browser, here, "bob")
    script(
        browser,
        """
        const form = document.querySelector('article form');
        form.target = '_self';
        const field = document.createElement('input');
        [field.name, field.value] = ['role', 'arn:aws:iam::123456789012:role/ExamplePowerAccess'];
        form.append(field);
        form.submit();
    """,
    )
    browser.wait_for("may have no role in")
    look_at(browser, "denied")
    browser.go(f"{here.gateway.url}/gateway")
    browser.wait_for("may not do this")
    browser.go(f"{here.gateway.url}/login")
    browser.click("main form button")
    browser.wait_for("You are signed out")
    look_at(browser, "signed-out")
    browser.go(f"{here.gateway.url}/calls")
    browser.wait_for("Sign in")
    assert login_of(browser) == ""


def test_an_admin_locks_somebody_who_is_told(here: Place, window: Window) -> None:
    browser = window(here)
    sign_in(browser, here)
    browser.go(f"{here.gateway.url}/gateway")
    browser.fill("input[name=value]", "bob@example.com")
    browser.fill("input[name=message]", "please call security")
    browser.click("form[action='/gateway/locks'] button")
    browser.wait_for("user bob@example.com")
    look_at(browser, "locks")
    here.gateway.operator("lock", "ls")
    browser.go("about:blank")
    browser.go(here.gateway.url)
    browser.click(".me button")
    browser.wait_for("signed out")
    browser._http.delete(f"{browser._session}/cookie")
    browser.go(f"{here.idp.url}/session/end")
    browser.go(here.gateway.url)
    browser.wait_for("Continue with")


def test_a_page_is_used_by_keyboard_alone(here: Place, window: Window) -> None:
    browser = window(here)
    sign_in(browser, here)

    def press(key: str) -> str:
        keys = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        browser._post("actions", {"actions": [{"type": "key", "id": "k", "actions": keys}]})
        return str(script(browser, "return document.activeElement.textContent.trim()"))

    assert press("\ue004") == "Skip to the content"
    assert press("\ue007") == script(
        browser, "return document.querySelector('main').textContent.trim()"
    )
    reached = {press("\ue004") for _ in range(14)}
    assert {"Launch", "Use in terminal"} <= reached


def test_no_secret_is_left_anywhere(here: Place, window: Window) -> None:
    browser = window(here)
    sign_in(browser, here)
    browser.go(f"{here.gateway.url}/login")
    note(browser, here)
    kept = {one["name"]: one for one in cookies(browser)}
    login = kept["__Host-awsgate"]
    assert (login["httpOnly"], login["secure"], login["sameSite"]) == (True, True, "Lax")
    assert script(browser, "return document.cookie") == ""
    assert script(browser, "return Object.keys(localStorage).length") == 0

    signin, process = here.console.signin, here.gateway.process
    assert signin.sessions
    secrets = [login["value"], *signin.sessions, CLIENT["client_secret"], f"password={PASSWORD}"]
    logs = [process.log.read_text("utf-8", "replace"), (process.state / "audit.jsonl").read_text()]
    places = [*here.seen, *logs, *signin.targets[:0], *here.console.headers, *here.console.pages]
    assert len(here.seen) > 10
    for secret in secrets:
        assert len(secret) > 8
        assert [text[:200] for text in places if secret in text] == []
    referers = re.findall(r"(?im)^referer: .*$", "\n".join(here.console.headers))
    assert [one for one in referers if here.gateway.url in one] == []
    posted = [target for target in signin.targets if "getSigninToken" in target or "?" in target]
    assert posted == []


# --- what fails -----------------------------------------------------------------------------


def test_without_sts_a_page_says_so(aws: EmbeddedAws, tmp_path: Path, window: Window) -> None:
    nowhere = {"sts": {"endpoint_url": f"http://127.0.0.1:{free_port()}"}}
    with place(tmp_path, aws, spec=nowhere) as at:
        browser = window(at)
        sign_in(browser, at)
        launch(browser, f"Launch shop as {READ}")
        browser.wait_for("STS gave no answer")

        assert "Not available now" in browser.text
        look_at(browser, "sts-down")


def test_a_login_that_has_ended_leads_to_the_way_in(
    aws: EmbeddedAws, tmp_path: Path, window: Window
) -> None:
    with place(tmp_path, aws, brief=True) as at:
        browser = window(at)
        sign_in(browser, at)
        time.sleep(6)
        first = launch(browser, f"Launch shop as {READ}")
        browser.wait_for("Your login has ended")
        look_at(browser, "ended")
        back_to(browser, first)
        browser.go(f"{at.gateway.url}/calls")

        browser.wait_for("Continue with")
        assert at.console.signin.landed == []
        assert login_of(browser) == ""


def test_the_line_for_the_terminal_does_what_it_says(
    here: Place, window: Window, tmp_path: Path
) -> None:
    browser = window(here)
    sign_in(browser, here)
    line = script(browser, "return document.querySelector('.line code').textContent")

    login, _, rest = line.partition(" && ")
    person = here.gateway.person("terminal")
    with person.logging_in("--no-browser") as begun:
        browser.go(begun.url())
        browser.wait_for("Logged in|allow")
        if browser.has("#go"):
            browser.click("#go")
        browser.wait_for("Logged in")
        assert begun.ended()[0] == 0
    assert login == f"awsgate login --gateway {here.gateway.url} --ca-pin {here.gateway.pin}"
    path = f"{Path(sys.executable).parent}"
    done = subprocess.run(
        ["bash", "-c", f"{rest} && echo $AWS_ACCESS_KEY_ID"], cwd=tmp_path, check=False,
        env={"HOME": str(person.home), "PATH": f"{path}:/usr/bin:/bin"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("GATE"), done.stderr
