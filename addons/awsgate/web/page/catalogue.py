"""The apps and roles that somebody has, by account, as the page shows them. No HTTP."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from awsgate.aws.signin import console_of
from awsgate.consoledesk import Wanted
from awsgate.policy import Decision
from awsgate.policy.fields import ACCOUNT_LABEL
from awsgate.policy.meant import short_roles
from awsgate.web.calls import ConsoleWay
from awsgate.web.choosing import Caller

MAX_ROLES = 1000
NO_CONSOLE = "this app is no console of AWS's"
NO_WAY = "this gateway opens no console"


@dataclass(frozen=True, slots=True)
class RoleEntry:
    """A role in an app."""

    arn: str
    name: str
    account: str
    obstacle: str
    """Why it opens no console; empty: it does."""
    terminal: str
    """What to type to use it."""


@dataclass(frozen=True, slots=True)
class AppEntry:
    """An app, and the roles there."""

    name: str
    description: str
    labels: tuple[tuple[str, str], ...]
    roles: tuple[RoleEntry, ...]

    @property
    def opens(self) -> bool:
        """True if a role of it opens a console."""
        return any(not role.obstacle for role in self.roles)

    def fits(self, words: Iterable[str]) -> bool:
        """True if each word is in something of it that can be read."""
        texts = [self.name, self.description, *(f"{k}={v}" for k, v in self.labels)]
        texts += [text for role in self.roles for text in (role.name, role.arn, role.account)]
        seen = "\n".join(texts).casefold()
        return all(word in seen for word in words)


@dataclass(frozen=True, slots=True)
class Account:
    """An AWS account with its apps."""

    id: str
    apps: tuple[AppEntry, ...]


@dataclass(frozen=True, slots=True)
class Terminal:
    """How a person comes to this gateway from a terminal."""

    url: str
    pin: str

    def line(self, app: str, role: str) -> str:
        """Give the line that logs in, and sets up a shell for one role."""
        login = shlex.join(["awsgate", "login", "--gateway", self.url, "--ca-pin", self.pin])
        env = shlex.join(["awsgate", "env", "--app", app, "--role", role])
        return f'{login} && eval "$({env})"'


def catalogue(
    who: Caller,
    lasting: Caller,
    console: ConsoleWay | None,
    terminal: Terminal,
    *,
    client: str,
    search: str = "",
) -> list[Account]:
    """Give all that somebody has and that fits a search, sorted. Asks the policy: it blocks.

    ``lasting`` is the same person without what they have for a while: it opens no console.
    """
    words = search.casefold().split()
    apps = [app for app in _apps(who, lasting, console, terminal, client) if app.fits(words)]
    accounts: dict[str, list[AppEntry]] = {}
    for app in apps:
        label = dict(app.labels).get(ACCOUNT_LABEL) or app.roles[0].account
        accounts.setdefault(label, []).append(app)
    return [Account(name, tuple(found)) for name, found in sorted(accounts.items())]


def _apps(
    who: Caller, lasting: Caller, console: ConsoleWay | None, terminal: Terminal, client: str
) -> Iterator[AppEntry]:
    policy, user, standings = who.policy, who.login.user, lasting.granted
    arns: dict[str, list[str]] = {}
    for name, arn in islice(who.granted.pairs(), MAX_ROLES):
        arns.setdefault(name, []).append(arn)
    for name, listed in arns.items():
        app, short = policy.apps[name], short_roles(listed)
        is_console = console_of(app.spec.uri) is not None
        roles = []
        for arn in listed:
            obstacle = NO_CONSOLE
            if console is None:
                obstacle = NO_WAY
            elif is_console:
                wanted = Wanted(user, name, arn, client=client)
                obstacle = _obstacle(console.look(lasting.policy, wanted, standings))
            roles.append(
                RoleEntry(
                    arn,
                    arn.partition("/")[2].rpartition("/")[2] or arn,
                    arn.split(":")[4],
                    obstacle,
                    terminal.line(name, short[arn]),
                )
            )
        metadata = app.metadata
        yield AppEntry(
            name, metadata.description, tuple(sorted(metadata.labels.items())), tuple(roles)
        )


def _obstacle(decision: Decision) -> str:
    """Give why no console opens."""
    if decision.allowed:
        return ""
    if decision.about_call:
        return "this role restricts single calls, which a browser session cannot be held to"
    return decision.reason
