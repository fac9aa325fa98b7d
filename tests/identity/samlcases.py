"""SAML answers with real signatures: those that are taken, and what can be wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from samlforge import (
    ACS,
    REQUEST,
    RSA_1_5,
    Said,
    answer,
    as_entra,
    as_okta,
    as_shibboleth,
    encrypted,
    pair,
    signature,
    signed,
)

XMLDSIG = "http://www.w3.org/2000/09/xmldsig#"


def sealed(said: Said, *, by: str = "idp", to: str = "sp", **how: str) -> str:
    """An answer with its assertion signed, then encrypted."""
    text = said.assertion()
    inner = signed(text, by=by, id=said.id) if said.sign_assertion else text
    whole = said.text(encrypted(inner, to=to, **how))
    return signed(whole, by=by, id=said.response_id) if said.sign_response else whole


TAKEN: dict[str, Callable[[], str]] = {
    "signed assertion": lambda: answer(Said()),
    "signed assertion in a signed answer": lambda: answer(Said(sign_response=True)),
    "encrypted": lambda: sealed(Said()),
    "encrypted in CBC": lambda: sealed(Said(), block="cbc"),
    "encrypted, and signed as a whole": lambda: sealed(Said(sign_response=True)),
    "as Okta writes": lambda: styled(as_okta),
    "as Entra ID writes": lambda: styled(as_entra),
    "as Shibboleth writes, encrypted": lambda: styled(as_shibboleth, encrypt=True),
    "RSA with SHA-512": lambda: answer(Said(signs=RSA_SHA512)),
}


RSA_SHA512 = {
    "method": "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "digest": "http://www.w3.org/2001/04/xmlenc#sha512",
}


def styled(style: Callable[[str], str], *, encrypt: bool = False) -> str:
    """An answer in the style of a provider, signed in it, twice if it is not encrypted."""
    if encrypt:
        return Said().text(encrypted(signed(style(Said().assertion())), to="sp"))
    text = signed(style(Said(sign_response=True).text()), id="_assertion1")
    return signed(text, id="_response1")


# what is wrong -> (reason, answer, changes of the connector)
Case = tuple[str, Callable[[], str], dict[str, Any]]
REFUSED: dict[str, Case] = {
    "unsigned": ("not-signed", lambda: answer(Said(sign_assertion=False)), {}),
    "only the answer is signed": (
        "not-signed",
        lambda: answer(Said(sign_assertion=False, sign_response=True)),
        {},
    ),
    "encrypted, unsigned": ("not-signed", lambda: sealed(Said(sign_assertion=False)), {}),
    "wrong issuer": ("wrong-issuer", lambda: answer(Said(issuer="https://evil.example")), {}),
    "wrong issuer, encrypted": (
        "wrong-issuer",
        lambda: sealed(Said(issuer="https://evil.example")),
        {},
    ),
    "wrong audience": ("wrong-audience", lambda: answer(Said(audiences=["https://x"])), {}),
    "no audience": ("wrong-audience", lambda: answer(Said(audiences=[])), {}),
    "audience of the acs, another is set": (
        "wrong-audience",
        lambda: answer(Said()),
        {"audience": "urn:awsgate"},
    ),
    "expired": ("expired", lambda: answer(Said(ends=-60)), {}),
    "session expired": ("expired", lambda: answer(Said(session_ends=-1)), {}),
    "not yet": ("not-yet-valid", lambda: answer(Said(begins=61)), {}),
    "tampered name": ("tampered", lambda: answer(Said()).replace("alice", "mallory"), {}),
    "tampered group": (
        "tampered",
        lambda: answer(Said(attributes={"groups": ["users"]})).replace("users", "admins"),
        {},
    ),
    "tampered digest": (
        "tampered",
        lambda: answer(Said()).replace("<ds:DigestValue>", "<ds:DigestValue>AAAA"),
        {},
    ),
    "tampered envelope of a signed answer": (
        "tampered",
        lambda: answer(Said(sign_response=True, request="_x")).replace('"_x"', f'"{REQUEST}"'),
        {},
    ),
    "another's key": ("bad-signature", lambda: answer(Said(), by="mallory"), {}),
    "another's key, with its certificate": (
        "bad-signature",
        lambda: with_key(
            "mallory",
            "X509Data",
            f"<ds:X509Certificate>{pair('mallory').base64}</ds:X509Certificate>",
        ),
        {},
    ),
    "another's key, which lies by": ("bad-signature", lambda: with_key("mallory", "KeyValue"), {}),
    "another's key for the whole": (
        "bad-signature",
        lambda: signed(
            Said(sign_response=True).text(signed(Said().assertion())),
            by="mallory",
            id="_response1",
        ),
        {},
    ),
    "wrong recipient": ("wrong-recipient", lambda: answer(Said(recipient=ACS + "/x")), {}),
    "wrong destination": ("wrong-recipient", lambda: answer(Said(destination=ACS + "/x")), {}),
    "unsolicited": (
        "unsolicited",
        lambda: answer(Said(request=None, confirmed_request=None)),
        {"request": ""},
    ),
    "unsolicited within a login": (
        "unsolicited",
        lambda: answer(Said(request=None, confirmed_request=None)),
        {},
    ),
    "another request": ("wrong-request", lambda: answer(Said()), {"request": "_another"}),
    "another request in the assertion alone": (
        "wrong-request",
        lambda: answer(Said(confirmed_request="_stolen")),
        {},
    ),
    "a request, where the provider may begin": (
        "wrong-request",
        lambda: answer(Said()),
        {"request": "", "allow_idp_initiated": True},
    ),
    "SHA-1": (
        "weak-algorithm",
        lambda: answer(Said(signs={"method": XMLDSIG + "rsa-sha1", "digest": XMLDSIG + "sha1"})),
        {},
    ),
    "SHA-1 for the whole": ("weak-algorithm", lambda: sha1_for_the_whole("_response1"), {}),
    "DTD": ("dtd", lambda: f"<!DOCTYPE x>{answer(Said())}", {}),
    "entity": (
        "dtd",
        lambda: (
            '<!DOCTYPE x [<!ENTITY who "alice@example.com">]>'
            + answer(Said()).replace("alice@example.com", "&who;")
        ),
        {},
    ),
    "comment in NameID": (
        "comment",
        lambda: answer(Said(name="alice@example.com.evil.example")).replace(
            ".evil.example", "<!---->.evil.example"
        ),
        {},
    ),
    "encrypted to another key": ("not-decrypted", lambda: sealed(Said(), to="other"), {}),
    "encrypted, without a key": (
        "not-decrypted",
        lambda: sealed(Said()),
        {"assertion_key_pair": None},
    ),
    "encrypted, another's key": ("bad-signature", lambda: sealed(Said(), by="mallory"), {}),
    "encrypted with 3DES": ("weak-algorithm", lambda: sealed(Said(), block="3des"), {}),
    "encrypted with RSA 1.5": ("weak-algorithm", lambda: sealed(Said(), transport=RSA_1_5), {}),
    "in CBC, another's key": (
        "not-decrypted",
        lambda: sealed(Said(), by="mallory", block="cbc"),
        {},
    ),
    "in CBC, unsigned": (
        "not-decrypted",
        lambda: sealed(Said(sign_assertion=False), block="cbc"),
        {},
    ),
    "no role": ("no-role", lambda: answer(Said(attributes={"groups": ["users"]})), {}),
    "no name": (
        "bad-name",
        lambda: answer(Said(format="urn:oasis:names:tc:SAML:2.0:nameid-format:transient")),
        {},
    ),
    "the provider says no": (
        "provider-refused",
        lambda: Said(status="urn:oasis:names:tc:SAML:2.0:status:Responder").text(""),
        {},
    ),
    "nothing": ("malformed", lambda: "", {}),
}


def with_key(name: str, kind: str, inner: str = "") -> str:
    """Signed by somebody whose key lies by: it is not to be believed."""
    info = f"<ds:KeyInfo><ds:{kind}>{inner}</ds:{kind}></ds:KeyInfo>"
    text = Said().text().replace(signature("_assertion1"), signature("_assertion1", more=info))
    return signed(text, by=name)


def sha1_for_the_whole(about: str) -> str:
    weak = signature(about, method=XMLDSIG + "rsa-sha1", digest=XMLDSIG + "sha1")
    whole = Said(sign_response=True).text(signed(Said().assertion()))
    return signed(whole.replace(signature(about), weak), id=about)
