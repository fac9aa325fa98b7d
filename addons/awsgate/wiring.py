"""Everything put together, in one place, for every way to run the gateway.

The script under mitmdump, ``awsgate run`` and the tests all call ``assemble``.
Nothing here decides anything; it reads the policy, opens the state, makes the CA,
and hands each part what it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from awsgate.address import host_of, is_loopback, reachable, split
from awsgate.audit import AuditLog, Rotation
from awsgate.aws.endpoint import resolve_endpoint
from awsgate.aws.partitions import all_suffixes
from awsgate.bypass import Bypass, BypassRule, builtin_rules
from awsgate.ca import CA_NAME, CertificateAuthority, ensure_ca
from awsgate.consoledesk import ConsoleDesk
from awsgate.credentials import BaseAssumer, CredentialCache, RoleRequest
from awsgate.errors import SetupError
from awsgate.federation import Federation
from awsgate.gate import Gate
from awsgate.locks import LockStore
from awsgate.metrics import Metrics
from awsgate.metricsserver import MetricsServer, start_metrics_server
from awsgate.nextgateway import NextGateway, next_gateway
from awsgate.outgoing import Plan, account_of
from awsgate.policy import GatewaySpec, Policy
from awsgate.policy.grants import GrantBook
from awsgate.policy.locks import LockBook
from awsgate.policyfile import load_policy
from awsgate.policywatch import Reading, digest_of
from awsgate.publicness import is_open_relay
from awsgate.requestplace import RequestPlace
from awsgate.resolver import GuardedDialer
from awsgate.servercert import MAGIC_HOST, ServerCertificate, certificate_for
from awsgate.session import SessionKeys, SessionOpener, session_name_for
from awsgate.state import open_state
from awsgate.sts import StsAssumer, sts_region
from awsgate.tally import FOLDER as TALLY
from awsgate.tally import Tally
from awsgate.tunnelclients import TunnelClients
from awsgate.upstreamkeys import UpstreamAssumer
from awsgate.upstreams import Upstream, Upstreams, upstreams_of
from awsgate.usage import Usage
from awsgate.version import __version__

FIXED = (
    *("listen", "tls", "plain_public", "names", "certificate", "control"),
    *("metrics_listen", "sts", "base_credentials", "upstream_gateway"),
)
"""Settings of ``kind: gateway`` that a running gateway keeps until it is started again."""

ROLE_SESSION_S = 3600  # the most that AWS gives to a role that assumes a role


@dataclass(frozen=True, slots=True)
class Settings:
    """Where everything is. Absolute paths."""

    policy: Path
    state: Path
    certs: Path
    metrics: str | None = None
    """``host:port``, empty for off; None: as the policy says."""
    upstream: str = ""
    """URL for all AWS traffic, STS included; empty: AWS itself."""
    fallback: Path | None = None
    """A policy to start with if the one at ``policy`` is not in order."""


@dataclass(slots=True)
class Gateway:
    """A gateway that is ready to serve."""

    settings: Settings
    policy: Policy
    gate: Gate
    session_keys: SessionKeys
    credentials: CredentialCache
    audit: AuditLog
    audit_path: Path
    metrics: Metrics
    metrics_server: MetricsServer | None
    bypass: Bypass
    upstreams: Upstreams
    dialer: GuardedDialer
    ca: CertificateAuthority
    certificate: ServerCertificate | None
    """Of the gateway's own; None: the policy asks for none, or another process has it."""
    assumer: BaseAssumer
    locks: LockStore
    requests: RequestPlace
    digest: str
    """SHA-256 of the policy in force, as it stands in its files."""
    ahead: NextGateway | None = None
    """Where all calls are handed to; None: this gateway decides, and signs for AWS."""
    usage: Usage = field(default_factory=Usage)
    warnings: list[str] = field(default_factory=list)
    tunnel_clients: TunnelClients = field(default_factory=TunnelClients)
    control_address: str = ""
    """``host:port`` of the control API, with its real port; empty: off."""
    faults: tuple[str, ...] = ()
    """Why the policy's files are not in force as they are now; empty: they are."""

    @property
    def metrics_address(self) -> str:
        """Give ``host:port`` of /metrics; empty: off."""
        return self.metrics_server.address if self.metrics_server is not None else ""

    def tunnel_address(self, host: str, port: int) -> tuple[str, int]:
        """Give the address to dial for a tunnel. It may be private, never loopback."""
        if host == MAGIC_HOST:
            own = split(reachable(self.control_address))
            self.dialer.permit_explicit(*own)
            return own
        upstream = self.upstreams.find(host, port)
        if upstream is not None:
            return upstream.host, upstream.port
        self.dialer.permit_private(host)
        return host, port

    def upstream_for(self, host: str, port: int = 443) -> Upstream:
        """Give the server to dial for a request to the AWS host ``host``.

        Raises ``Refusal`` if that is the gateway ahead, and nobody has logged in there.
        """
        if self.ahead is not None:
            self.ahead.check()
            return Upstream(self.ahead.scheme, self.ahead.host, self.ahead.port)
        found = resolve_endpoint(host)
        if found is not None and found.vpc_endpoint:
            self.dialer.permit_private(host)
        return self.upstreams.for_aws(host, port)

    def cautions(self) -> list[str]:
        """Give what is valid and probably not meant in what is in force."""
        return _warnings(self.settings, self.policy)

    def take_policy(self, read: Reading) -> list[str]:
        """Put another policy in force, all of it at once; requests under way keep theirs.

        Gives the settings that were changed and stay as they are until a restart.
        """
        old, spec = self.policy.gateway, read.policy.gateway
        waiting = [name for name in FIXED if getattr(old, name) != getattr(spec, name)]
        limits = spec.limits
        if limits.connect_timeout_s != old.limits.connect_timeout_s:
            waiting.append("limits.connect_timeout_s")
            limits = limits.model_copy(update={"connect_timeout_s": old.limits.connect_timeout_s})
        kept = {name: getattr(old, name) for name in FIXED}
        spec = spec.model_copy(update={**kept, "limits": limits})
        policy = replace(read.policy, gateway=spec)
        bypass, upstreams = _bypass(spec), upstreams_of(spec, self.settings.upstream)
        gate = replace(self.gate, policy=policy)
        # From here on nothing can fail, and nothing waits.
        for upstream in upstreams.all():
            self.dialer.permit_explicit(upstream.host, upstream.port)
        self.metrics.know_users(policy.users)
        self.policy, self.gate, self.digest = policy, gate, read.digest
        self.bypass, self.upstreams = bypass, upstreams
        self.audit.rotation = rotation_of(spec)
        return waiting

    def take_locks(self, locks: LockBook) -> None:
        """Put the locks of the state folder in force, in place of those before."""
        self.gate = replace(self.gate, locks=locks)

    def take_grants(self, grants: GrantBook) -> None:
        """Put what was granted on request in force, in place of what was before."""
        self.requests.book = grants
        self.gate = replace(self.gate, grants=grants)

    def close(self) -> None:
        """Give back the port, the files and the threads."""
        if self.metrics_server is not None:
            self.metrics_server.close()
        self.credentials.close()
        self.requests.forget()
        self.audit.close()


def assemble(
    settings: Settings,
    *,
    assumer: BaseAssumer | None = None,
    new_cache: Callable[..., CredentialCache] = CredentialCache,
    is_worker: bool = False,
) -> Gateway:
    """Build the gateway. Raises ``SetupError`` with everything that is wrong.

    ``assumer`` asks somebody else than STS for role credentials: in a worker, its parent.
    That one also has the gateway's own certificate: a worker that starts later must not
    make another one.
    """
    policy = _policy_of(settings)
    spec = policy.gateway
    lost = lost_ca(settings)
    state = open_state(settings.state)
    store = LockStore(state.locks_folder)
    locks = store.open()
    ca, certificate = open_certificates(settings, spec, is_worker=is_worker)
    metrics = new_metrics(policy, ca)
    upstreams = upstreams_of(spec, settings.upstream)
    dialer = _dialer(spec, upstreams)
    ahead = _ahead(spec, settings, dialer)
    address = metrics_address(policy, settings)
    audit = AuditLog(state.audit_path, rotation_of(spec))
    assumer = assumer or base_assumer(policy, settings)
    usage, tally = Usage(), Tally(state.folder / TALLY)
    opener = SessionOpener(state.session_keys)
    place = RequestPlace(state.folder, spec.requests, reads=True)
    server = start_metrics_server(address, metrics.registry) if address else None
    return Gateway(
        settings=settings,
        policy=policy,
        gate=Gate(policy, opener, locks, grants=place.book, count=usage.count, tally=tally),
        requests=place,
        locks=store,
        digest=digest_of(policy),
        usage=usage,
        session_keys=state.session_keys,
        credentials=new_cache(
            assumer,
            on_result=metrics.credentials_result,
            on_sts=metrics.sts_call,
            on_expiry=metrics.credential_expiry,
        ),
        audit=audit,
        audit_path=state.audit_path,
        metrics=metrics,
        metrics_server=server,
        bypass=_bypass(spec),
        upstreams=upstreams,
        dialer=dialer,
        ca=ca,
        certificate=certificate,
        assumer=assumer,
        ahead=ahead,
        warnings=start_warnings(settings, policy, ca, certificate, lost=lost),
    )


def _dialer(spec: GatewaySpec, upstreams: Upstreams) -> GuardedDialer:
    dialer = GuardedDialer(connect_timeout_s=spec.limits.connect_timeout_s)
    for upstream in upstreams.all():
        dialer.permit_explicit(upstream.host, upstream.port)
    return dialer


def open_certificates(
    settings: Settings, spec: GatewaySpec, *, is_worker: bool = False
) -> tuple[CertificateAuthority, ServerCertificate | None]:
    """Give the CA, and the certificate of the gateway's own where the policy asks for one."""
    now = datetime.now(UTC)
    # First: its root joins the CA's bundles.
    own = None if is_worker else certificate_for(settings.certs, spec, now=now)
    return ensure_ca(settings.certs, suffixes=all_suffixes(), now=now), own


def _ahead(spec: GatewaySpec, settings: Settings, dialer: GuardedDialer) -> NextGateway | None:
    found = next_gateway(spec.upstream_gateway, settings.state, settings.upstream)
    if found is not None:
        dialer.permit_explicit(found.host, found.port)
    return found


def _policy_of(settings: Settings) -> Policy:
    try:
        return load_policy(settings.policy)
    except SetupError:
        if settings.fallback is None:
            raise
        return load_policy(settings.fallback)


def role_request(policy: Policy, plan: Plan) -> RoleRequest:
    """Give the question to STS for a plan: the role, as whom, and where to ask.

    Of a plan that goes on to another gateway it is a question to that one.
    """
    # Regional, so that a request depends on no region but the one it goes to.
    region = sts_region(plan.region, plan.partition, regional=policy.gateway.sts.regional)
    return RoleRequest(
        role_arn=plan.role_arn,
        session_name=session_name_for(plan.user),
        external_id=plan.external_id,
        # One set serves in all regions there, and lasts as long as that gateway says.
        region=region if plan.hop is None else "",
        partition=plan.partition,
        duration_s=ROLE_SESSION_S if plan.hop is None else 0,
        account=account_of(plan.role_arn),
        handoff=plan.handoff,
        hop=plan.hop,
    )


def rotation_of(spec: GatewaySpec) -> Rotation:
    """Give when a file of the audit is full, as the policy says."""
    return Rotation(spec.audit.rotate_bytes, spec.audit.keep)


def _bypass(spec: GatewaySpec) -> Bypass:
    own = [BypassRule(entry.hosts, entry.reason) for entry in spec.bypass]
    return Bypass([*own, *builtin_rules()])


def base_assumer(policy: Policy, settings: Settings) -> BaseAssumer:
    """Give what asks STS, as policy and settings say; or the gateway ahead."""
    ahead = policy.gateway.upstream_gateway
    if ahead is not None:
        return UpstreamAssumer(ahead, settings.state)
    return sts_assumer(policy, settings)


def sts_assumer(policy: Policy, settings: Settings) -> StsAssumer:
    """Give what asks STS, as policy and settings say."""
    spec = policy.gateway
    profiles = {account: base.profile for account, base in spec.base_credentials.items()}
    return StsAssumer(spec.sts.endpoint_url or settings.upstream, spec.sts.regional, profiles)


def console_desk(policy: Callable[[], Policy], settings: Settings) -> ConsoleDesk | None:
    """Give what signs users in to AWS's console; None: the gateway ahead has AWS's keys.

    ``policy`` gives the one in force.
    """
    now = policy()
    if now.gateway.upstream_gateway is not None:
        return None

    def server_of(host: str) -> str:
        upstreams = upstreams_of(policy().gateway, settings.upstream)
        return upstreams.for_aws(host, 443).url

    return ConsoleDesk(sts_assumer(now, settings), Federation(server_of))


def metrics_address(policy: Policy, settings: Settings) -> str:
    """Give where metrics are served; empty: nowhere."""
    return policy.gateway.metrics_listen if settings.metrics is None else settings.metrics


def new_metrics(policy: Policy, ca: CertificateAuthority) -> Metrics:
    """Give the metrics of a process that starts."""
    metrics = Metrics(version=__version__, known_users=policy.users)
    metrics.ca_expiry(ca.not_after.timestamp())
    return metrics


def _new_ca(ca: CertificateAuthority, *, lost: bool) -> list[str]:
    return [f"there was no CA, so a new one was made: give {ca.root_cert} to all clients"] * lost


# Hosts of which no sensible bypass rule wants one: what goes there is the product.
_PROBES = ("sts.us-east-1.amazonaws.com", "iam.amazonaws.com", "s3.eu-west-1.amazonaws.com")


def lost_ca(settings: Settings) -> bool:
    """True if a CA has gone: clients have it already, and another one breaks them all."""
    return settings.state.exists() and not (settings.certs / CA_NAME).exists()


def start_warnings(
    settings: Settings,
    policy: Policy,
    ca: CertificateAuthority,
    certificate: ServerCertificate | None,
    *,
    lost: bool,
) -> list[str]:
    """Give what an operator should know at the start. ``lost``: the CA had to be made anew."""
    own = certificate.warnings if certificate is not None else ()
    return [*_new_ca(ca, lost=lost), *ca.warnings, *own, *_warnings(settings, policy)]


def _warnings(settings: Settings, policy: Policy) -> list[str]:
    found, bypass = [], _bypass(policy.gateway)
    if settings.upstream:
        found.append(f"all AWS traffic goes to {settings.upstream}, not to AWS")
    past = [host for host in _PROBES if bypass.match(host, 443) is not None]
    if past:
        found.append(f"a bypass rule tunnels {past[0]} past the policy, unseen")
    spec = policy.gateway
    if spec.tls and not (spec.names or spec.certificate) and not is_loopback(host_of(spec.listen)):
        found.append("spec.names of kind: gateway is empty: clients elsewhere cannot verify it")
    if not is_loopback(host_of(spec.listen)) and is_open_relay(spec):
        found.append("whoever reaches the gateway may tunnel anywhere: set non_aws: refuse")
    if spec.plain_public and not spec.tls:
        found.append("plain_public: what clients say to the proxy itself is in the clear")
    if policy.warnings:
        found.append(f"{len(policy.warnings)} in the policy: awsgate check shows them")
    return found
