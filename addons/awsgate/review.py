"""What is known of one request so far: filled by the gate, read by the audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from awsgate import approving, caller, passage
from awsgate.aws.call import Call
from awsgate.aws.endpoint import Endpoint
from awsgate.caller import Claim
from awsgate.errors import Code, Refusal
from awsgate.policy import Decision
from awsgate.session import Session
from awsgate.standing import WORDS
from awsgate.wire import RequestFacts


@dataclass(slots=True)
class Review:
    """What is known of one request so far. Filled in order; the audit line reads it."""

    facts: RequestFacts
    host: str = ""
    endpoint: Endpoint | None = None
    headers: Mapping[bytes, Sequence[bytes]] = field(default_factory=dict, repr=False)
    claim: Claim | None = None
    passage: passage.Passage | None = None
    """Why it goes unsigned; None: it does not, or that is not known yet."""
    session: Session | None = None
    secret: str = field(default="", repr=False)
    payload: str | None = None
    """Hash or keyword for the body as the client gave it; None: hash the body."""
    needs_body: bool = False
    """The body says what is asked, or who asks."""
    action: str = ""
    """``service:Operation`` as its envelope says; empty: it does not."""
    call: Call | None = None
    """What it asks of AWS, for the policy and the audit."""
    orders: bool = False
    """It orders something of the gateway itself, and never goes to AWS."""
    also: Call | None = None
    """What is done besides: it needs no allow rule, and a deny rule may mean it."""
    read: bytes | None = field(default=None, repr=False)
    """The body that ``call`` was read from; None: without it."""
    decision: Decision | None = None

    @property
    def streams(self) -> bool:
        """True if the request can be decided and signed before its body is there."""
        return not self.needs_body and (self.payload is not None or self.passage is not None)

    @property
    def flows(self) -> bool:
        """True if the body is signed piece by piece, so that it cannot be read first."""
        return self.payload is not None and self.payload.startswith("STREAMING-")

    @property
    def role_arn(self) -> str:
        """Give the role whose keys are used: the session's, or one that it assumed."""
        if self.session is None:
            return ""
        issued = self.session.issued
        return (issued.role_arn if issued is not None else "") or self.session.role_arn

    @property
    def found(self) -> Endpoint:
        """Give the endpoint. Raises ``Refusal`` where there is none."""
        if self.endpoint is None:
            raise Refusal(
                Code.NOT_AN_AWS_ENDPOINT,
                f"{self.host} is not an AWS endpoint awsgate can sign for",
                hint="add the host to 'bypass' in kind: gateway if it must be reached unsigned",
            )
        return self.endpoint

    def header(self, name: bytes) -> bytes:
        """Give the first value of a header, or nothing. ``name`` is lower-case."""
        return caller.header(self.headers, name)


def denied(review: Review, decision: Decision) -> Refusal:
    """Give the refusal of a request that the policy does not allow."""
    if decision.needs:
        return approving.refusal(decision)
    call, what = review.call, ""
    _, hint = WORDS.get(decision.rule, ("", "awsgate env shows the roles you may ask for"))
    if call is not None and decision.about_call:
        what = call.actions[0] if call.actions else call.name
    if what:
        hint = f"awsgate explain --user {decision.user} --action {what} shows the rules"
        if review.session is not None and review.session.login is not None:
            hint = f"where the policy is, {hint}"  # who has logged in need not be there
    return Refusal(
        Code.DENIED,
        f"{decision.user or 'this identity'} may not do this: {decision.reason}"
        + (f" ({what})" if what else ""),
        hint=hint,
        detail=decision.rule,
    )


def passed(by: passage.Passage) -> Decision:
    """Give the decision on a request that may pass unsigned."""
    return Decision(True, "it needs no credentials", f"gateway/unsigned.{by}", "", "", "", "")
