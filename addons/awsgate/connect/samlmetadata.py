"""SAML metadata: what a provider says of itself, and what the gateway says of itself. Pure.

Only what a login needs is read: the provider's name, where it takes requests by
HTTP-Redirect, and the certificates that it signs with. A certificate is the holder of a
key here, as SAML has it: who issued it and until when counts for nothing.

Source: SAML 2.0 metadata, sections 2.3, 2.4 and 3.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from awsgate.connect.samlform import DSIG, SAMLP, XENC, XENC11, parse
from awsgate.connect.secrets import read_text
from awsgate.connect.ways import LoginRefused
from awsgate.errors import SetupError
from awsgate.policy.connectors import Saml, SamlSpec
from awsgate.policy.fields import provider_url

MD = "urn:oasis:names:tc:SAML:2.0:metadata"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
MAX_METADATA_BYTES = 1024**2  # Entra ID's has 100 KiB; that of a whole federation is refused
_MAX_CERTIFICATES = 16
_MIN_RSA_BITS = 2048
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider, as far as a login needs it."""

    issuer: str
    sso: str
    """Where a browser brings the gateway's request."""
    certificates: tuple[str, ...] = field(repr=False)
    """Base64 of DER, in lines: any of their keys may have signed."""


def entity_id(spec: SamlSpec) -> str:
    """Give the gateway's own name at this provider."""
    return spec.service_provider_issuer or spec.acs


def provider_by_hand(spec: SamlSpec) -> Provider:
    """Give the provider that issuer, sso and cert describe. Raises ``SetupError``."""
    text = read_text(spec.cert)
    found = _PEM.findall(text)
    if not found:
        raise SetupError(
            "cert of a saml connector is no certificate in PEM",
            hint="paste it with its BEGIN and END lines, or write file:///path",
        )
    try:
        return Provider(spec.issuer, spec.sso, tuple(map(_certificate, found)))
    except ValueError as exc:
        raise SetupError(f"cert of a saml connector: {exc}") from None


def read_metadata(text: bytes, *, issuer: str, now: float) -> Provider:
    """Read a provider's metadata; of several providers, ``issuer`` says which.

    Raises ``ValueError`` with what is wrong, for people.
    """
    try:
        # Many have comments in them; no text that is read here is parted by one.
        root = parse(text, most=MAX_METADATA_BYTES, comments=True)
    except LoginRefused as refused:
        raise ValueError(refused.message.replace("the answer", "the metadata")) from None
    if root.tag not in {f"{{{MD}}}EntityDescriptor", f"{{{MD}}}EntitiesDescriptor"}:
        raise ValueError("it is no SAML metadata")
    roles = [
        (entity, role)
        for entity in root.iter(f"{{{MD}}}EntityDescriptor")
        for role in entity.findall(f"{{{MD}}}IDPSSODescriptor")
        if SAMLP in role.get("protocolSupportEnumeration", "").split()
        and issuer in ("", entity.get("entityID"))
    ]
    if len(roles) != 1:
        which = f"named {issuer!r}" if issuer else "in it; issuer would say which"
        raise ValueError(f"it has {len(roles)} identity providers {which}")
    entity, role = roles[0]
    for element in (root, entity, role):
        _check_valid(element, now)
    return Provider(entity.get("entityID", ""), _sso(role), _certificates(role))


def sp_metadata(document: Saml) -> bytes:
    """Give the gateway's own metadata, which an identity provider can be set up with.

    Raises ``SetupError`` if a certificate of the document cannot be read.
    """
    spec = document.spec
    for prefix, namespace in (("md", MD), ("ds", DSIG)):
        register_namespace(prefix, namespace)
    entity = Element(f"{{{MD}}}EntityDescriptor", {"entityID": entity_id(spec)})
    role = SubElement(
        entity,
        f"{{{MD}}}SPSSODescriptor",
        {
            "AuthnRequestsSigned": str(spec.signing_key_pair is not None).lower(),
            "WantAssertionsSigned": "true",
            "protocolSupportEnumeration": SAMLP,
        },
    )
    for use, pair in (("signing", spec.signing_key_pair), ("encryption", spec.assertion_key_pair)):
        if pair is None:
            continue
        key = SubElement(role, f"{{{MD}}}KeyDescriptor", {"use": use})
        data = SubElement(SubElement(key, f"{{{DSIG}}}KeyInfo"), f"{{{DSIG}}}X509Data")
        SubElement(data, f"{{{DSIG}}}X509Certificate").text = own_certificate(pair.cert)
        if use == "encryption":
            for method in (XENC11 + "aes256-gcm", XENC + "aes256-cbc", XENC + "rsa-oaep-mgf1p"):
                SubElement(key, f"{{{MD}}}EncryptionMethod", {"Algorithm": method})
    SubElement(
        role,
        f"{{{MD}}}AssertionConsumerService",
        {"Binding": POST, "Location": spec.acs, "index": "0", "isDefault": "true"},
    )
    made: bytes = tostring(entity, encoding="utf-8", xml_declaration=True)
    return made


def own_certificate(cert: str) -> str:
    """Give base64 of the first certificate of a key pair. Raises ``SetupError``."""
    found = _PEM.findall(read_text(cert))
    try:
        return _certificate(found[0])
    except (IndexError, ValueError):
        raise SetupError("cert of a key pair of a saml connector is no PEM certificate") from None


def _sso(role: Element) -> str:
    services = role.findall(f"{{{MD}}}SingleSignOnService")
    urls = [s.get("Location", "") for s in services if s.get("Binding") == REDIRECT]
    if not urls:
        raise ValueError("its provider takes no requests by HTTP-Redirect")
    try:
        return provider_url(urls[0])
    except ValueError as exc:
        raise ValueError(f"its SingleSignOnService: {exc}") from None


def _certificates(role: Element) -> tuple[str, ...]:
    keys = role.findall(f"{{{MD}}}KeyDescriptor")
    signing = [key for key in keys if key.get("use", "signing") == "signing"]
    path = f"{{{DSIG}}}KeyInfo/{{{DSIG}}}X509Data/{{{DSIG}}}X509Certificate"
    texts = [c.text or "" for key in signing for c in key.findall(path)]
    found: dict[str, None] = {}
    fault = "its provider has no certificate to sign with"
    for text in texts[:_MAX_CERTIFICATES]:
        try:
            found[_certificate(text)] = None
        except ValueError as exc:
            fault = str(exc)
    if not found:
        raise ValueError(fault)
    return tuple(found)


def _certificate(text: str) -> str:
    """Give base64 of DER, in lines. Raises ``ValueError`` if its key is none to rely on."""
    try:
        certificate = x509.load_der_x509_certificate(
            base64.b64decode("".join(text.split()), validate=True)
        )
        key = certificate.public_key()
        encoded = certificate.public_bytes(Encoding.PEM).decode("ascii")
    except (binascii.Error, ValueError) as exc:
        raise ValueError("a certificate cannot be read") from exc
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        raise ValueError(f"a certificate has an RSA key of {key.key_size} bits, under 2048")
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise ValueError("a certificate has a key that is neither RSA nor of an elliptic curve")  # noqa: TRY004 - of the text
    return "\n".join(encoded.strip().splitlines()[1:-1])


def _check_valid(element: Element, now: float) -> None:
    until = element.get("validUntil")
    if until is None:
        return
    moment = datetime.fromisoformat(until.strip())
    if now >= (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp():
        raise ValueError(f"it was valid until {until[:40]}")


def with_query(url: str, query: str) -> str:
    """Give a URL with more to its query."""
    return f"{url}{'&' if urlsplit(url).query else '?'}{query}"
