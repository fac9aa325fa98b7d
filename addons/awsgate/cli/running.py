"""What ``awsgate exec``, ``aws`` and ``credentials`` do, apart from reading their options."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from awsgate.cli.checking import bad_parameter, check_proxy, check_region
from awsgate.cli.durations import seconds_of
from awsgate.cli.issuing import Wanted, issue
from awsgate.cli.no import saying_no
from awsgate.cli.places import certs_folder, policy_path, state_folder
from awsgate.cli.reuse import issued_lately


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

    def wanted(self, *, make_ca: bool = False) -> Wanted:
        """Give what is wanted. Raises ``typer.BadParameter``."""
        check_region(self.region)
        check_proxy(self.proxy)
        return Wanted(
            *(self.user, self.app, self.role),
            ttl_s=seconds_of(self.ttl) if self.ttl else 0,
            policy=policy_path(self.policy),
            state=state_folder(self.state),
            certs=certs_folder(self.certs),
            make_ca=make_ca or self.certs is None,
        )


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
    wanted = told.wanted(make_ca=local)
    with saying_no():
        # Static keys are new ones: they are all that the command will have.
        issued = issue(wanted) if static else issued_lately(wanted)
    Run(wanted, issued, told.region, told.proxy, static, local, settings).become(command)


def print_credentials(told: Told) -> None:
    """Print the credentials as ``credential_process`` wants them."""
    with saying_no():
        keys = issued_lately(told.wanted()).keys
    said = {
        "Version": 1,
        "AccessKeyId": keys.access_key_id,
        "SecretAccessKey": keys.secret_access_key,
        "SessionToken": keys.session_token,
        "Expiration": keys.expiration,
    }
    print(json.dumps(said, indent=2))
