"""Options that are checked before anything is done: a region, a URL of a gateway."""

from __future__ import annotations

import re

_PROXY_URL = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})/?")


def check_region(region: str) -> None:
    """Raise ``typer.BadParameter`` if that is no region; empty is none at all."""
    if not region:
        return
    from awsgate.aws.partitions import region_partition

    if region_partition(region) is None:
        raise bad_parameter(f"{region!r} is not a region like us-east-1")


def check_proxy(url: str) -> None:
    """Raise ``typer.BadParameter`` if no client could use that; empty is none at all."""
    matched = _PROXY_URL.fullmatch(url)
    if url and (matched is None or not 0 < int(matched[1]) < 65536):
        # Not repeated: it may hold a password.
        raise bad_parameter("--proxy is not a URL like http://127.0.0.1:8080")


def checked_gateway(url: str) -> str:
    """Give the URL of a gateway in its one form. Raises ``typer.BadParameter``."""
    from awsgate.loginstore import gateway_url

    try:
        return gateway_url(url)
    except ValueError as exc:
        # Not repeated: it may hold a password.
        raise bad_parameter(f"--gateway is not a URL like https://gate:3081: {exc}") from None


_UPSTREAM_URL = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?/?")


def check_upstream(url: str) -> None:
    """Raise ``typer.BadParameter`` if that is no server in place of AWS; empty is none."""
    if url and _UPSTREAM_URL.fullmatch(url) is None:
        raise bad_parameter("--upstream is not a URL like http://127.0.0.1:5555")


def bad_parameter(message: str) -> Exception:
    """Give typer's exception for what was used wrongly; it takes long to import."""
    import typer

    return typer.BadParameter(message)
