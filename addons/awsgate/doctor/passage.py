"""The gateway itself, asked as a client asks it: connected, trusted, in time. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from awsgate.doctor.finding import Finding, Group, fault, note, ok, warning
from awsgate.doctor.shell import RENEW

SKEW_S = 5 * 60
"""AWS refuses what was signed further from its own time than this."""
WARN_SKEW_S = 60

# The refusals whose own hint is for the client, and what the operator does about them.
_FIXES = {
    "role-unavailable": "awsgate doctor   # on the gateway's host: see AWS below",
    "session-expired": RENEW,
    "unknown-key": RENEW,
    "denied": "awsgate check   # and the roles of this user in the policy",
    "locked": "awsgate lock ls",
    "clock-skew": "timedatectl set-ntp true",
}


class Reach(StrEnum):
    """How far a client got."""

    REFUSED = "nothing listens there"
    SILENT = "no answer within seconds"
    UNKNOWN_HOST = "the name is not known"
    NO_PROXY = "what listens there is no HTTP proxy"
    CONNECT_REFUSED = "CONNECT was refused"
    NO_TLS = "no TLS behind CONNECT"
    OTHER_CA = "a certificate that the CA here did not sign"
    EARLIER_CA = "a certificate of the CA before awsgate ca rotate"
    THROUGH = "answers"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call of GetCallerIdentity through the gateway gave."""

    who: str
    """Whom it was made for: ``alice in prod``."""
    arn: str = ""
    code: str = ""
    """The gateway's refusal code."""
    message: str = ""
    status: int = 0


@dataclass(frozen=True, slots=True)
class PassageFacts:
    """What a client finds at the gateway's address."""

    address: str
    host: str
    """The AWS host that was asked for."""
    certs: str
    reach: Reach
    detail: str = ""
    skew_s: float | None = None
    """The gateway's clock less this one's."""
    answer: Answer | None = None


def check_passage(facts: PassageFacts) -> Iterator[Finding]:
    """Give what there is to say of the way through the gateway."""
    at, certs = facts.address, shlex.quote(facts.certs)
    if facts.reach in (Reach.REFUSED, Reach.SILENT, Reach.UNKNOWN_HOST):
        yield fault(
            Group.GATEWAY,
            "gateway-down",
            f"no gateway at {at}: {facts.reach}",
            "every client that has HTTPS_PROXY set to it fails to connect",
            "awsgate run   # or awsgate doctor --proxy URL, if it is elsewhere",
        )
    elif facts.reach in (Reach.NO_PROXY, Reach.CONNECT_REFUSED, Reach.NO_TLS):
        yield fault(
            Group.GATEWAY,
            "gateway-is-none",
            f"{at} is no gateway of awsgate: {facts.reach}{_in_brackets(facts.detail)}",
            "another program has this port, or a bypass rule tunnels STS to nowhere",
            f"ss -ltnp 'sport = :{at.rpartition(':')[2]}'   # who listens there",
        )
    elif facts.reach is Reach.OTHER_CA:
        yield fault(
            Group.GATEWAY,
            "gateway-other-ca",
            f"{at} shows a certificate that the CA in {facts.certs} did not sign"
            f"{_in_brackets(facts.detail)}",
            "it is another gateway, it uses another folder for its CA, or it does not intercept "
            f"{facts.host} at all",
            "awsgate doctor --certs FOLDER   # the awsgate_certs of that gateway; or restart it "
            f"with --set awsgate_certs={certs}",
        )
    else:
        yield from _through(facts)


def _through(facts: PassageFacts) -> Iterator[Finding]:
    if facts.reach is Reach.EARLIER_CA:
        yield warning(
            Group.GATEWAY,
            "gateway-earlier-ca",
            f"the gateway at {facts.address} still serves the CA from before awsgate ca rotate",
            "it goes on serving the old one until it is restarted",
            "restart the gateway: awsgate run",
        )
    else:
        yield ok(
            Group.GATEWAY,
            "gateway",
            f"answers at {facts.address}, with the CA of {facts.certs}",
        )
    yield from check_clock(facts.skew_s, "the gateway", "clock-gateway", Group.GATEWAY)
    if facts.answer is not None:
        yield _call(facts.answer)


def check_clock(skew_s: float | None, whose: str, id_: str, group: Group) -> Iterator[Finding]:
    """Give what there is to say of another clock that is ``skew_s`` ahead of ours."""
    if skew_s is None or abs(skew_s) < WARN_SKEW_S:
        return
    what = f"this clock is {abs(skew_s):.0f} s {'behind' if skew_s > 0 else 'ahead of'} {whose}'s"
    if abs(skew_s) < SKEW_S:
        yield warning(
            group,
            id_,
            what,
            f"from {SKEW_S // 60} minutes on, signatures are refused",
            "timedatectl set-ntp true",
        )
        return
    yield fault(
        group,
        id_,
        what,
        f"signatures further off than {SKEW_S // 60} minutes are refused: clock-skew, "
        "RequestTimeTooSkewed, SignatureDoesNotMatch",
        "timedatectl set-ntp true   # or: sudo chronyc makestep",
    )


def _call(answer: Answer) -> Finding:
    if answer.arn:
        return ok(Group.GATEWAY, "call", f"a call as {answer.who}: AWS sees {answer.arn}")
    if answer.code:
        return fault(
            Group.GATEWAY,
            "call-refused",
            f"a call as {answer.who} was refused: {answer.message or answer.code}",
            f"see docs/refusals.md, section {answer.code}",
            _FIXES.get(answer.code, f"awsgate check   # docs/refusals.md#{answer.code}"),
        )
    if not answer.status:
        return note(Group.GATEWAY, "call-unanswered", f"a call as {answer.who} got no answer")
    return fault(
        Group.GATEWAY,
        "call-failed",
        f"a call as {answer.who} ended with status {answer.status} of AWS",
        "the gateway let it through; AWS, or what stands in for it, said no",
        "awsgate doctor --json   # see AWS: is each role assumable",
    )


def _in_brackets(detail: str) -> str:
    return f" ({detail})" if detail else ""
