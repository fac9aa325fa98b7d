"""Connection strings for Athena's ODBC and JDBC drivers, through the gateway.

The reference product's forms, with a session token: names of the drivers' own manuals
("Amazon Athena ODBC 2.x", "Amazon Athena JDBC 3.x", connection parameters).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from awsgate.cli.shells import Unwritable
from awsgate.variables import Keys, Way

WORKGROUP = "ATHENA_WORKGROUP"
"""The environment variable that names one, as in the reference product."""


def odbc(way: Way, keys: Keys, workgroup: str) -> str:
    """Give a connection string without a DSN. Values with special characters are braced."""
    proxy = urlsplit(way.proxy)
    parts = {
        "DRIVER": "Amazon Athena ODBC (x64)",
        "AwsRegion": way.region,
        "Workgroup": workgroup,
        "AuthenticationType": "IAM Credentials",
        "UID": keys.access_key_id,
        "PWD": keys.secret_access_key,
        "SessionToken": keys.session_token,
        "UseProxy": "1",
        "ProxyScheme": proxy.scheme,
        "ProxyHost": proxy.hostname or "",
        "ProxyPort": str(proxy.port),
        "TrustedCerts": way.bundle,
    }
    return "".join(f"{name}={_braced(name, value)};" for name, value in parts.items())


def jdbc(way: Way, keys: Keys, workgroup: str) -> str:
    """Give a JDBC URL. The driver trusts Java's store, which must hold the gateway's root."""
    proxy = urlsplit(way.proxy)
    parts = {
        "Region": way.region,
        "WorkGroup": workgroup,
        "User": keys.access_key_id,
        "Password": keys.secret_access_key,
        "SessionToken": keys.session_token,
        "ProxyHost": proxy.hostname or "",
        "ProxyPort": str(proxy.port),
    }
    for name, value in parts.items():
        if ";" in value or not value.isprintable():
            raise Unwritable(f"{name} holds a character that a JDBC URL cannot")
    return "jdbc:athena://" + "".join(f"{name}={value};" for name, value in parts.items())


def _braced(name: str, value: str) -> str:
    # "A DSN or connection string value enclosed with braces ({}) containing any of the
    # characters []{}(),;?*=!@ is passed intact to the driver"; } itself is doubled.
    if not value.isprintable():
        raise Unwritable(f"{name} holds a character that a connection string cannot")
    if re.search(r"[\[\]{}(),;?*=!@]", value) or value != value.strip():
        return "{" + value.replace("}", "}}") + "}"
    return value
