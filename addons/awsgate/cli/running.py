"""What ``awsgate exec``, ``aws`` and ``credentials`` do, apart from reading their options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from awsgate.cli.bounded import check_within, narrowed
from awsgate.cli.checking import bad_parameter, check_proxy, check_region
from awsgate.cli.durations import seconds_of
from awsgate.cli.issuing import Wanted, issue
from awsgate.cli.no import saying_no
from awsgate.cli.places import certs_folder, policy_path, state_folder
from awsgate.cli.reuse import issued_lately
from awsgate.cli.where import gateway_meant
from awsgate.errors import SetupError


@dataclass(frozen=True, slots=True)
class Told:
    """The options that these commands share."""

    user: str = ""
    app: str = ""
    role: str = ""
    ttl: str = ""
    region: str = ""
    proxy: str = ""
    policy: Path | None = None
    state: Path | None = None
    certs: Path | None = None
    gateway: str = ""
    read_only: bool = False
    max_requests: int = 0

    def wanted(self, *, make_ca: bool = False) -> Wanted:
        """Give what is wanted. Raises ``typer.BadParameter``, ``SetupError`` and ``No``."""
        check_region(self.region)
        check_proxy(self.proxy)
        if self.max_requests < 0:
            raise bad_parameter("--max-requests is a number of requests, like 500")
        wanted = Wanted(
            *(self.user, self.app, self.role),
            ttl_s=seconds_of(self.ttl) if self.ttl else 0,
            policy=policy_path(self.policy),
            state=state_folder(self.state),
            certs=certs_folder(self.certs),
            make_ca=make_ca or self.certs is None,
            gateway=gateway_meant(self.gateway, self.policy, self.state, self.certs),
            read_only=self.read_only,
            max_requests=self.max_requests,
        )
        return narrowed(wanted)


def run(
    command: Sequence[str],
    told: Told,
    *,
    static: bool = False,
    local: bool = False,
    settings: tuple[str, ...] = (),
) -> NoReturn:
    """Become ``command`` as the role that was told."""
    from awsgate.cli.becoming import Run

    if settings and not local:
        raise bad_parameter("--set is for the gateway that --local starts")
    with saying_no():
        wanted = told.wanted(make_ca=local)
        if local and wanted.gateway:
            raise SetupError(
                f"--local starts a gateway here, and the login is at {wanted.gateway}",
                hint="leave --local out, or name the policy here with --policy",
            )
        # Static keys are new ones: they are all that the command will have.
        issued = issue(wanted) if static else issued_lately(wanted)
        check_within(issued)
    Run(wanted, issued, told.region, told.proxy, static, local, settings).become(command)


def print_credentials(told: Told) -> None:
    """Print the credentials as ``credential_process`` wants them."""
    with saying_no():
        issued = issued_lately(told.wanted())
        check_within(issued)
    keys = issued.keys
    said = {
        "Version": 1,
        "AccessKeyId": keys.access_key_id,
        "SecretAccessKey": keys.secret_access_key,
        "SessionToken": keys.session_token,
        "Expiration": keys.expiration,
    }
    print(json.dumps(said, indent=2))
