"""A shell that programs are started from, and the gateway it is compared with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from awsgate.address import gateway_url, is_loopback, proxy_address, split
from awsgate.session import KEY_PREFIX
from awsgate.variables import HTTPS_PROXIES

RENEW = 'eval "$(awsgate env --user USER --app APP --role ROLE)"'

Trust = Literal["ours", "earlier", "foreign", "unreadable"]
"""What a file of certificates holds: our root, one from before ``ca rotate``, neither."""
SessionState = Literal["none", "open", "expired", "unknown"]
"""What the gateway's session key makes of the gateway credentials in this shell."""


@dataclass(frozen=True, slots=True)
class Place:
    """The gateway that this shell is compared with."""

    address: str
    """``host:port``."""
    root_cert: str
    bundle: str
    tls: bool = False
    """Clients speak TLS to the proxy itself."""

    @property
    def url(self) -> str:
        """Give what HTTPS_PROXY should be."""
        return gateway_url(self.address, tls=self.tls)


@dataclass(frozen=True, slots=True)
class Shell:
    """Facts about the shell."""

    place: Place
    environ: Mapping[str, str] = field(repr=False)
    trust: Mapping[str, Trust] = field(default_factory=dict)
    """Variable -> what its file holds, for those that are set."""
    session: SessionState = "none"
    role_arn: str = ""
    """The role of an open session."""
    region_in_config: bool = False

    def value(self, *names: str) -> str:
        """Give the first that is set."""
        return next((self.environ[name] for name in names if self.environ.get(name)), "")

    @property
    def has_gateway_keys(self) -> bool:
        """True if the access key is one of a gateway."""
        return self.value("AWS_ACCESS_KEY_ID").startswith(KEY_PREFIX)

    def names_gateway(self, name: str) -> bool:
        """True if this variable is the gateway's URL."""
        return same_address(self.value(name), self.place.address)

    @property
    def is_client(self) -> bool:
        """True if programs started here are meant to go through the gateway."""
        return self.has_gateway_keys or any(map(self.names_gateway, HTTPS_PROXIES))


def same_address(url: str, address: str) -> bool:
    """True if ``url``, with or without scheme and password, is at ``address``."""
    found = proxy_address(url)
    if not found:
        return False
    (host, port), (wanted, number) = split(found), split(address.lower())
    return port == number and (host == wanted or (is_loopback(host) and is_loopback(wanted)))
