"""Who reaches the port: this machine alone, or others too, and then under which conditions.

What a client says to the proxy before TLS begins inside CONNECT (the host it wants, the
password of a tunnel) anybody on the way can read, and change. So on an address that other
machines reach the proxy speaks TLS itself, unless the operator says otherwise. And there
it opens no tunnel to just any host for just anybody: that would be a way into its network.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from awsgate.address import is_loopback
from awsgate.errors import SetupError
from awsgate.policy.settings import GatewaySpec


def is_open_to_others(spec: GatewaySpec) -> bool:
    """True if clients of other machines may connect."""
    return spec.tls or spec.plain_public


def is_open_relay(spec: GatewaySpec) -> bool:
    """True if whoever reaches the port may tunnel anywhere."""
    return spec.non_aws == "tunnel" and spec.tunnels.callers == "anybody"


def check_places(spec: GatewaySpec, hosts: Iterable[str]) -> None:
    """Refuse to be open to other machines in a way that nobody wants. Raises ``SetupError``.

    ``hosts`` are the addresses it would listen on; empty: all of them.
    """
    public = [host or "all addresses" for host in hosts if not is_loopback(host)]
    if not public:
        return
    faults = []
    if not is_open_to_others(spec):
        faults.append(
            "the proxy would not speak TLS there: set tls: true, and names: what clients call it "
            "(or plain_public: true, which lets them in without)"
        )
    if is_open_relay(spec):
        faults.append(
            "anybody there could tunnel through it to any host: set non_aws: refuse, "
            "or tunnels: {callers: known}"
        )
    if faults:
        raise SetupError(
            f"other machines reach {', '.join(public)}",
            hint="change kind: gateway, or listen on 127.0.0.1",
            faults=tuple(faults),
        )


def check_host_can_tls(spec: GatewaySpec) -> None:
    """Refuse ``tls: true`` under mitmdump, whose port is mitmproxy's own."""
    if spec.tls:
        raise SetupError(
            "tls: true of kind: gateway: under mitmdump the port of the proxy has no TLS",
            hint="start the gateway with awsgate run",
        )
