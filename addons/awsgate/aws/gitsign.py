"""The password that CodeCommit takes from git: a signature of the repository's path.

A form of Signature Version 4 for a method, ``GIT``, that HTTP does not have: no query,
no header but Host, no body hash, and a time without its ``Z`` in the string to sign. It
says neither whether git reads or writes, nor how long it is good: 15 minutes, which is
CodeCommit's own rule.

Source: no page of AWS's describes it; ``awscli.customizations.codecommit`` makes it, and
``tests/test_artefacts.py`` compares the two.
"""

from __future__ import annotations

from datetime import datetime

from awsgate.aws import sigv4

SERVICE = "codecommit"
METHOD = "GIT"
LIFE_S = 900


def git_username(keys: sigv4.SigningKeys) -> str:
    """Give the user name: the key id, and behind ``%`` the session token if there is one."""
    return "%".join(filter(None, (keys.access_key_id, keys.session_token)))


def git_password(
    host: str, path: str, *, keys: sigv4.SigningKeys, region: str, now: datetime
) -> str:
    """Give the password for ``https://<host><path>``. ``host`` carries no port."""
    timestamp = sigv4.amz_date(now).removesuffix("Z")
    scope = f"{timestamp[:8]}/{region}/{SERVICE}/{sigv4.TERMINATOR}"
    # No hash stands for a body: the canonical request ends with the signed headers.
    canonical = sigv4.canonical_request(
        METHOD, path.encode(), b"", f"host:{host}\n".encode(), ("host",), ""
    )
    key = sigv4.signing_key(keys.secret_access_key, timestamp[:8], region, SERVICE)
    return f"{timestamp}Z{sigv4.signature(key, sigv4.string_to_sign(canonical, timestamp, scope))}"
