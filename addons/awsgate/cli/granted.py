"""What users of this machine's policy were granted on request, for commands that ask it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from awsgate.errors import SetupError
from awsgate.login import LOCAL
from awsgate.policy import Policy
from awsgate.policy.grants import NO_GRANTS, GrantBook, with_roles
from awsgate.requestplace import RequestPlace


def grants_here(rules: Policy, state: Path) -> GrantBook:
    """Give all that is granted; nothing, and a warning, if the database does not answer."""
    place = RequestPlace(state, rules.gateway.requests)
    try:
        return place.grants()[0]
    except SetupError as exc:
        sys.stderr.write(f"awsgate: warning: {exc.message}: what was granted does not count here\n")
        return NO_GRANTS
    finally:
        place.forget()


def with_grants(rules: Policy, user: str, state: Path) -> Policy:
    """Give the policy as it is for a user of it now."""
    more = grants_here(rules, state).roles(user, LOCAL, time.time())
    return with_roles(rules, user, more)
