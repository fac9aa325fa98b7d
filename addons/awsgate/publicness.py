"""Who reaches the port: this machine alone, or others too, and then under which conditions.

What a client says to the proxy before TLS begins inside CONNECT (the host it wants, the
password of a tunnel) anybody on the way can read, and change. So on an address that other
machines reach the proxy speaks TLS itself, unless the operator says otherwise. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from awsgate.address import is_loopback
from awsgate.errors import SetupError
from awsgate.policy.settings import GatewaySpec


def is_open_to_others(spec: GatewaySpec) -> bool:
    """True if clients of other machines may connect."""
    return spec.tls or spec.plain_public


def check_places(spec: GatewaySpec, hosts: Iterable[str]) -> None:
    """Refuse to listen in plain where other machines reach it. Raises ``SetupError``.

    ``hosts`` are the addresses it would listen on; empty: all of them.
    """
    public = [host or "all addresses" for host in hosts if not is_loopback(host)]
    if public and not is_open_to_others(spec):
        raise SetupError(
            f"other machines reach {', '.join(public)}, and the gateway would not speak TLS there",
            hint="set tls: true in kind: gateway (and names: what clients call it), or listen "
            "on 127.0.0.1; plain_public: true lets them in without TLS",
        )


def check_host_can_tls(spec: GatewaySpec) -> None:
    """Refuse ``tls: true`` under mitmdump, whose port is mitmproxy's own."""
    if spec.tls:
        raise SetupError(
            "tls: true of kind: gateway: under mitmdump the port of the proxy has no TLS",
            hint="start the gateway with awsgate run",
        )
