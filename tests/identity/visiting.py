"""A gateway with a page and all that is around it, and how a person comes to the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from awsgate.demo.embedded_aws import EmbeddedAws
from awsgate.demo.processes import free_port
from e2e.signin_server import signin_server
from identity.awsconsole import AwsConsole, aws_console
from identity.browser import Browser
from identity.gateway import Gateway, Person
from identity.pagegateway import gateway_with_page
from identity.provider import Provider, log_in, provider
from identity.viewing import cookies


@dataclass
class Place:
    """Everything that is there before a person comes."""

    aws: EmbeddedAws
    console: AwsConsole
    idp: Provider
    control: int
    gateway: Gateway
    seen: list[str] = field(default_factory=list)
    """Sources and histories of all pages."""


@contextmanager
def place(
    folder: Path, aws: EmbeddedAws, *, others: Sequence[int] = (), **options: Any
) -> Iterator[Place]:
    """Run everything. ``others``: control ports of gateways that the provider knows, too."""
    control = free_port()
    callbacks = [f"https://127.0.0.1:{port}/v1/callback" for port in (control, *others)]
    with ExitStack() as stack:
        signin = stack.enter_context(signin_server(aws.url))
        console = stack.enter_context(aws_console(signin, folder))
        idp = stack.enter_context(provider(*callbacks))
        gateway = stack.enter_context(
            gateway_with_page(folder / "gate", aws, idp, control, signin, **options)
        )
        yield Place(aws, console, idp, control, gateway)


type Window = Callable[[Place], Browser]
"""Opens a browser at one."""


def sign_in(browser: Browser, at: Place, who: str = "ann") -> None:
    browser.go(at.gateway.url)
    browser.click("a[href^='/sign-in/provider']")
    log_in(browser, who)
    browser.wait_for(r"Apps")


def login_of(browser: Browser) -> str:
    """Give the login that the browser has; empty: none."""
    kept = {one["name"]: str(one["value"]) for one in cookies(browser)}
    return kept.get("__Host-awsgate", "")


def logged_in(browser: Browser, at: Place, who: str) -> Person:
    """Log in on the command line by a browser that nobody has used; give whoever did."""
    person = at.gateway.person(who)
    with person.logging_in("--connector", "oidc/corp", "--no-browser") as login:
        browser.go(login.url())
        log_in(browser, who)
        browser.wait_for("Logged in")
        code, _, err = login.ended()
        assert code == 0, err
    return person
