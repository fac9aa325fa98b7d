"""The form of SAML answers: what can be read in two ways is refused before anything is proved.

Without xmlsec1: the signatures here are not filled in.
"""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.connect.samlform import MAX_BYTES, read_answer, read_form
from awsgate.connect.ways import LoginRefused
from samlforge import Said, form, signature

SOUND = Said(sign_response=True).text()
ASSERTION = Said().assertion()
EVIL = Said(id="_evil", name="mallory@example.com", sign_assertion=False).assertion()
XMLDSIG = "http://www.w3.org/2000/09/xmldsig#"
ENCRYPTED = (
    '<saml:EncryptedAssertion><xenc:EncryptedData xmlns:xenc="http://www.w3.org/2001/04/xmlenc#">'
    '<xenc:EncryptionMethod Algorithm="{block}"/><ds:KeyInfo '
    f'xmlns:ds="{XMLDSIG}"><xenc:EncryptedKey><xenc:EncryptionMethod '
    'Algorithm="{transport}"/><xenc:CipherData><xenc:CipherValue>AA==</xenc:CipherValue>'
    "</xenc:CipherData></xenc:EncryptedKey></ds:KeyInfo><xenc:CipherData>{data}"
    "</xenc:CipherData></xenc:EncryptedData></saml:EncryptedAssertion>"
)
CBC = "http://www.w3.org/2001/04/xmlenc#aes128-cbc"
OAEP = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p"
VALUE = "<xenc:CipherValue>AA==</xenc:CipherValue>"


def encrypted(block: str = CBC, transport: str = OAEP, data: str = VALUE) -> str:
    return Said().text(ENCRYPTED.format(block=block, transport=transport, data=data))


def reason(text: str | bytes) -> str:
    """Why it is refused, or nothing."""
    try:
        read_answer(text if isinstance(text, bytes) else text.encode())
    except LoginRefused as refused:
        return refused.reason
    return ""


def test_a_sound_answer_is_read() -> None:
    answer = read_form(form(SOUND))

    assert answer.text == SOUND.encode()
    assert answer.assertion is not None
    assert answer.assertion.get("ID") == "_assertion1"


def test_an_encrypted_assertion_is_sound_and_not_there_yet() -> None:
    answer = read_answer(encrypted().encode())

    assert answer.assertion is None
    assert not answer.authenticated


def test_only_aes_gcm_is_proof_against_changes() -> None:
    gcm = "http://www.w3.org/2009/xmlenc11#aes128-gcm"

    assert read_answer(encrypted(block=gcm).encode()).authenticated


def test_base64_may_have_line_breaks() -> None:
    packed = base64.encodebytes(SOUND.encode()).decode()

    assert read_form(packed).text == SOUND.encode()


def altered(old: str, new: str, text: str = SOUND) -> str:
    """The sound answer with one thing changed, which must be there."""
    assert old in text
    return text.replace(old, new, 1)


SHA1 = {"method": XMLDSIG + "rsa-sha1", "digest": XMLDSIG + "sha1"}
HMAC = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"
XSLT = "http://www.w3.org/TR/1999/REC-xslt-19991116"
DOCTYPE = '<!DOCTYPE Response [<!ENTITY who "mallory">]>'
COPY = signature("_assertion1")
C14N = "http://www.w3.org/2001/10/xml-exc-c14n#"
ONE_MORE = f'CanonicalizationMethod Algorithm="{C14N}"'
INCLUSIVE = 'CanonicalizationMethod Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"'

# what is wrong -> (reason, answer)
REFUSED = {
    "no XML": ("malformed", "SAMLResponse"),
    "not well-formed": ("malformed", SOUND[:-3]),
    "another root": ("malformed", ASSERTION),
    "SAML 1.1": ("malformed", altered('Version="2.0"', 'Version="1.1"')),
    "UTF-16": ("malformed", SOUND.encode("utf-16")),
    "said to be Latin 1": ("malformed", f'<?xml version="1.0" encoding="iso-8859-1"?>{SOUND}'),
    "no assertion": ("malformed", Said().text("")),
    "an id that is an option": ("malformed", SOUND.replace("_assertion1", "--pwd")),
    "no id": ("malformed", altered(' ID="_assertion1"', "")),
    "assertion before status": (
        "malformed",
        altered("<samlp:Status>", ASSERTION + "<samlp:Status>", Said().text("")),
    ),
    "a document type": ("dtd", DOCTYPE + SOUND),
    "an entity in the name": ("dtd", DOCTYPE + altered("alice", "&who;")),
    "a document type elsewhere": ("dtd", f'<!DOCTYPE r SYSTEM "http://evil.example/r.dtd">{SOUND}'),
    "a comment in the name": ("comment", altered("alice@", "root<!---->alice@")),
    "a comment before all": ("comment", f"<!-- x -->{SOUND}"),
    "an instruction in the name": ("comment", altered("alice@", "root<?x?>alice@")),
    "very deep": ("oversized", altered("alice", "<a>" * 70 + "</a>" * 70)),
    "very many": ("oversized", altered("alice", "<a/>" * 10_001)),
    "very long": ("oversized", altered("alice", "a" * MAX_BYTES)),
    "two assertions": ("wrapped", Said().text(EVIL + ASSERTION)),
    "an assertion in an assertion": (
        "wrapped",
        altered("</saml:Assertion>", f"<saml:Advice>{EVIL}</saml:Advice></saml:Assertion>"),
    ),
    "an assertion in an extension": (
        "wrapped",
        altered(
            "<samlp:Status>",
            f"<samlp:Extensions>{ASSERTION}</samlp:Extensions><samlp:Status>",
            Said().text(""),
        ),
    ),
    "an assertion and an encrypted one": (
        "wrapped",
        altered("<saml:Encrypted", f"{EVIL}<saml:Encrypted", encrypted()),
    ),
    "an answer in an answer": (
        "wrapped",
        altered("<samlp:Status>", f"{Said(response_id='_r2').text('')}<samlp:Status>"),
    ),
    "an id twice": ("wrapped", altered('ID="_response1"', 'ID="_assertion1"')),
    "an id twice, as xml:id": (
        "wrapped",
        altered("<saml:AttributeStatement>", '<saml:AttributeStatement xml:id="_assertion1">'),
    ),
    "an id of another namespace": (
        "wrapped",
        altered(' ID="_assertion1"', ' xmlns:x="urn:x" x:ID="_a" ID="_assertion1"'),
    ),
    "a signature about something else": ("wrapped", altered('URI="#_assertion1"', 'URI="#_x"')),
    "a signature about the document": ("wrapped", altered('URI="#_assertion1"', 'URI=""')),
    "a signature elsewhere": ("wrapped", altered("alice", f"{COPY}alice", Said().text())),
    "two signatures": ("wrapped", altered("</ds:Signature>", "</ds:Signature>" + COPY)),
    "two signatures about one thing": (
        "wrapped",
        altered("</ds:Signature>", "</ds:Signature>" + COPY, Said().text()),
    ),
    "a signature after the subject": (
        "wrapped",
        altered("<saml:Conditions", COPY + "<saml:Conditions", Said(sign_assertion=False).text()),
    ),
    "two references": (
        "wrapped",
        altered(
            "</ds:SignedInfo>", '<ds:Reference URI="#_assertion1"/></ds:SignedInfo>', Said().text()
        ),
    ),
    "an object": ("wrapped", altered("</ds:Signature>", "<ds:Object/></ds:Signature>")),
    "a manifest": ("malformed", altered("</ds:Signature>", "<ds:Manifest/></ds:Signature>")),
    "a key elsewhere": (
        "malformed",
        altered(
            "</ds:Signature>",
            '<ds:KeyInfo><ds:RetrievalMethod URI="http://169.254.169.254/"/></ds:KeyInfo>'
            "</ds:Signature>",
        ),
    ),
    "encrypted text elsewhere": (
        "malformed",
        encrypted(data='<xenc:CipherReference URI="file:///etc/shadow"/>'),
    ),
    "SHA-1": ("weak-algorithm", Said(signs=SHA1).text()),
    "SHA-1 digest": ("weak-algorithm", Said(signs={"digest": SHA1["digest"]}).text()),
    "SHA-1 of the whole": (
        "weak-algorithm",
        altered("more#rsa-sha256", "more#rsa-sha1", Said(sign_response=True).text()),
    ),
    "another form of what is signed": (
        "weak-algorithm",
        altered(f'CanonicalizationMethod Algorithm="{C14N}"', INCLUSIVE),
    ),
    "two forms of what is signed": (
        "malformed",
        altered("<ds:SignatureMethod", f"<ds:{ONE_MORE}/><ds:SignatureMethod"),
    ),
    "no form of what is signed": ("malformed", altered(f"<ds:{ONE_MORE}/>", "")),
    "three transforms": (
        "malformed",
        altered("</ds:Transforms>", f'<ds:Transform Algorithm="{C14N}"/></ds:Transforms>'),
    ),
    "HMAC with the public key": ("weak-algorithm", Said(signs={"method": HMAC}).text()),
    "a program as transform": (
        "weak-algorithm",
        altered(XMLDSIG + "enveloped-signature", XSLT, Said().text()),
    ),
    "3DES": ("weak-algorithm", encrypted(block="http://www.w3.org/2001/04/xmlenc#tripledes-cbc")),
    "RSA 1.5": ("weak-algorithm", encrypted(transport="http://www.w3.org/2001/04/xmlenc#rsa-1_5")),
    "the provider says no": (
        "provider-refused",
        altered("status:Success", "status:Requester", Said().text("")),
    ),
}


@pytest.mark.parametrize(("wanted", "text"), REFUSED.values(), ids=REFUSED)
def test_refused(wanted: str, text: str | bytes) -> None:
    assert reason(text) == wanted


@pytest.mark.parametrize(
    ("packed", "reason", "words"),
    [
        ("", "malformed", "there is no SAMLResponse"),
        (" \n", "malformed", "there is no SAMLResponse"),
        ("%" * (MAX_BYTES * 4 // 3 + 5), "oversized", "is longer than"),
    ],
    ids=["nothing", "blanks", "too much"],
)
def test_a_field_is_measured_before_it_is_read(packed: str, reason: str, words: str) -> None:
    with pytest.raises(LoginRefused, match=words) as caught:
        read_form(packed)

    assert caught.value.reason == reason


@pytest.mark.parametrize("packed", ["", "  ", "%%%", "YWJj*", form(SOUND) + "===="])
def test_what_is_no_base64_is_malformed(packed: str) -> None:
    with pytest.raises(LoginRefused) as caught:
        read_form(packed)

    assert caught.value.reason == "malformed"


def test_the_words_of_a_provider_that_says_no_are_not_repeated() -> None:
    """Nobody has proved that they are the provider's."""
    text = Said(status="urn:oasis:names:tc:SAML:2.0:status:AuthnFailed").text("")
    message = "<samlp:StatusMessage>call 555-1234</samlp:StatusMessage></samlp:Status>"
    text = altered("</samlp:Status>", message, text)

    with pytest.raises(LoginRefused, match=r"^the identity provider said no: AuthnFailed$"):
        read_answer(text.encode())


def test_no_second_assertion_has_a_place_anywhere() -> None:
    """Every place of the document, before and in and after every element."""
    places = [found.end() for found in re.finditer(r"<[^>]*>", SOUND)][:-1]
    assert len(places) > 60

    for evil in (EVIL, ENCRYPTED.format(block=CBC, transport=OAEP, data=VALUE)):
        reasons = {reason(SOUND[:at] + evil + SOUND[at:]) for at in places}
        assert reasons == {"wrapped"}


def test_no_second_signature_has_a_place_anywhere() -> None:
    text = Said().text()
    places = [found.end() for found in re.finditer(r"<[^>]*>", text)][:-1]

    taken = [at for at in places if not reason(text[:at] + signature("_response1") + text[at:])]

    # Of the whole there may be one, behind its issuer.
    assert taken == [text.index("</saml:Issuer>") + len("</saml:Issuer>")]


@given(st.binary(max_size=200), st.integers(0, len(SOUND)))
def test_anything_is_read_or_refused(junk: bytes, at: int) -> None:
    text = SOUND.encode()[:at] + junk + SOUND.encode()[at:]

    try:
        answer = read_answer(text)
    except LoginRefused:
        return
    assert answer.assertion is not None
