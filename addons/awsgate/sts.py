"""AssumeRole with botocore: the one place that asks AWS for credentials.

STS is never reached through a proxy, whatever the environment says: a gateway whose
own environment names it as HTTPS_PROXY would wait for itself. AWS_CA_BUNDLE is left
in force, since the way to STS may need it. AWS_ENDPOINT_URL is not: the one setting
for that is ``sts.endpoint_url`` in ``kind: gateway``.

What STS says goes to the audit only where it cannot quote a signed request. Nothing
is kept here but clients; ``credentials`` keeps what they give.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound
from botocore.httpsession import URLLib3Session

from awsgate.aws.partitions import BY_ID, KNOWN_REGIONS
from awsgate.credentials import AwsCredentials, RoleRequest, unavailable
from awsgate.errors import Code, Refusal
from awsgate.policy.handoff import Handoff
from awsgate.session import KEY_PREFIX
from awsgate.stswords import hint_for, shown
from awsgate.version import __version__

if TYPE_CHECKING:
    from mypy_boto3_sts.client import STSClient

# What STS says when it is awsgate's own credentials that are wrong.
_OWN_FAULTS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_THROTTLED = frozenset(
    {"RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)


def sts_region(region: str, partition: str, *, regional: bool = True) -> str:
    """Give the region whose STS is to be asked for a target in ``region``.

    The same one, so that an outage elsewhere does not matter. Names that are no region
    (``aws-global``, empty), regions that are not known (a caller can make them up) and
    ``regional=False`` give the partition's home region.
    """
    found = BY_ID[partition]
    if regional and region in KNOWN_REGIONS and found.region.fullmatch(region):
        return region
    return found.global_region


@dataclass(frozen=True, slots=True)
class Said:
    """What AWS said to a question of the operator's."""

    found: Mapping[str, Any]
    """The answer; empty if it is no."""
    code: str = ""
    """Error code of AWS, or the name of botocore's exception."""
    message: str = ""
    """AWS's words, where they cannot quote a signed request."""
    date: str = ""
    """The Date header of the answer."""


class _Base:
    """awsgate's own credentials of one profile, and an STS client per region."""

    def __init__(self, profile: str) -> None:
        self.lock = threading.Lock()  # a botocore session is not safe to share, a client is
        self.clients: dict[str, STSClient] = {}
        self.session = botocore.session.Session(profile=profile or None)
        # Not only for STS itself: profiles with a role_arn and SSO have clients of
        # their own, made by the session.
        self.session.set_default_client_config(
            Config(
                proxies={},
                connect_timeout=5,
                read_timeout=10,
                retries={"mode": "standard", "total_max_attempts": 2},
                ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # stubs lag
                user_agent_extra=f"awsgate/{__version__}",
            )
        )
        # The global endpoint's tokens do not work in every region.
        self.session.set_config_variable("sts_regional_endpoints", "regional")
        self._metadata_without_proxy()

    def client(self, region: str, endpoint_url: str) -> STSClient:
        """Give the client for ``region``. Raises ``BotoCoreError`` or ``Refusal``."""
        with self.lock:
            if region not in self.clients:
                self._check_credentials()
                made: Any = self.session.create_client(
                    "sts", region_name=region, endpoint_url=endpoint_url or None
                )
                self.clients[region] = made
            return self.clients[region]

    def ask(
        self, service: str, region: str, url: str, operation: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        """Call one operation of any service. Raises as ``client`` does, and ``ClientError``."""
        with self.lock:
            self._check_credentials()
            made: Any = self.session.create_client(
                service, region_name=region, endpoint_url=url or None
            )
        answer: dict[str, Any] = getattr(made, operation)(**arguments)
        return answer

    def check(self) -> None:
        """Raise ``BotoCoreError`` or ``Refusal`` if there are no credentials to use."""
        with self.lock:
            self._check_credentials()

    def _check_credentials(self) -> None:
        credentials = self.session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        if credentials.access_key.startswith(KEY_PREFIX):
            raise Refusal(
                Code.ROLE_UNAVAILABLE,
                "awsgate has no AWS credentials of its own",
                hint="tell the operator of the gateway",
                status=503,
                detail="awsgate's own environment holds gateway credentials: start it "
                "without AWS_ACCESS_KEY_ID and its kin",
            )

    def _metadata_without_proxy(self) -> None:
        # botocore takes HTTP_PROXY for the metadata service and offers no setting.
        # If this inside of botocore changes, a test says so, and HTTP_PROXY applies.
        provider: Any = self.session.get_component("credential_provider").get_provider("iam-role")
        fetcher: Any = getattr(provider, "_role_fetcher", None)
        if hasattr(fetcher, "_session"):
            timeout_s = self.session.get_config_variable("metadata_service_timeout")
            fetcher._session = URLLib3Session(timeout=timeout_s, proxies={})  # noqa: SLF001


class StsAssumer:
    """AssumeRole, at the STS of the request's region, with awsgate's own credentials.

    ``base_credentials`` names a profile per account, ``*`` that of all others; without it
    the rest use botocore's default
    chain (environment, AWS_PROFILE and shared files, web identity, container, instance).
    ``endpoint_url`` replaces STS, for an emulator or a VPC endpoint.
    """

    def __init__(
        self,
        sts_endpoint_url: str = "",
        regional: bool = True,
        base_credentials: Mapping[str, str] | None = None,
    ) -> None:
        self._endpoint_url = sts_endpoint_url
        self._regional = regional
        self._profiles = dict(base_credentials or {})
        self._bases: dict[str, _Base] = {}
        self._lock = threading.Lock()
        # At DEBUG botocore logs the whole answer of STS, credentials included.
        logging.getLogger("botocore").setLevel(logging.INFO)

    def missing(self) -> list[str]:
        """Say which of awsgate's own credentials are not there. Blocks, asks no AWS API.

        Instance and container roles are asked for at their metadata service.
        """
        found = []
        default = [] if "*" in self._profiles else [""]
        for profile in sorted({*self._profiles.values(), *default}):
            try:
                self._base(profile).check()
            except Refusal as exc:
                found.append(_in_words(exc.detail))
            except BotoCoreError as exc:
                self._forget(profile)
                found.append(_in_words(_no_credentials(profile, exc).detail))
        return found

    def method(self, profile: str) -> str:
        """Give how botocore came by the credentials of a profile, in its words. Empty: none."""
        found = self._own_credentials(profile)
        return "" if found is None else str(found.method)

    def chains(self, account: str) -> bool:
        """True if roles of an account are assumed with the keys of a role already.

        AWS does not count the role of an instance as one ("role chaining"). No keys: False,
        since ``assume`` says so better.
        """
        found = self._own_credentials(self._profile_for(account))
        return found is not None and bool(found.token) and found.method != "iam-role"

    def ask(
        self, profile: str, region: str, service: str, operation: str, **arguments: Any
    ) -> Said:
        """Ask AWS something with awsgate's own credentials, for the operator. Blocks.

        Whatever the service, it is asked at the endpoint that STS has here; none: AWS itself.
        """
        try:
            answer = self._base(profile).ask(
                service, region, self._endpoint_url, operation, arguments
            )
        except ClientError as exc:
            code = str(exc.response.get("Error", {}).get("Code", ""))
            # Others may quote the signed request.
            told = code in ("AccessDenied", "NoSuchEntity")
            text = str(exc.response["Error"].get("Message", ""))[:500] if told else ""
            return Said({}, code or "no error code", text, _date(exc.response))
        except Refusal:
            return Said({}, "GatewayCredentials")
        except BotoCoreError as exc:
            self._forget(profile)
            return Said({}, type(exc).__name__)
        return Said(answer, date=_date(answer))

    def assume(self, request: RoleRequest) -> AwsCredentials:
        """Call AssumeRole. Blocks for up to half a minute. Raises ``Refusal``."""
        if request.handoff.faults:
            raise _incomplete(request)
        profile = self._profile_for(request.account)
        region = sts_region(request.region, request.partition, regional=self._regional)
        arguments = _handed_on(request.handoff)
        if request.external_id:
            arguments["ExternalId"] = request.external_id
        try:
            answer = (
                self._base(profile)
                .client(region, self._endpoint_url)
                .assume_role(
                    RoleArn=request.role_arn,
                    RoleSessionName=request.session_name,
                    DurationSeconds=request.duration_s,
                    **arguments,
                )
            )
        # "from None": their texts may quote the signed request, and reach a log.
        except ClientError as exc:
            raise self._refuse(request, profile, exc) from None
        except (NoCredentialsError, ProfileNotFound) as exc:
            self._forget(profile)
            raise _no_credentials(profile, exc) from None
        except BotoCoreError as exc:
            # An STS that cannot be reached says nothing about the credentials, and
            # all users of the profile share them.
            if not isinstance(exc, (exceptions.ConnectionError, exceptions.HTTPClientError)):
                self._forget(profile)
            raise unavailable(request, "STS gave no answer", detail=type(exc).__name__) from None
        except Refusal:
            raise
        # One that breaks off, or says something else: whatever botocore's parts make of that.
        except Exception as exc:  # noqa: BLE001
            raise _unreadable(request, exc) from None
        try:
            return _credentials_of(answer["Credentials"])
        except (KeyError, TypeError, AttributeError) as exc:
            raise _unreadable(request, exc) from None

    def _profile_for(self, account: str) -> str:
        return self._profiles.get(account, self._profiles.get("*", ""))

    def _own_credentials(self, profile: str) -> Any:
        try:
            return self._base(profile).session.get_credentials()
        except BotoCoreError:
            self._forget(profile)
            return None

    def _base(self, profile: str) -> _Base:
        with self._lock:
            base = self._bases.get(profile)
            if base is None:
                base = self._bases[profile] = _Base(profile)
            return base

    def _forget(self, profile: str) -> None:
        # The next try reads the files again: the operator may have mended them.
        with self._lock:
            self._bases.pop(profile, None)

    def _refuse(self, request: RoleRequest, profile: str, exc: ClientError) -> Refusal:
        error = exc.response.get("Error", {})
        code = str(error.get("Code", "")) or "no error code"
        meta = exc.response.get("ResponseMetadata", {})
        detail = f"{code}, request id {meta.get('RequestId', 'unknown')}"
        if code in _OWN_FAULTS:
            self._forget(profile)
            return unavailable(
                request, f"AWS does not accept awsgate's own credentials ({code})", detail=detail
            )
        if code in _THROTTLED or int(meta.get("HTTPStatusCode", 500)) >= 500:
            return unavailable(request, f"STS answered {code}", detail=detail)
        message = str(error.get("Message", ""))
        if code == "AccessDenied":
            # Names awsgate's identity and the role; of the request it quotes nothing.
            detail += f": {message[:500]}"
        return Refusal(
            Code.ROLE_UNAVAILABLE,
            f"AWS does not let awsgate assume {request.role_arn} ({shown(code, message)})",
            hint=hint_for(code, message),
            status=403,
            detail=detail,
        )


def _credentials_of(found: Mapping[str, Any]) -> AwsCredentials:
    return AwsCredentials(
        access_key_id=found["AccessKeyId"],
        secret_access_key=found["SecretAccessKey"],
        session_token=found["SessionToken"],
        expires_at=found["Expiration"].timestamp(),
    )


def _unreadable(request: RoleRequest, exc: Exception) -> Refusal:
    return unavailable(request, "STS gave an answer that cannot be read", detail=type(exc).__name__)


def _date(answer: Mapping[str, Any]) -> str:
    return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))


def _handed_on(handoff: Handoff) -> dict[str, Any]:
    """Give the arguments of AssumeRole that are there at all: empty ones are faults to AWS."""
    given: dict[str, Any] = {
        "Policy": handoff.policy,
        "PolicyArns": [{"arn": arn} for arn in handoff.policy_arns],
        "Tags": [{"Key": key, "Value": value} for key, value in handoff.tags],
        "TransitiveTagKeys": list(handoff.transitive_tag_keys),
        "SourceIdentity": handoff.source_identity,
    }
    return {name: value for name, value in given.items() if value}


def _incomplete(request: RoleRequest) -> Refusal:
    # Without it the session could do more, or leave another trace, than the policy says.
    return Refusal(
        Code.ROLE_UNAVAILABLE,
        f"awsgate cannot assume {request.role_arn} in the way that its policy asks for",
        hint="tell the operator of the gateway: awsgate check shows what is wrong",
        status=403,
        detail="; ".join(request.handoff.faults),
    )


def _in_words(detail: str) -> str:
    """Leave out the class of the exception: people need what comes after it."""
    return re.sub(r"^[A-Za-z]+: ", "", detail)


def _no_credentials(profile: str, exc: BotoCoreError) -> Refusal:
    where = f"profile {profile!r}" if profile else "botocore's default chain"
    return Refusal(
        Code.ROLE_UNAVAILABLE,
        "awsgate has no AWS credentials of its own",
        hint="tell the operator of the gateway",
        status=503,
        detail=f"{type(exc).__name__}: {where} gives none; set AWS_PROFILE for the gateway, "
        "give its host a role, or name a profile under base_credentials in kind: gateway",
    )
