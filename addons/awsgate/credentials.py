"""The real credentials: asked of STS, kept in memory, renewed before they end.

    request -> CredentialCache -> Assumer (StsAssumer: AssumeRole with botocore)

``CredentialCache`` belongs to one event loop and never blocks it: STS is called in
threads of its own. ``StsAssumer`` is the only thing here that knows AWS.

STS is never reached through a proxy, whatever the environment says: a gateway whose
own environment names it as HTTPS_PROXY would wait for itself. AWS_CA_BUNDLE is left
in force, since the way to STS may need it. AWS_ENDPOINT_URL is not: the one setting
for that is ``sts.endpoint_url`` in ``kind: gateway``.

No secret leaves but in ``AwsCredentials``, whose repr does not show it. What STS says
goes to the audit only where it cannot quote a signed request.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound
from botocore.httpsession import URLLib3Session
from cachetools import LRUCache

from awsgate.aws.partitions import BY_ID
from awsgate.errors import Code, Refusal
from awsgate.session import KEY_PREFIX
from awsgate.version import __version__

if TYPE_CHECKING:
    from mypy_boto3_sts.client import STSClient

EXPIRY_MARGIN_S = 30.0  # a signed request must reach AWS while its token is good
REFRESH_SHARE = 0.25  # renew in the last quarter: 15 minutes of an hour, as botocore does
JITTER_SHARE = 0.05  # so that roles assumed together are not renewed together
DENIAL_MEMORY_S = 10.0  # long enough to spare STS a retry loop, short for a human
OUTAGE_MEMORY_S = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RoleRequest:
    """Everything that changes the STS call, and so the key of the cache."""

    role_arn: str
    session_name: str
    external_id: str
    """Empty: none. Never shown to a caller."""
    region: str
    """Where STS is called (``sts_region``)."""
    partition: str
    duration_s: int
    account: str
    """Account of the role; chooses the credentials that awsgate itself uses."""


@dataclass(frozen=True, slots=True)
class AwsCredentials:
    """Temporary credentials of an assumed role."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: float
    """Epoch seconds."""


class Assumer(Protocol):
    """Turns a request into credentials. Blocks; is called from several threads."""

    def assume(self, request: RoleRequest) -> AwsCredentials:
        """Give credentials, or raise ``Refusal``: status 403 if AWS said no, else 503."""
        ...


def sts_region(region: str, partition: str, *, regional: bool = True) -> str:
    """Give the region whose STS is to be asked for a target in ``region``.

    The same one, so that an outage elsewhere does not matter. Names that are no region
    (``aws-global``, empty) and ``regional=False`` give the partition's home region.
    """
    found = BY_ID[partition]
    if regional and found.region.fullmatch(region):
        return region
    return found.global_region


# --- the cache ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Held:
    credentials: AwsCredentials
    refresh_at: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """What became of one STS call. A value, so that no exception waits unread."""

    result: AwsCredentials | Refusal
    seconds: float


def _ignore(*_: object) -> None:
    pass


def _random_share() -> float:
    return secrets.randbelow(1 << 32) / (1 << 32)


class CredentialCache:
    """Credentials by request: one STS call at a time for each, renewed ahead.

    If a renewal fails, the credentials at hand serve until they end. A refusal is
    remembered for seconds. All methods belong to the event loop's thread.

    ``on_result`` gets, per request, ``hit`` (served from memory) or ``miss`` (waited for
    STS), and per STS call ``refresh`` (renewed ahead), ``denied`` (AWS said no) or
    ``failed`` (no answer). ``on_sts`` gets the seconds of each call, ``on_expiry`` the
    role ARN and the end of new credentials. ``jitter`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        assumer: Assumer,
        *,
        clock: Callable[[], float] = time.time,
        max_size: int = 1024,
        workers: int = 8,
        on_result: Callable[[str], None] = _ignore,
        on_sts: Callable[[float], None] = _ignore,
        on_expiry: Callable[[str, float], None] = _ignore,
        jitter: Callable[[], float] = _random_share,
    ) -> None:
        self._assumer = assumer
        self._clock = clock
        self._on_result, self._on_sts, self._on_expiry = on_result, on_sts, on_expiry
        self._jitter = jitter
        self._held: LRUCache[RoleRequest, _Held] = LRUCache(max_size)
        self._refused: LRUCache[RoleRequest, tuple[float, Refusal]] = LRUCache(max_size)
        self._flights: dict[RoleRequest, asyncio.Future[_Answer]] = {}
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="awsgate-sts")
        self._closed = False

    def peek(self, request: RoleRequest) -> AwsCredentials | None:
        """Give credentials that are at hand and good, or None: ask ``get``.

        Starts a renewal in the background if they end before long.
        """
        held, now = self._held.get(request), self._clock()
        if held is None or now >= held.credentials.expires_at - EXPIRY_MARGIN_S:
            return None
        if now >= held.refresh_at and self._may_start(request):
            self._start(request, refresh=True)
        self._on_result("hit")
        return held.credentials

    async def get(self, request: RoleRequest) -> AwsCredentials:
        """Give good credentials, from STS if need be. Raises ``Refusal``.

        Callers that wait for the same credentials share one call, and it goes on if
        any of them is cancelled.
        """
        credentials = self.peek(request)
        if credentials is not None:
            return credentials
        refusal = self._refusal(request)
        if refusal is not None:
            raise _copy(refusal)
        if self._closed:
            raise _shutting_down()
        flight = self._flights.get(request) or self._start(request, refresh=False)
        self._on_result("miss")
        try:
            answer = await asyncio.shield(flight)
        except asyncio.CancelledError:
            if flight.cancelled():  # by close(), not by whoever waits here
                raise _shutting_down() from None
            raise
        if isinstance(answer.result, Refusal):
            raise _copy(answer.result)
        return answer.result

    def close(self) -> None:
        """Start no more calls. Those under way end by themselves, within their timeouts."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _may_start(self, request: RoleRequest) -> bool:
        waits = request in self._flights or self._refusal(request) is not None
        return not waits and not self._closed

    def _start(self, request: RoleRequest, *, refresh: bool) -> asyncio.Future[_Answer]:
        loop = asyncio.get_running_loop()
        flight = loop.run_in_executor(self._pool, _ask, self._assumer, request)
        self._flights[request] = flight
        # The first callback of the future: memory is right before any waiter wakes.
        flight.add_done_callback(partial(self._landed, request, refresh))
        return flight

    def _landed(self, request: RoleRequest, refresh: bool, flight: asyncio.Future[_Answer]) -> None:
        self._flights.pop(request, None)
        if flight.cancelled():
            return
        answer = flight.result()
        self._on_sts(answer.seconds)
        if isinstance(answer.result, Refusal):
            self._remember_refusal(request, answer.result, refresh=refresh)
            return
        self._remember(request, answer.result)
        if refresh:
            self._on_result("refresh")

    def _remember(self, request: RoleRequest, credentials: AwsCredentials) -> None:
        now = self._clock()
        life = max(0.0, credentials.expires_at - now)
        share = REFRESH_SHARE + JITTER_SHARE * (2 * self._jitter() - 1)
        self._held[request] = _Held(credentials, credentials.expires_at - life * share)
        self._refused.pop(request, None)
        self._on_expiry(request.role_arn, credentials.expires_at)

    def _remember_refusal(self, request: RoleRequest, refusal: Refusal, *, refresh: bool) -> None:
        denied = refusal.status == 403
        memory_s = DENIAL_MEMORY_S if denied else OUTAGE_MEMORY_S
        self._refused[request] = (self._clock() + memory_s, refusal)
        self._on_result("denied" if denied else "failed")
        if refresh:  # no request is there to tell of it
            logger.warning(
                "renewal of %s failed, the credentials at hand serve on: %s (%s)",
                request.role_arn,
                refusal.message,
                refusal.detail,
            )

    def _refusal(self, request: RoleRequest) -> Refusal | None:
        until, refusal = self._refused.get(request, (0.0, None))
        return refusal if self._clock() < until else None


def _ask(assumer: Assumer, request: RoleRequest) -> _Answer:
    """Make one call, in a thread of the pool. Never raises: waiters must be told."""
    started = time.perf_counter()
    result: AwsCredentials | Refusal
    try:
        result = assumer.assume(request)
    except Refusal as refusal:
        result = refusal
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is no credentials
        result = _unavailable(request, "internal fault", detail=type(exc).__name__)
    return _Answer(result, time.perf_counter() - started)


def _copy(refusal: Refusal) -> Refusal:
    # One exception object raised many times would collect all their tracebacks.
    return Refusal(
        refusal.code,
        refusal.message,
        hint=refusal.hint,
        status=refusal.status,
        detail=refusal.detail,
    )


def _shutting_down() -> Refusal:
    return Refusal(
        Code.ROLE_UNAVAILABLE, "the gateway is shutting down", hint="try again", status=503
    )


# --- STS ------------------------------------------------------------------------

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
_HINTS = {
    "AccessDenied": "the role's trust policy must let awsgate's own identity call "
    "sts:AssumeRole (with the external id, if it asks for one), and so must that "
    "identity's own policy",
    "RegionDisabledException": "activate STS for this region in awsgate's own account, or "
    "set sts.regional to false in kind: gateway",
    "ValidationError": "the session may last no longer than the role's maximum, and no longer "
    "than one hour if awsgate's own identity is a role",
}


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

    ``base_credentials`` names a profile per account; the rest use botocore's default
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

    def assume(self, request: RoleRequest) -> AwsCredentials:
        """Call AssumeRole. Blocks for up to half a minute. Raises ``Refusal``."""
        profile = self._profiles.get(request.account, "")
        region = sts_region(request.region, request.partition, regional=self._regional)
        arguments: dict[str, Any] = {"ExternalId": request.external_id}
        try:
            answer = (
                self._base(profile)
                .client(region, self._endpoint_url)
                .assume_role(
                    RoleArn=request.role_arn,
                    RoleSessionName=request.session_name,
                    DurationSeconds=request.duration_s,
                    **(arguments if request.external_id else {}),
                )
            )
        # "from None": their texts may quote the signed request, and reach a log.
        except ClientError as exc:
            raise self._refuse(request, profile, exc) from None
        except (NoCredentialsError, ProfileNotFound) as exc:
            self._forget(profile)
            raise _no_credentials(profile, exc) from None
        except BotoCoreError as exc:
            self._forget(profile)
            raise _unavailable(request, "STS gave no answer", detail=type(exc).__name__) from None
        found = answer["Credentials"]
        return AwsCredentials(
            access_key_id=found["AccessKeyId"],
            secret_access_key=found["SecretAccessKey"],
            session_token=found["SessionToken"],
            expires_at=found["Expiration"].timestamp(),
        )

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
            return _unavailable(
                request, f"AWS does not accept awsgate's own credentials ({code})", detail=detail
            )
        if code in _THROTTLED or int(meta.get("HTTPStatusCode", 500)) >= 500:
            return _unavailable(request, f"STS answered {code}", detail=detail)
        if code == "AccessDenied":
            # Names awsgate's identity and the role; of the request it quotes nothing.
            detail += f": {str(error.get('Message', ''))[:500]}"
        return Refusal(
            Code.ROLE_UNAVAILABLE,
            f"AWS does not let awsgate assume {request.role_arn} ({code})",
            hint=_HINTS.get(code, "tell the operator of the gateway"),
            status=403,
            detail=detail,
        )


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


def _unavailable(request: RoleRequest, why: str, *, detail: str) -> Refusal:
    return Refusal(
        Code.ROLE_UNAVAILABLE,
        f"awsgate cannot get credentials of {request.role_arn} now: {why}",
        hint="try again; if it lasts, tell the operator of the gateway",
        status=503,
        detail=detail,
    )
