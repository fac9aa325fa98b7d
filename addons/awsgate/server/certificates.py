"""Leaf certificates: one for all buckets of a region, and many kept.

mitmproxy makes a certificate for each host name, and keeps a hundred. A bucket has a host
name of its own, so a program that walks through buckets would have one made for each.
"""

from __future__ import annotations

import re

from cryptography import x509
from mitmproxy import certs
from mitmproxy.addons import tlsconfig
from mitmproxy.proxy import context

STORE_CAP = 2_000

# A label of a wildcard stands for one label: a bucket with dots needs its own.
_BUCKET = re.compile(
    r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9](\.s3(?:[.-][a-z0-9.-]+)?\.amazonaws\.com(?:\.cn)?)"
)


def covering_name(sni: str) -> str:
    """Give the name that the certificate for ``sni`` is to bear: itself, or a wildcard."""
    matched = _BUCKET.fullmatch(sni)
    return f"*{matched[1]}" if matched else sni


def leaf_for(store: certs.CertStore, covering: str) -> certs.CertStoreEntry:
    """Give the certificate that bears a name, made if need be."""
    names: list[x509.GeneralName] = [x509.DNSName(covering)]
    return store.get_cert(covering, names, None, None)


class Certificates(tlsconfig.TlsConfig):
    """mitmproxy's addon, with wildcards for the buckets of S3."""

    name = "tlsconfig"

    def configure(self, updated: set[str]) -> None:
        """As mitmproxy's; then keep more than a hundred certificates."""
        super().configure(updated)  # type: ignore[no-untyped-call]
        self.certstore.STORE_CAP = STORE_CAP

    def get_cert(self, conn_context: context.Context) -> certs.CertStoreEntry:
        """Give the certificate for a client connection."""
        sni = (conn_context.client.sni or "").lower()
        covering = covering_name(sni)
        if covering == sni:
            return super().get_cert(conn_context)
        return leaf_for(self.certstore, covering)
