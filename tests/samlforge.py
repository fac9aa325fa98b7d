"""Makes SAML answers, right ones and others, independently of pysaml2: text, and xmlsec1.

What is signed and how is in the text itself (``SIGNATURE``): ``signed`` has xmlsec1 fill it
in. Without that the form alone can be tested.
"""

from __future__ import annotations

import base64
import datetime as dt
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

NOW = 1_795_000_000.0  # 2026-11-18T11:06:40Z
ISSUER = "https://idp.example.com/metadata"
SSO = "https://idp.example.com/sso"
ACS = "https://gate.example.com:8444/v1/saml/acs/corp"
REQUEST = "_request1"
ASSERTION_NODE = "urn:oasis:names:tc:SAML:2.0:assertion:Assertion"
RESPONSE_NODE = "urn:oasis:names:tc:SAML:2.0:protocol:Response"
SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
EMAIL = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"


def stamp(moment: float) -> str:
    return dt.datetime.fromtimestamp(moment, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Pair:
    """A key and its certificate, as PEM."""

    key: str = field(repr=False)
    cert: str

    @property
    def base64(self) -> str:
        return "".join(self.cert.strip().splitlines()[1:-1])


def pair(name: str = "idp", bits: int = 2048) -> Pair:
    """One key a name, made once for all tests. No ``bits``: of an elliptic curve."""
    return _pair(name, bits)


@cache
def _pair(name: str, bits: int) -> Pair:
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = (
        rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())
    )
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)])
    today = dt.datetime.now(dt.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    return Pair(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        cert.public_bytes(Encoding.PEM).decode(),
    )


def signature(about: str, *, method: str = RSA_SHA256, digest: str = SHA256, more: str = "") -> str:
    """A signature to be filled in."""
    return (
        '<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:SignedInfo>'
        '<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/>'
        f'<ds:SignatureMethod Algorithm="{method}"/><ds:Reference URI="#{about}"><ds:Transforms>'
        '<ds:Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/>'
        '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{digest}"/><ds:DigestValue/></ds:Reference></ds:SignedInfo>'
        f"<ds:SignatureValue/>{more}</ds:Signature>"
    )


@dataclass(frozen=True)
class Said:
    """What an answer says; every field as it should be, unless told otherwise."""

    issuer: str = ISSUER
    response_issuer: str = ISSUER
    audiences: Sequence[str] = (ACS,)
    recipient: str = ACS
    destination: str = ACS
    request: str | None = REQUEST
    confirmed_request: str | None = REQUEST
    id: str = "_assertion1"
    response_id: str = "_response1"
    name: str = "alice@example.com"
    format: str = EMAIL
    now: float = NOW
    begins: float = -5
    ends: float = 300
    session_ends: float | None = 3600
    status: str = "urn:oasis:names:tc:SAML:2.0:status:Success"
    attributes: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"groups": ["admins"]})
    friendly: Mapping[str, str] = field(default_factory=dict)
    signs: Mapping[str, str] = field(default_factory=dict)
    """``method`` and ``digest`` of the signatures."""
    sign_assertion: bool = True
    sign_response: bool = False
    condition: str = ""

    def assertion(self) -> str:
        signed = signature(self.id, **self.signs) if self.sign_assertion else ""
        irt = self._attribute("InResponseTo", self.confirmed_request)
        begins, ends = stamp(self.now + self.begins), stamp(self.now + self.ends)
        session = self._attribute(
            "SessionNotOnOrAfter",
            None if self.session_ends is None else stamp(self.now + self.session_ends),
        )
        audiences = "".join(
            f"<saml:AudienceRestriction><saml:Audience>{a}</saml:Audience>"
            "</saml:AudienceRestriction>"
            for a in self.audiences
        )
        return (
            '<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" '
            f'ID="{self.id}" Version="2.0" IssueInstant="{stamp(self.now)}">'
            f"<saml:Issuer>{self.issuer}</saml:Issuer>{signed}<saml:Subject>"
            f'<saml:NameID Format="{self.format}">{self.name}</saml:NameID>'
            f'<saml:SubjectConfirmation Method="{BEARER}"><saml:SubjectConfirmationData '
            f'Recipient="{self.recipient}" NotOnOrAfter="{ends}"{irt}/>'
            "</saml:SubjectConfirmation></saml:Subject>"
            f'<saml:Conditions NotBefore="{begins}" NotOnOrAfter="{ends}">{audiences}'
            f"{self.condition}</saml:Conditions>"
            f'<saml:AuthnStatement AuthnInstant="{stamp(self.now)}"{session}><saml:AuthnContext>'
            "<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
            "</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement>"
            f"<saml:AttributeStatement>{self._attributes()}</saml:AttributeStatement>"
            "</saml:Assertion>"
        )

    def text(self, assertion: str | None = None) -> str:
        """The whole answer; its signatures are still to be filled in."""
        signed = signature(self.response_id, **self.signs) if self.sign_response else ""
        irt = self._attribute("InResponseTo", self.request)
        return (
            '<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" '
            f'xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{self.response_id}" '
            f'Version="2.0" IssueInstant="{stamp(self.now)}" Destination="{self.destination}"{irt}>'
            f"<saml:Issuer>{self.response_issuer}</saml:Issuer>{signed}"
            f'<samlp:Status><samlp:StatusCode Value="{self.status}"/></samlp:Status>'
            f"{self.assertion() if assertion is None else assertion}</samlp:Response>"
        )

    def _attributes(self) -> str:
        found = []
        for name, values in self.attributes.items():
            friendly = self._attribute("FriendlyName", self.friendly.get(name))
            texts = "".join(f"<saml:AttributeValue>{v}</saml:AttributeValue>" for v in values)
            found.append(f'<saml:Attribute Name="{name}"{friendly}>{texts}</saml:Attribute>')
        return "".join(found)

    @staticmethod
    def _attribute(name: str, value: str | None) -> str:
        return "" if value is None else f' {name}="{value}"'


def form(text: str) -> str:
    """The field that a browser posts."""
    return base64.b64encode(text.encode()).decode()


def signed(text: str, *, by: str = "idp", id: str = "_assertion1", node: str = "") -> str:  # noqa: A002
    """Have xmlsec1 fill in the signature about ``id``."""
    node = node or (RESPONSE_NODE if id.startswith("_response") else ASSERTION_NODE)
    with TemporaryDirectory() as folder:
        key, source, made = (Path(folder) / name for name in ("key.pem", "in.xml", "out.xml"))
        key.write_text(pair(by, 0 if by == "curve" else 2048).key)
        source.write_text(text)
        command = ["xmlsec1", "--sign", "--privkey-pem", str(key), "--id-attr:ID", node]
        done = subprocess.run(
            [*command, "--node-id", id, "--output", str(made), str(source)],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        # The declaration that xmlsec1 writes says no encoding.
        return made.read_text().split("?>", 1)[1].strip()


def answer(said: Said, *, by: str = "idp") -> str:
    """A whole answer, signed as it says."""
    text = said.text()
    if said.sign_assertion:
        text = signed(text, by=by, id=said.id)
    if said.sign_response:
        text = signed(text, by=by, id=said.response_id)
    return text


BLOCK = {
    "gcm": "http://www.w3.org/2009/xmlenc11#aes256-gcm",
    "cbc": "http://www.w3.org/2001/04/xmlenc#aes256-cbc",
    "3des": "http://www.w3.org/2001/04/xmlenc#tripledes-cbc",
}
_SESSION_KEY = {"gcm": "aes-256", "cbc": "aes-256", "3des": "des-192"}
OAEP = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
RSA_1_5 = "http://www.w3.org/2001/04/xmlenc#rsa-1_5"


def encrypted(text: str, *, to: str, block: str = "gcm", transport: str = OAEP) -> str:
    """An ``EncryptedAssertion`` of an assertion that is already signed."""
    template = (
        '<xenc:EncryptedData xmlns:xenc="http://www.w3.org/2001/04/xmlenc#" '
        'Type="http://www.w3.org/2001/04/xmlenc#Element">'
        f'<xenc:EncryptionMethod Algorithm="{BLOCK[block]}"/>'
        '<ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><xenc:EncryptedKey>'
        f'<xenc:EncryptionMethod Algorithm="{transport}"/><xenc:CipherData><xenc:CipherValue/>'
        "</xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo><xenc:CipherData>"
        "<xenc:CipherValue/></xenc:CipherData></xenc:EncryptedData>"
    )
    with TemporaryDirectory() as folder:
        names = ("cert.pem", "in.xml", "template.xml", "out.xml")
        cert, source, pattern, made = (Path(folder) / name for name in names)
        cert.write_text(pair(to).cert)
        source.write_text(text)
        pattern.write_text(template)
        command = ["xmlsec1", "--encrypt", "--pubkey-cert-pem", str(cert), "--session-key"]
        command += [_SESSION_KEY[block], "--xml-data", str(source), "--output", str(made)]
        done = subprocess.run([*command, str(pattern)], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        inner = made.read_text().split("?>", 1)[1].strip()
    return (
        '<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">'
        f"{inner}</saml:EncryptedAssertion>"
    )


def document(**changes: Any) -> dict[str, Any]:
    """A connector's document, of a provider given by hand; ``None`` leaves a field out."""
    spec: dict[str, Any] = {
        "acs": ACS,
        "issuer": ISSUER,
        "sso": SSO,
        "cert": pair().cert,
        "attributes_to_roles": [{"name": "groups", "value": "admins", "roles": ["admin"]}],
        **changes,
    }
    spec = {name: value for name, value in spec.items() if value is not None}
    return {"kind": "saml", "version": "v2", "metadata": {"name": "corp"}, "spec": spec}


def metadata(*, cert: str = "", issuer: str = ISSUER, more: str = "", sso: str = SSO) -> str:
    """A provider's metadata."""
    return (
        '<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" '
        f'xmlns:ds="http://www.w3.org/2000/09/xmldsig#" entityID="{issuer}"{more}>'
        "<md:IDPSSODescriptor "
        'protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
        '<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>'
        f"{cert or pair().base64}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>"
        "</md:KeyDescriptor><md:SingleSignOnService Binding="
        f'"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{sso}"/>'
        "</md:IDPSSODescriptor></md:EntityDescriptor>"
    )


TYPED = (
    '<saml:AttributeValue xmlns:xs="http://www.w3.org/2001/XMLSchema" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string">'
)
PREFIXES = (
    '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#">'
    '<ec:InclusiveNamespaces xmlns:ec="http://www.w3.org/2001/10/xml-exc-c14n#" '
    'PrefixList="xs"/></ds:Transform></ds:Transforms>'
)
PLAIN = '<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms>'


def as_okta(text: str) -> str:
    """Values with a type, whose prefix the signature names."""
    return text.replace("<saml:AttributeValue>", TYPED).replace(PLAIN, PREFIXES)


def as_entra(text: str) -> str:
    """No prefixes: every element says its namespace, or is below one that does."""
    text = text.replace("xmlns:saml=", "xmlns=").replace("<saml:", "<").replace("</saml:", "</")
    text = text.replace("xmlns:ds=", "xmlns=").replace("<ds:", "<").replace("</ds:", "</")
    return text.replace('Z"', '.0000000Z"')


def as_shibboleth(text: str) -> str:
    """In lines, with a declaration."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return head + text.replace("><saml:", ">\n    <saml:").replace("><ds:", ">\n<ds:")


def _parted(text: str) -> tuple[str, str]:
    """An element without its signature, and that signature."""
    start, end = text.index("<ds:Signature "), text.index("</ds:Signature>") + 15
    return text[:start] + text[end:], text[start:end]


def _evil_assertion(mark: str = "") -> str:
    evil = Said(id="_evil", name="mallory@example.com", sign_assertion=False).assertion()
    return evil.replace("</saml:Issuer>", f"</saml:Issuer>{mark}", 1)


def wrappings() -> dict[str, str]:
    """Signature wrappings XSW1 to XSW8: in each a signature holds, and mallory is somebody else.

    After Somorovsky et al.; by text, so that what is signed stays as it was.
    """
    said = Said()
    assertion = signed(said.assertion())
    bare, mark = _parted(assertion)
    whole = signed(Said(sign_assertion=False, sign_response=True).text(), id="_response1")
    bare_whole, mark_whole = _parted(whole)
    evil_whole = bare_whole.replace("_response1", "_evil_r").replace("_assertion1", "_evil_a")
    evil_whole = evil_whole.replace("alice", "mallory")
    issuer, close = "</saml:Issuer>", "</ds:Signature>"
    inside = mark.replace(close, f"{bare}{close}")
    inside_whole = mark_whole.replace(close, f"{bare_whole}{close}")
    in_object = mark.replace(close, f"<ds:Object>{bare}</ds:Object>{close}")
    extensions = f"<samlp:Extensions>{_evil_assertion()}</samlp:Extensions><samlp:Status>"
    around = _evil_assertion().replace("</saml:Assertion>", f"{assertion}</saml:Assertion>")
    return {
        "XSW1": evil_whole.replace(issuer, issuer + inside_whole, 1),
        "XSW2": evil_whole.replace(issuer, issuer + bare_whole + mark_whole, 1),
        "XSW3": said.text(_evil_assertion() + assertion),
        "XSW4": said.text(around),
        "XSW5": said.text(_evil_assertion(mark) + bare),
        "XSW6": said.text(_evil_assertion(inside)),
        "XSW7": said.text(assertion).replace("<samlp:Status>", extensions),
        "XSW8": said.text(_evil_assertion(in_object)),
    }
