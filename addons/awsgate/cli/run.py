"""``awsgate run``: the gateway, as a server of several processes."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import typer

from awsgate.cli.options import (
    CertsOption,
    PolicyOption,
    StateOption,
    certs_folder,
    policy_path,
    state_folder,
)
from awsgate.server.scratch import scratch_folder


class Core(StrEnum):
    """What ``--core`` may say; ``server.orders`` has the same names."""

    OWN = "own"
    MITMPROXY = "mitmproxy"


def run(
    workers: Annotated[int, typer.Option(help="Processes. Default: one a processor.", min=0)] = 0,
    listen: Annotated[str, typer.Option(help="host:port. Default: the policy's.")] = "",
    metrics: Annotated[
        str | None, typer.Option(help="host:port of /metrics; empty: off. Default: the policy's.")
    ] = None,
    upstream: Annotated[str, typer.Option(help="Send AWS traffic to this URL: an emulator.")] = "",
    drain: Annotated[
        float, typer.Option(help="Seconds for requests under way when it is stopped.", min=0)
    ] = 30.0,
    core: Annotated[
        Core, typer.Option(help="Who speaks HTTP and TLS: awsgate itself, or mitmproxy.")
    ] = Core.OWN,
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
) -> None:
    """Run the gateway: one port, a process for each processor, until SIGTERM.

    SIGHUP reads the policy again; a change of its files does so too.

    Example: awsgate run --listen 127.0.0.1:8080
    """
    with scratch_folder() as scratch:
        metrics_folder, policies = scratch / "metrics", scratch / "policies"
        metrics_folder.mkdir()
        policies.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics_folder)
        from awsgate.server.command import serve
        from awsgate.wiring import Settings

        settings = Settings(
            policy=policy_path(policy),
            state=state_folder(state),
            certs=certs_folder(certs),
            metrics=metrics,
            upstream=upstream,
        )
        code = serve(
            settings,
            workers=workers,
            listen=listen,
            drain_s=drain,
            scratch=policies,
            core=core,
        )
    raise typer.Exit(code)
