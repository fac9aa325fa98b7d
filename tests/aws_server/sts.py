"""STS: credentials that this server issues, unique each time, and remembers.

The answers have AWS's elements; the limits are those a client meets in practice (length
of a chained session, session names, who may call what), not IAM.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from aws_server.answers import REQUEST_ID, STS_XMLNS
from aws_server.http1 import Answer
from aws_server.model import BaseKeys, Clock, Head, Identity, Refused
from secretsnet import remember

ACCOUNT = "123456789012"
UNSIGNED_ACTIONS = {"AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"}
_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_ROLE = re.compile(
    r"arn:aws[a-z-]*:iam::(\d{12}):role/(?:[\w+=,.@/-]*/)?([\w+=,.@-]{1,64})", re.ASCII
)
_EXPIRATION = "%Y-%m-%dT%H:%M:%SZ"


class KeyRing:
    """Every key that this server takes."""

    def __init__(self, base: BaseKeys, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.identities: dict[str, Identity] = {}
        self.issued: list[str] = []
        """Every secret and token ever issued, in order."""
        self.add(Identity(base.access_key_id, base.secret_access_key))

    def add(self, identity: Identity) -> None:
        """Take one more key."""
        remember(identity.secret)
        with self._lock:
            self.identities[identity.access_key_id] = identity

    def issue(self, kind: str, *, seconds: int, **more: str) -> Identity:
        """Make fresh temporary credentials."""
        made = Identity(
            access_key_id="ASIA"
            + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16)),
            secret=secrets.token_urlsafe(30),
            token="IQoJ" + secrets.token_urlsafe(120) + "/+==",
            kind=kind,  # type: ignore[arg-type]
            expires=self._clock() + timedelta(seconds=seconds),
            **more,
        )
        remember(made.secret, made.token or "")
        with self._lock:
            self.identities[made.access_key_id] = made
            self.issued += [made.secret, made.token or ""]
        return made


def parameters(head: Head, body: bytes | None) -> dict[str, str]:
    """Give the parameters of a query API: of the query, or of the form in the body."""
    text = (body or b"").decode("latin-1") if head.method == "POST" else head.query
    return dict(parse_qsl(text, keep_blank_values=True))


def answer(params: Mapping[str, str], caller: Identity | None, keys: KeyRing) -> Answer:
    """Do one STS action; raises ``Refused``."""
    action = params.get("Action", "")
    if caller is None and action not in UNSIGNED_ACTIONS:
        raise Refused(403, "MissingAuthenticationToken", "Request is missing Authentication Token")
    match action:
        case "AssumeRole" | "AssumeRoleWithWebIdentity" | "AssumeRoleWithSAML":
            return _assume_role(action, params, caller, keys)
        case "GetSessionToken" | "GetFederationToken":
            return _session(action, params, caller, keys)
        case "GetCallerIdentity":
            assert caller is not None
            user = caller.access_key_id if caller.kind == "base" else f"AROA:{caller.session_name}"
            return _result(
                action,
                f"<Arn>{caller.arn}</Arn><UserId>{user}</UserId><Account>{ACCOUNT}</Account>",
            )
    raise Refused(400, "InvalidAction", "Could not find operation")


def _assume_role(
    action: str, params: Mapping[str, str], caller: Identity | None, keys: KeyRing
) -> Answer:
    role = _ROLE.fullmatch(params.get("RoleArn", ""))
    if role is None:
        raise Refused(400, "ValidationError", "RoleArn is invalid")
    if action == "AssumeRoleWithSAML":
        name = "saml-user"
        required = {"PrincipalArn", "SAMLAssertion"}
    else:
        name = params.get("RoleSessionName", "")
        required = {"WebIdentityToken"} if "WebIdentity" in action else set()
    if _SESSION_NAME.fullmatch(name) is None:
        raise Refused(
            400, "ValidationError", "Value at 'roleSessionName' failed to satisfy constraint"
        )
    if not required <= params.keys():
        raise Refused(400, "ValidationError", f"missing {sorted(required - params.keys())}")
    chained = caller is not None and caller.kind == "role"
    seconds = _seconds(params, default=3600, most=43200)
    if chained and seconds > 3600:
        raise Refused(
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by "
            "role chaining",
        )
    account, role_name = role.groups()
    arn = f"arn:aws:sts::{account}:assumed-role/{role_name}/{name}"
    made = keys.issue("role", seconds=seconds, session_name=name, arn=arn)
    more = "<PackedPolicySize>6</PackedPolicySize>" if "Policy" in params else ""
    if "SourceIdentity" in params:
        more += f"<SourceIdentity>{escape(params['SourceIdentity'])}</SourceIdentity>"
    if "WebIdentity" in action:
        more += "<SubjectFromWebIdentityToken>subject</SubjectFromWebIdentityToken>"
    user = f"<AssumedRoleId>AROAEXAMPLE:{name}</AssumedRoleId><Arn>{arn}</Arn>"
    return _result(
        action, f"<AssumedRoleUser>{user}</AssumedRoleUser>{credentials_xml(made)}{more}"
    )


def _session(
    action: str, params: Mapping[str, str], caller: Identity | None, keys: KeyRing
) -> Answer:
    if caller is None or caller.kind != "base":
        raise Refused(403, "AccessDenied", f"Cannot call {action} with session credentials")
    seconds = _seconds(params, default=43200, most=129600)
    if action == "GetSessionToken":
        made = keys.issue("session", seconds=seconds, arn=caller.arn)
        return _result(action, credentials_xml(made))
    name = params.get("Name", "")
    if re.fullmatch(r"[\w+=,.@-]{2,32}", name, re.ASCII) is None:
        raise Refused(400, "ValidationError", "Value at 'name' failed to satisfy constraint")
    arn = f"arn:aws:sts::{ACCOUNT}:federated-user/{name}"
    made = keys.issue("federated", seconds=seconds, session_name=name, arn=arn)
    user = f"<FederatedUserId>{ACCOUNT}:{name}</FederatedUserId><Arn>{arn}</Arn>"
    return _result(action, f"{credentials_xml(made)}<FederatedUser>{user}</FederatedUser>")


def _seconds(params: Mapping[str, str], *, default: int, most: int) -> int:
    text = params.get("DurationSeconds", str(default))
    if not text.isdigit() or not 900 <= int(text) <= most:
        raise Refused(400, "ValidationError", f"DurationSeconds must be between 900 and {most}")
    return int(text)


def credentials_xml(made: Identity) -> str:
    """Word issued credentials as STS and CreateSession do."""
    assert made.expires is not None
    return (
        f"<Credentials><AccessKeyId>{made.access_key_id}</AccessKeyId>"
        f"<SecretAccessKey>{made.secret}</SecretAccessKey>"
        f"<SessionToken>{made.token}</SessionToken>"
        f"<Expiration>{made.expires.strftime(_EXPIRATION)}</Expiration></Credentials>"
    )


def _result(action: str, inside: str) -> Answer:
    body = (
        f'<{action}Response xmlns="{STS_XMLNS}"><{action}Result>{inside}</{action}Result>'
        f"<ResponseMetadata><RequestId>R</RequestId></ResponseMetadata></{action}Response>"
    )
    return Answer(body=body.encode(), fields=[("Content-Type", "text/xml"), REQUEST_ID])
