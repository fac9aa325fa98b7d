"""Who a client certificate says somebody is. TLS has verified it before.

    the name     the first URI of the subject alternative name, else its first email
                 address, else the common name, if that looks like neither: many issuers
                 prove alternative names alone, and let anybody choose a common name
    the roles    ``certificate_to_roles``: rows of patterns for the name, as for claims

The login ends with the certificate at the latest. Revocation is the issuer's business, and
a lock's.
"""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from awsgate.connect.ways import LoginRefused, roles_given
from awsgate.login import Identity
from awsgate.policy.rolemapping import roles_by_claims
from awsgate.policy.settings import ControlSpec
from awsgate.web.desk import CERTIFICATE

_LIKE_AN_ALTERNATIVE = re.compile(r"@|://|\A(?:urn|spiffe|mailto):", re.IGNORECASE)


def identity_of(der: bytes, spec: ControlSpec) -> Identity:
    """Give the identity of a verified certificate. Raises ``LoginRefused``."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        name, usage = _name_of(certificate), _usage_of(certificate)
    except (ValueError, x509.DuplicateExtension):
        raise LoginRefused("malformed", "the certificate cannot be read") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:  # with none, TLS takes it for anything
        raise LoginRefused(
            "wrong-type",
            "the certificate does not say that it is for clients",
            hint="it needs clientAuth as extended key usage",
        )
    if not name:
        raise LoginRefused(
            "bad-name",
            "the certificate names nobody",
            hint="it needs a URI or an email address as subject alternative name, or a common name "
            "that looks like neither",
        )
    roles = roles_given(lambda: roles_by_claims(spec.certificate_to_roles, {"subject": (name,)}))
    if not roles:
        raise LoginRefused(
            "no-role",
            "your certificate is good, and gives no role here",
            hint="the operator of the gateway adds a row to certificate_to_roles",
        )
    ends_at = int(certificate.not_valid_after_utc.timestamp())
    return Identity(name, CERTIFICATE, roles=roles, ends_at=ends_at)


def _name_of(certificate: x509.Certificate) -> str:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        pass
    else:
        for kind in (x509.UniformResourceIdentifier, x509.RFC822Name):
            found = extension.value.get_values_for_type(kind)
            if found:
                return str(found[0])
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    # Several common names have no order that all programs agree on.
    name = str(names[0].value) if len(names) == 1 else ""
    return "" if _LIKE_AN_ALTERNATIVE.search(name) else name


def _usage_of(certificate: x509.Certificate) -> x509.ExtendedKeyUsage:
    try:
        return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
