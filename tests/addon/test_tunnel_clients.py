"""The control API is told who is behind a tunnel to it, as long as there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from mitmproxy import connection, http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from tunnelrig import SSM, TunnelRig, asked, basic, connect, session


@pytest.fixture
def rig(tmp_path: Path) -> TunnelRig:
    made = TunnelRig(tmp_path)
    made.gateway.control_address = "127.0.0.1:9443"
    return made


def dialled(rig: TunnelRig, flow: http.HTTPFlow, port: int) -> None:
    """Call what is called when the gateway has dialled for a tunnel."""
    server = connection.Server(address=("127.0.0.1", 9443))
    server.sockname = ("127.0.0.1", port)
    data = ServerConnectionHookData(server=server, client=flow.client_conn)
    rig.hooks.tunnelling.server_connected(data)


async def test_the_control_api_is_told_who_comes_this_way(rig: TunnelRig) -> None:
    behind = rig.gateway.tunnel_clients.behind
    flow = await asked(rig, connect("awsgate.internal"))
    dialled(rig, flow, 40000)

    assert behind(("127.0.0.1", 40000)) == ("192.0.2.7", 50000)
    dialled(rig, flow, 40001)
    assert behind(("127.0.0.1", 40000)) == ("127.0.0.1", 40000), "there is one at a time"
    assert behind(("127.0.0.1", 40001)) == ("192.0.2.7", 50000)
    rig.hooks.client_disconnected(flow.client_conn)
    assert behind(("127.0.0.1", 40001)) == ("127.0.0.1", 40001)


async def test_of_no_other_connection_it_is_told_anything(rig: TunnelRig) -> None:
    aws = await asked(rig, connect("sts.eu-west-1.amazonaws.com"))
    ssm = await asked(rig, connect(SSM, basic(session())))
    for port, flow in ((40000, aws), (40001, ssm)):
        dialled(rig, flow, port)

        assert rig.gateway.tunnel_clients.behind(("127.0.0.1", port)) == ("127.0.0.1", port)
