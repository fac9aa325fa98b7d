"""The form of a SAML answer: what is looked at, before any signature is.

A signature says that some element of a document is the provider's. Nearly all that went
wrong with SAML went wrong beside it: another element was read than the one that is signed
(signature wrapping), or two readers read it in two ways (comments, entities). So a document
that could be read in two ways is refused here, whatever is signed in it:

    one ``Response``, its root; one ``Assertion`` in all of it, at its place
    a ``Signature`` only right below these two, after their ``Issuer``, and about its parent
    every id once; no ``Object``, no other place where an element could hide
    no DTD, entity, comment or processing instruction; UTF-8; bounded
    of XML Signature and Encryption the elements and algorithms that are needed, no other

Nothing here is proved. Pure, but for ``defusedxml``, which is loaded when it is needed.

Sources: SAML 2.0 core, section 5.4; Somorovsky et al., "On Breaking SAML" (USENIX 2012),
for the wrappings XSW1 to XSW8; CERT VU#475445 for comments.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from awsgate.connect.ways import LoginRefused

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
DSIG = "http://www.w3.org/2000/09/xmldsig#"
DSIG_MORE = "http://www.w3.org/2001/04/xmldsig-more#"
XENC = "http://www.w3.org/2001/04/xmlenc#"
XENC11 = "http://www.w3.org/2009/xmlenc11#"
EXC_C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"

MAX_BYTES = 256 * 1024  # some hundreds of groups, in ADFS's long form, are 100 KiB
_MAX_ELEMENTS = 10_000
_MAX_DEPTH = 64

SIGNATURES = frozenset(
    DSIG_MORE + name
    for name in (
        *("rsa-sha256", "rsa-sha384", "rsa-sha512"),
        *("ecdsa-sha256", "ecdsa-sha384", "ecdsa-sha512"),
    )
)
DIGESTS = frozenset({XENC + "sha256", DSIG_MORE + "sha384", XENC + "sha512"})
_CANONICAL = frozenset({EXC_C14N, EXC_C14N + "WithComments"})
_TRANSFORMS = _CANONICAL | {DSIG + "enveloped-signature"}
_AUTHENTICATED = frozenset(XENC11 + f"aes{bits}-gcm" for bits in (128, 192, 256))
_CIPHERS = _AUTHENTICATED | {XENC + f"aes{bits}-cbc" for bits in (128, 192, 256)}
# Not rsa-1_5: whoever may send answers could decrypt with it (Bleichenbacher).
_KEY_TRANSPORTS = frozenset({XENC + "rsa-oaep-mgf1p", XENC11 + "rsa-oaep"})

# Elements of these namespaces that may stand anywhere in an answer.
_KNOWN = {
    DSIG: re.compile(
        "Signature|SignedInfo|CanonicalizationMethod|SignatureMethod|Reference|Transforms|"
        "Transform|DigestMethod|DigestValue|SignatureValue|KeyInfo|KeyName|KeyValue|"
        "RSAKeyValue|Modulus|Exponent|X509Data|X509Certificate|X509IssuerSerial|"
        "X509IssuerName|X509SerialNumber|X509SKI|X509SubjectName|RetrievalMethod"
    ),
    XENC: re.compile(
        "EncryptedData|EncryptedKey|EncryptionMethod|KeySize|OAEPparams|CipherData|"
        "CipherValue|ReferenceList|DataReference|CarriedKeyName"
    ),
}
_ISSUER = f"{{{SAML}}}Issuer"
_SIGNATURE = f"{{{DSIG}}}Signature"
_ASSERTION = f"{{{SAML}}}Assertion"
_ENCRYPTED = f"{{{SAML}}}EncryptedAssertion"
_PLACES = (
    *(_ISSUER, _SIGNATURE, f"{{{SAMLP}}}Extensions", f"{{{SAMLP}}}Status"),
    *(_ASSERTION, _ENCRYPTED),
)
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,255}")
_XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
_ENCODING = re.compile(rb"""\A\s*<\?xml[^>]*\sencoding\s*=\s*["'](?!utf-8["'])""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose form is right. Nothing of it is proved."""

    text: bytes = field(repr=False)
    """As it came: what the signatures are about."""
    response: Element = field(repr=False)
    assertion: Element | None = field(repr=False)
    """None: it is encrypted."""

    @property
    def authenticated(self) -> bool:
        """True if what is encrypted could not have been changed unseen."""
        methods = self.response.iterfind(f".//{{{XENC}}}EncryptedData/{{{XENC}}}EncryptionMethod")
        return all(method.get("Algorithm") in _AUTHENTICATED for method in methods)


def refuse(reason: str, message: str, *, hint: str = "") -> NoReturn:
    """Raise ``LoginRefused``."""
    raise LoginRefused(reason, message, hint=hint)


def read_form(value: str) -> Answer:
    """Read the field ``SAMLResponse`` of the form that a browser posts."""
    packed = "".join(value.split())
    if not packed:
        refuse("malformed", "there is no SAMLResponse in what the browser sent")
    if len(packed) > MAX_BYTES * 4 // 3 + 4:
        refuse("oversized", f"the answer is longer than {MAX_BYTES // 1024} KiB")
    try:
        text = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        refuse("malformed", "the answer is not base64")
    return read_answer(text)


def read_answer(text: bytes, *, decrypted: bool = False) -> Answer:
    """Read an answer. ``decrypted``: its assertion stands where the encrypted one stood."""
    response = parse(text)
    if response.tag != f"{{{SAMLP}}}Response":
        refuse("malformed", "the answer is no SAML 2.0 Response")
    if response.get("Version") != "2.0":
        refuse("malformed", "the answer is not of SAML version 2.0")
    _check_elements(response)
    _check_ids(response)
    assertion = _the_assertion(response, decrypted=decrypted)
    owners = [response] if assertion is None else [response, assertion]
    _check_signatures(response, owners)
    _check_encryption(response)
    return Answer(text, response, assertion)


def signature_of(owner: Element) -> Element | None:
    """Give the signature about an element, if there is one."""
    return owner.find(_SIGNATURE)


def parse(text: bytes, *, most: int = MAX_BYTES, comments: bool = False) -> Element:
    """Parse XML in which nothing can be read in two ways, and nothing is fetched.

    ``most`` bytes. ``comments``: they may be there, and are left out. Raises ``LoginRefused``.
    """
    from defusedxml import DefusedXmlException, ElementTree

    if len(text) > most:
        refuse("oversized", f"the answer is longer than {most // 1024} KiB")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        refuse("malformed", "the answer is not UTF-8")
    if _ENCODING.search(text):
        refuse("malformed", "the answer is not UTF-8")
    parser = ElementTree.DefusedXMLParser(
        target=_Builder(comments=comments),
        forbid_dtd=True,
        forbid_entities=True,
        forbid_external=True,
    )
    try:
        parser.feed(text)
        root: Element = parser.close()
    except DefusedXmlException:
        refuse("dtd", "the answer has a document type or entities in it")
    except (ParseError, ValueError):
        refuse("malformed", "the answer is not well-formed XML")
    return root


class _Builder(TreeBuilder):
    """Builds a tree with bounds. A comment would part a text: so there are none."""

    def __init__(self, *, comments: bool) -> None:
        super().__init__()
        self._comments = comments
        self._depth = 0
        self._elements = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self._depth += 1
        self._elements += 1
        if self._depth > _MAX_DEPTH or self._elements > _MAX_ELEMENTS:
            refuse("oversized", "the answer has too many elements")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Element:
        self._depth -= 1
        return super().end(tag)

    def comment(self, _text: Any, /) -> Any:
        if not self._comments:
            refuse("comment", "the answer has a comment in it")

    def pi(self, _target: Any, _text: Any = None, /) -> Any:
        if not self._comments:
            refuse("comment", "the answer has a processing instruction in it")


def _check_elements(response: Element) -> None:
    for element in response.iter():
        namespace, _, name = element.tag.rpartition("}")
        known = _KNOWN.get(namespace[1:])
        if known is not None and not known.fullmatch(name):
            reason = "wrapped" if name == "Object" else "malformed"
            refuse(reason, f"the answer has an element {name} in it, which is not for logins")
    for method in response.iter(f"{{{DSIG}}}RetrievalMethod"):
        if not method.get("URI", "").startswith("#"):
            refuse("malformed", "the answer refers to a key elsewhere")


def _check_ids(response: Element) -> None:
    # xmlsec1 takes an ID attribute of any namespace for an id.
    seen: set[str] = set()
    for element in response.iter():
        for name, value in element.attrib.items():
            if name.rpartition("}")[2].lower() != "id":
                continue
            if value in seen or (name[0] == "{" and name != _XML_ID):
                refuse("wrapped", "the answer has one id twice, or one of a strange kind")
            seen.add(value)


def _the_assertion(response: Element, *, decrypted: bool) -> Element | None:
    if sum(1 for _ in response.iter(f"{{{SAMLP}}}Response")) > 1:
        refuse("wrapped", "the answer has another answer in it")
    places = [_PLACES.index(e.tag) if e.tag in _PLACES else -1 for e in response]
    plain = list(response.iter(_ASSERTION))
    encrypted = list(response.iter(_ENCRYPTED))
    home = response
    if decrypted and encrypted:
        home, encrypted = encrypted[0], encrypted[1:]
    if len(plain) + len(encrypted) > 1:
        refuse("wrapped", "the answer has more than one assertion in it")
    if any(e not in list(home) for e in plain) or any(e not in list(response) for e in encrypted):
        refuse("wrapped", "the answer has an assertion at a place where none belongs")
    if places != sorted(places) or -1 in places:
        refuse("malformed", "the parts of the answer are not in SAML's order")
    if not plain and not encrypted and not decrypted:
        return _without_assertion(response)
    return plain[0] if plain else None


def _without_assertion(response: Element) -> NoReturn:
    """Refuse an answer that says no. Its words are anybody's: only SAML's codes are told."""
    codes = [c.get("Value", "") for c in response.iter(f"{{{SAMLP}}}StatusCode")]
    said = [c.rpartition(":")[2] for c in codes if c.startswith("urn:oasis:names:tc:SAML:2.0:")]
    known = [c for c in said if c.isascii() and c.isalpha() and len(c) < 40 and c != "Success"]
    if known:
        refuse("provider-refused", f"the identity provider said no: {', '.join(known[:2])}")
    refuse("malformed", "the answer has no assertion in it")


def _check_signatures(response: Element, owners: list[Element]) -> None:
    for owner in owners:
        if not _ID.fullmatch(owner.get("ID", "")):
            refuse("malformed", "the answer has a part without a proper id")
        tags = [child.tag for child in owner]
        if _SIGNATURE in tags and tags.index(_SIGNATURE) != tags.count(_ISSUER):
            refuse("wrapped", "the answer has a signature at a place where none belongs")
    placed = [(owner, s) for owner in owners for s in owner.findall(_SIGNATURE)]
    if len(placed) != sum(1 for _ in response.iter(_SIGNATURE)):
        refuse("wrapped", "the answer has a signature at a place where none belongs")
    if len(placed) != len({id(owner) for owner, _ in placed}):
        refuse("wrapped", "a part of the answer is signed twice")
    for owner, signature in placed:
        _check_signature(owner, signature)


def _check_signature(owner: Element, signature: Element) -> None:
    infos = signature.findall(f"{{{DSIG}}}SignedInfo")
    references = list(signature.iter(f"{{{DSIG}}}Reference"))
    if len(infos) != 1 or len(references) != 1 or references[0] not in list(infos[0]):
        refuse("wrapped", "a signature of the answer is not about one thing")
    if references[0].get("URI") != f"#{owner.get('ID')}":
        refuse("wrapped", "a signature of the answer is about something else")
    _check_methods(infos[0], "CanonicalizationMethod", _CANONICAL, 1)
    _check_methods(infos[0], "SignatureMethod", SIGNATURES, 1)
    _check_methods(references[0], "DigestMethod", DIGESTS, 1)
    _check_methods(references[0], "Transforms/Transform", _TRANSFORMS, 2)


def _check_methods(parent: Element, path: str, allowed: frozenset[str], most: int) -> None:
    full = "/".join(f"{{{DSIG}}}{name}" for name in path.split("/"))
    methods = [method.get("Algorithm", "") for method in parent.findall(full)]
    if not 1 <= len(methods) <= most:
        refuse("malformed", f"a signature of the answer has {len(methods)} of {path}")
    _check_allowed(methods, allowed)


def _check_encryption(response: Element) -> None:
    for kind, allowed in (("EncryptedData", _CIPHERS), ("EncryptedKey", _KEY_TRANSPORTS)):
        for element in response.iter(f"{{{XENC}}}{kind}"):
            methods = element.findall(f"{{{XENC}}}EncryptionMethod")
            _check_allowed([m.get("Algorithm", "") for m in methods] or [""], allowed)


def _check_allowed(methods: list[str], allowed: frozenset[str]) -> None:
    for method in methods:
        if method not in allowed:
            name = re.sub(r"[^A-Za-z0-9-]", "", method.rpartition("#")[2])[:40]
            refuse(
                "weak-algorithm",
                f"the answer is signed or encrypted with {name or 'nothing known'}",
                hint="set SHA-256 in the identity provider; and for encryption AES with OAEP",
            )
