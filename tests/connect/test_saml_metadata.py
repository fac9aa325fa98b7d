"""Metadata of SAML: a provider's is read, the gateway's is what pysaml2 and the schema take."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from saml2 import md
from saml2.xml.schema import validate

from awsgate.connect.samlmetadata import (
    MAX_METADATA_BYTES,
    Provider,
    provider_by_hand,
    read_metadata,
    sp_metadata,
)
from awsgate.connect.samlprovider import _file
from awsgate.errors import SetupError
from awsgate.policy.connectors import Saml
from samlforge import ACS, ISSUER, NOW, SSO, document, metadata, pair

TWO = (
    '<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">'
    f"{metadata()}{metadata(issuer='https://second.example')}</md:EntitiesDescriptor>"
)


def read(text: str, issuer: str = "") -> Provider:
    return read_metadata(text.encode(), issuer=issuer, now=NOW)


def der(provider: Provider) -> list[bytes]:
    wrap = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    certificates = (wrap.format(text).encode() for text in provider.certificates)
    return [x509.load_pem_x509_certificate(c).public_bytes(Encoding.DER) for c in certificates]


def der_of(pem: str) -> bytes:
    return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)


def test_a_provider_is_read() -> None:
    provider = read(metadata())

    assert (provider.issuer, provider.sso) == (ISSUER, SSO)
    assert der(provider) == [der_of(pair().cert)]


def test_comments_in_metadata_are_no_fault() -> None:
    assert read(f"<!-- a licence -->{metadata()}").issuer == ISSUER


def test_of_several_providers_the_issuer_says_which() -> None:
    assert read(TWO, "https://second.example").issuer == "https://second.example"


def test_keys_for_encryption_sign_nothing() -> None:
    text = metadata().replace("</md:KeyDescriptor>", "</md:KeyDescriptor>ANOTHER", 1)
    start, end = metadata().index("<md:KeyDescriptor"), metadata().index("</md:KeyDescriptor>") + 19
    another = metadata()[start:end].replace("signing", "encryption")
    text = text.replace("ANOTHER", another.replace(pair().base64, pair("other").base64))

    assert der(read(text)) == [der_of(pair().cert)]


def test_a_key_of_an_elliptic_curve_will_do() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    day = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, day, day)
    text = made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    assert der(read(metadata(cert="".join(text.splitlines()[1:-1])))) == [der_of(text)]


def of_edwards() -> str:
    """A certificate whose key is of a kind that no signature here is made with."""
    key = ed25519.Ed25519PrivateKey.generate()
    day, name = dt.datetime(2026, 1, 1, tzinfo=dt.UTC), x509.Name([])
    made = x509.CertificateBuilder(name, name, key.public_key(), 7, day, day).sign(key, None)
    return "".join(made.public_bytes(Encoding.PEM).decode().splitlines()[1:-1])


def test_metadata_is_read_by_its_whole_path(tmp_path: Path) -> None:
    (tmp_path / "metadata.xml").write_text("<x/>")

    assert _file(f"file://{tmp_path}/metadata.xml") == b"<x/>"
    with pytest.raises(ValueError, match="with a third slash"):
        _file("file://metadata.xml")


# what is wrong -> (metadata, what is said)
FAULTS = {
    "no XML": ("<html", "not well-formed"),
    "no metadata": ("<html/>", "it is no SAML metadata"),
    "a document type": (f"<!DOCTYPE x>{metadata()}", "document type"),
    "several": (TWO, "2 identity providers in it; issuer would say which"),
    "ended": (metadata(more=' validUntil="2026-11-18T00:00:00Z"'), "was valid until 2026-11-18"),
    "no certificate": (metadata(cert=" "), "cannot be read"),
    "a short key": (metadata(cert=pair("weak", 1024).base64), "1024 bits"),
    "a key of another kind": (metadata(cert=of_edwards()), "neither RSA nor of an elliptic"),
    "POST alone": (metadata().replace("HTTP-Redirect", "HTTP-POST"), "HTTP-Redirect"),
    "plain http": (metadata(sso="http://idp.example.com/"), "must start with https://"),
    "SAML 1.1": (metadata().replace("SAML:2.0:protocol", "SAML:1.1:protocol"), "0 identity"),
    "too long": (metadata() + " " * MAX_METADATA_BYTES, "longer than"),
}


@pytest.mark.parametrize(("text", "said"), FAULTS.values(), ids=FAULTS)
def test_fault(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(text)


def test_another_issuer_is_none_of_it() -> None:
    with pytest.raises(ValueError, match=r"0 identity providers named 'https://third\.example'"):
        read(TWO, "https://third.example")


def test_by_hand_several_certificates_may_be_given() -> None:
    """While a provider changes its key."""
    both = pair().cert + pair("next").cert

    provider = provider_by_hand(Saml.model_validate(document(cert=both)).spec)

    assert der(provider) == [der_of(pair().cert), der_of(pair("next").cert)]


def test_by_hand_a_text_that_is_no_certificate_is_said() -> None:
    with pytest.raises(SetupError, match="no certificate in PEM"):
        provider_by_hand(Saml.model_validate(document(cert="MIIB")).spec)


def test_the_gateways_metadata_is_as_the_schema_and_pysaml2_want_it() -> None:
    keys = {
        "signing_key_pair": {"private_key": pair("sign").key, "cert": pair("sign").cert},
        "assertion_key_pair": {"private_key": pair("sp").key, "cert": pair("sp").cert},
        "service_provider_issuer": "https://gate.example.com",
    }
    text = sp_metadata(Saml.model_validate(document(**keys)))

    validate(text.decode().split("?>", 1)[1].strip())
    read_back = md.entity_descriptor_from_string(text)
    (role,) = read_back.spsso_descriptor
    (service,) = role.assertion_consumer_service
    certificates = {
        key.use: "".join(key.key_info.x509_data[0].x509_certificate.text.split())
        for key in role.key_descriptor
    }
    assert read_back.entity_id == "https://gate.example.com"
    assert (role.want_assertions_signed, role.authn_requests_signed) == ("true", "true")
    assert (service.location, service.binding.rpartition(":")[2]) == (ACS, "HTTP-POST")
    assert certificates == {"signing": pair("sign").base64, "encryption": pair("sp").base64}
    assert b"PRIVATE" not in text


def test_the_gateways_metadata_without_keys_says_so() -> None:
    (role,) = md.entity_descriptor_from_string(
        sp_metadata(Saml.model_validate(document()))
    ).spsso_descriptor

    assert role.authn_requests_signed == "false"
    assert role.key_descriptor == []
