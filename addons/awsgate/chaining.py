"""Roles that a client assumes itself, and other answers of AWS that hold credentials.

The call is held to the session: it may not outlive it, and CloudTrail keeps the
user's name. The answer is rewritten: the client receives surrogates, gateway
credentials whose sealed token holds the real ones (``session.mint_surrogate``). So no
real key leaves, and no worker needs to remember anything.

Pure: the caller passes time and entropy.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from urllib.parse import unquote_to_bytes

from awsgate.aws import issued as answers
from awsgate.aws import sigv4, stsform
from awsgate.aws.call import Call
from awsgate.aws.endpoint import Endpoint
from awsgate.aws.readable import AnswerForm, is_readable
from awsgate.aws.router import candidates
from awsgate.errors import Code, Refusal
from awsgate.login import LoginFacts
from awsgate.outgoing import Hop, Plan, with_body
from awsgate.policy import ChainedSpec
from awsgate.session import (
    IssuedKeys,
    Session,
    SessionKeys,
    mint_surrogate,
    session_name_for,
)

# Services that hand out credentials, by signing name, and the operations of others that
# do. What cannot be rewritten is withheld (``aws.issued.UNREPLACED_OPERATIONS``).
FEDERATING_SERVICES = frozenset({"awsssoportal", "cognito-identity", "signin"})
ISSUING_SERVICES = FEDERATING_SERVICES | frozenset(
    {
        "sts",
        "account-access",
        "cloudwatch",  # that of cloudwatch-omni; metrics sign as monitoring
        "codepipeline",
        "datazone",
        "deadline",
        "eks-auth",
        "gamelift",
        "lakeformation",
    }
)
ISSUING_ACTIONS = frozenset({"ssm:getaccesstoken"})
"""Lower-case: nobody says that AWS tells capitals."""
BINARY_OPERATIONS = frozenset(
    {"datazone:GetLineageEvent", "lakeformation:GetWorkUnitResults", "s3:GetObject"}
)
"""Those at the same hosts whose answers are bytes of somebody's: an object, rows of a table."""
_RPC = frozenset({"json", "query", "ec2", "cbor", "smithy-rpc-v2-cbor"})
# Of those that speak such a protocol, the ones that answer with event streams, which may
# not be held: an answer there to an operation that no model has goes unseen.
STREAMING_SERVICES = frozenset({"healthlake", "kinesis", "logs", "transcribe"})
_FEDERATING_ACTIONS = frozenset({"AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"})

# AWS's own: what a role that assumes a role may ask for, and what tokens may.
_MAXIMUM_S = {
    "AssumeRole": stsform.CHAINED_MAX_S,
    "GetSessionToken": 129_600,
    "GetFederationToken": 129_600,
}
_DEFAULT_S = {"AssumeRole": 3600, "GetSessionToken": 43_200, "GetFederationToken": 43_200}


def issues_credentials(
    found: Endpoint, target: bytes, action: str, call: Call, *, upgrade: bool = False
) -> bool:
    """True if the answer to this request may hold credentials.

    ``action`` is what the envelope names, ``call`` what the models know of it, ``upgrade``
    a WebSocket that is asked for.
    """
    if not ISSUING_SERVICES.isdisjoint(found.signing_names):
        return True
    if not ISSUING_ACTIONS.isdisjoint({action.lower(), call.name.lower()}):
        return True
    if found.service == "s3express":
        # CreateSession is ``GET /?session`` of a bucket, in whatever spelling AWS reads it.
        path, _, query = target.partition(b"?")
        names = [unquote_to_bytes(item.partition(b"=")[0]).lower() for item in query.split(b"&")]
        named = any(b"session" in name for name in names)
        return named or not path.strip(b"/") or not found.bucket
    # S3 Control, for GetDataAccess: its answers are small, so none of them streams. At the
    # host of Outposts without an access point there is nothing else.
    if found.kind == "control" or (found.service == "s3-outposts" and not found.bucket):
        return True
    return not (call.operation or upgrade or found.tenant_controlled) and _answers_at_once(found)


def _answers_at_once(found: Endpoint) -> bool:
    """True for services whose answers are small, so that one to a call unknown is held."""
    streams = not STREAMING_SERVICES.isdisjoint(found.signing_names)
    return not (streams or _RPC.isdisjoint(_spoken(found)))


def _spoken(found: Endpoint) -> frozenset[str]:
    """Give the protocols of all services that answer at a host."""
    return frozenset({found.protocol}.union(*(s.protocols for s in candidates(found, ""))))


def _form_of_answer(found: Endpoint, call: Call, content_type: bytes) -> AnswerForm:
    """Give what a held answer may be, so that nothing is hidden in it."""
    if call.name in BINARY_OPERATIONS:
        return "any"
    cbor = b"cbor" in content_type.lower() or any("cbor" in name for name in _spoken(found))
    return "cbor" if cbor else "text"


def hold(
    plan: Plan,
    found: Endpoint,
    target: bytes,
    call: Call,
    action: str,
    *,
    content_type: bytes,
    body: bytes,
    session: Session | None,
    spec: ChainedSpec,
    now: datetime,
) -> Plan:
    """Hold a call that yields credentials to the session, and mark its answer.

    ``target`` and ``action`` are as the client said. Raises ``Refusal`` as ``hold_to_session``.
    """
    if not issues_credentials(found, target, action, call, upgrade=plan.upgrade):
        return plan
    # Encoded or in JSON it could not be read, and so not be rewritten.
    plan = replace(
        plan,
        issues=True,
        answers=_form_of_answer(found, call, content_type),
        federated=not FEDERATING_SERVICES.isdisjoint(found.signing_names),
        headers=tuple((n, v) for n, v in plan.headers if n.lower() not in _ACCEPTS),
        signed_headers=tuple(n for n in plan.signed_headers if n.encode() not in _ACCEPTS),
    )
    if found.service != "sts":
        return plan
    if body and not content_type.lower().startswith(_FORM):
        raise Refusal(Code.UNSUPPORTED, "the body of an STS request is not a form")
    return hold_to_session(plan, session, spec, body, now)


_FORM = b"application/x-www-form-urlencoded"
_ACCEPTS = frozenset({b"accept", b"accept-encoding"})


def hold_to_session(
    plan: Plan, session: Session | None, spec: ChainedSpec, body: bytes, now: datetime
) -> Plan:
    """Give the plan of an STS request, edited so that it keeps to the caller's session.

    Raises ``Refusal``: no readable Action, too little time left, another's name.
    """
    path, _, query = plan.target.partition(b"?")
    call = stsform.read_call(query, body)
    if call is None:
        raise Refusal(
            Code.UNSUPPORTED,
            "the Action of this STS request cannot be read for certain",
            hint="send one Action, as an SDK does, in the form body or the query",
        )
    if session is None:
        _check_unsigned(plan, call, body)
    plan = replace(
        plan,
        asked_role=call.role_arn,
        federated=plan.federated or call.action in _FEDERATING_ACTIONS,
    )
    if session is None or call.action not in _MAXIMUM_S:
        return plan
    duration = _duration(call, session, now)
    name = _session_name(call, session, spec) if call.action == "AssumeRole" else None
    notes = []
    if duration != call.duration_s:
        notes.append(("x-awsgate-duration-seconds", str(duration)))
    if name is not None:
        notes.append(("x-awsgate-role-session-name", name))
    if not notes:
        return plan
    query, edited = stsform.edit_call(
        query,
        body,
        duration_s=duration if duration != call.duration_s else None,
        role_session_name=name,
    )
    target = path + b"?" + query if query else path
    return replace(with_body(plan, target, edited), notes=tuple(notes))


def _check_unsigned(plan: Plan, call: stsform.StsCall, body: bytes) -> None:
    """Refuse what goes unsigned, unless AWS takes it so and cannot take it for another call."""
    path, _, query = plan.target.partition(b"?")
    if call.action not in _FEDERATING_ACTIONS:
        raise Refusal(
            Code.NOT_SIGNED,
            "the request carries no AWS signature",
            hint="configure gateway credentials (awsgate env) and sign the request",
        )
    if stsform.carries_auth(query, body):
        raise Refusal(Code.UNSUPPORTED, "an unsigned STS request holds fields of a signature")
    if path != b"/" or any(name.lower() in _NAMING for name, _ in plan.headers):
        raise Refusal(
            Code.UNSUPPORTED,
            "an unsigned STS request has a path or a header that can name an operation",
            hint="send one Action, as an SDK does, in the form body or the query of /",
        )


# Where the other protocols name the operation; their paths do it as well.
_NAMING = frozenset({b"x-amz-target", b"smithy-protocol"})


def _duration(call: stsform.StsCall, session: Session, now: datetime) -> int | None:
    remaining = session.expires_at - int(now.timestamp())
    default = _DEFAULT_S[call.action]
    duration = stsform.capped_duration(
        call.duration_s,
        remaining_s=remaining,
        default_s=default,
        maximum_s=_MAXIMUM_S[call.action],
    )
    if duration is None:
        raise Refusal(
            Code.SESSION_EXPIRED,
            f"the gateway session ends in {remaining} seconds, and AWS gives credentials for "
            f"{stsform.MIN_DURATION_S} seconds or more",
            hint="get new credentials (awsgate env) and call again",
        )
    # Left out, AWS takes the default: nothing to edit if that is what it comes to.
    return None if call.duration_s is None and duration == default else duration


def _session_name(call: stsform.StsCall, session: Session, spec: ChainedSpec) -> str | None:
    """Give the name to put in place of the client's, or None to leave it."""
    own = session_name_for(session.user) if session.user else ""
    if not own or call.role_session_name == own or spec.role_session_name == "free":
        return None
    if spec.role_session_name == "force":
        return own
    raise Refusal(
        Code.DENIED,
        "RoleSessionName is not the user's own",
        hint=f"leave it out of the client's settings, or set it to {own}",
        detail="gateway/chained.role_session_name",
    )


def rewrite_answer(
    body: bytes,
    *,
    encoding: str,
    plan: Plan,
    session: Session | None,
    keys: SessionKeys,
    now: datetime,
    entropy: bytes,
) -> bytes:
    """Give AWS's answer with surrogates in place of the credentials it holds, if any.

    Raises ``AnswerError`` or ``Refusal``: then nothing of the answer may go to the
    client.
    """
    if encoding not in ("", "identity"):
        raise Refusal(Code.GATEWAY_FAULT, "AWS's answer came encoded and was withheld")
    if not is_readable(body, plan.answers):
        raise Refusal(Code.GATEWAY_FAULT, "AWS's answer cannot be read and was withheld")
    found = answers.find_issued(body)
    if found is None:
        return body
    express = plan.service == "s3express"
    # Whoever signed the call: these identities are not the gateway's users.
    parent = None if plan.federated else session
    issued = IssuedKeys(
        keys=sigv4.SigningKeys(found.access_key_id, found.secret_access_key, found.session_token),
        expires_at=found.expires_at,
        role_arn=_role(plan, _role_of(found.assumed_role_arn), parent),
        session_name=found.assumed_role_arn.rpartition("/")[2],
        express=express,
        bucket_host=plan.target_host if express else "",
    )
    seconds = int(now.timestamp())
    holder = parent or _nobody(issued, seconds, entropy, plan.hop)
    try:
        surrogate = mint_surrogate(keys, holder, issued, now=seconds, entropy=entropy)
    except ValueError:
        raise Refusal(
            Code.SESSION_EXPIRED,
            "the gateway session ended before AWS answered",
            hint="get new credentials (awsgate env) and call again",
        ) from None
    return answers.replace_issued(
        body,
        found,
        access_key_id=surrogate.access_key_id,
        secret_access_key=surrogate.secret_access_key,
        session_token=surrogate.session_token,
        expires_at=surrogate.expires_at,
    )


def _role(plan: Plan, answered: str, parent: Session | None) -> str:
    """Give the ARN of the role that the credentials are of; rules are about it.

    What was asked has the role's path, the answer has not; but they must agree.
    """
    asked = plan.asked_role
    if asked and answered:
        same = asked.split(":")[4:5] == answered.split(":")[4:5] and (
            asked.rpartition("/")[2] == answered.rpartition("/")[2]
        )
        if not same:
            raise Refusal(
                Code.GATEWAY_FAULT, "AWS's answer is about another role, and was withheld"
            )
    before = parent.issued.role_arn if parent is not None and parent.issued is not None else ""
    return asked or answered or before


def _role_of(assumed_role_arn: str) -> str:
    """Give the role's ARN of ``arn:aws:sts::<account>:assumed-role/<role>/<session>``.

    Without its path, which AWS leaves out there.
    """
    parts = assumed_role_arn.split(":", 5)
    names = parts[-1].split("/")
    if len(parts) != 6 or names[0] != "assumed-role" or len(names) != 3:
        return ""
    return f"{parts[0]}:{parts[1]}:iam::{parts[4]}:role/{names[1]}"


def _nobody(issued: IssuedKeys, now: int, entropy: bytes, hop: Hop | None) -> Session:
    """Give the session of someone whom AWS knows and the policy does not."""
    return Session(
        key_id="",
        id=entropy[22:].hex(),
        user="",
        app="",
        role_arn=issued.role_arn,
        issued_at=now,
        expires_at=issued.expires_at,
        # What the gateway ahead issued is good there alone.
        login=LoginFacts(entropy[22:].hex(), hop.connector) if hop is not None else None,
    )
