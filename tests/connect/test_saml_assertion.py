"""What an assertion must say to be a login here. Nothing is signed in these tests."""

from __future__ import annotations

from typing import Any

import pytest

from awsgate.connect.samlassertion import (
    LEEWAY_S,
    Assertion,
    Expected,
    check_issuers,
    check_response,
    read_assertion,
)
from awsgate.connect.samlform import read_answer
from awsgate.connect.ways import LoginRefused
from samlforge import ACS, ISSUER, NOW, REQUEST, Said

EXPECTED = Expected(ISSUER, ACS, frozenset({ACS}), REQUEST, NOW)
UNSOLICITED = Expected(ISSUER, ACS, frozenset({ACS}), "", NOW)


def read(said: Said, expected: Expected = EXPECTED, text: str = "") -> Assertion:
    answer = read_answer((text or said.text()).encode())
    assert answer.assertion is not None
    check_issuers(answer.response, answer.assertion, expected.issuer)
    check_response(answer.response, expected)
    return read_assertion(answer.assertion, expected)


def reason(said: Said, expected: Expected = EXPECTED, text: str = "") -> str:
    with pytest.raises(LoginRefused) as caught:
        read(said, expected, text)
    return caught.value.reason


def test_all_of_it_is_read() -> None:
    said = Said(
        attributes={"urn:oid:1.2.3": ["ops", "dev", "ops"], "mail": [" alice@example.com "]},
        friendly={"urn:oid:1.2.3": "groups"},
    )

    assert read(said) == Assertion(
        id="_assertion1",
        name="alice@example.com",
        transient=False,
        attributes={
            "urn:oid:1.2.3": ("ops", "dev"),
            "groups": ("ops", "dev"),
            "mail": ("alice@example.com",),
        },
        session_ends_at=int(NOW) + 3600,
        accepted_until=NOW + 300 + LEEWAY_S,
    )


def test_a_friendly_name_adds_nothing_to_an_attribute_of_that_name() -> None:
    said = Said(
        attributes={"groups": ["users"], "urn:oid:1": ["admins"]},
        friendly={"urn:oid:1": "groups"},
    )

    assert read(said).attributes["groups"] == ("users",)


def test_an_attribute_that_comes_twice_has_all_values() -> None:
    text = Said(attributes={"a": ["1"], "b": ["2"]}).text().replace('Name="b"', 'Name="a"')

    assert read(Said(), text=text).attributes == {"a": ("1", "2")}


def test_a_text_that_an_element_parts_counts_whole() -> None:
    text = Said().text().replace("alice@example.com", "root<x/>@evil.example")

    assert read(Said(), text=text).name == "root@evil.example"


# what the answer says -> why it is refused
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "another issuer": ("wrong-issuer", {"issuer": "https://evil.example"}),
    "another issuer of the whole": ("wrong-issuer", {"response_issuer": "https://evil.example"}),
    "no issuer": ("wrong-issuer", {"issuer": ""}),
    "another audience": ("wrong-audience", {"audiences": ["https://other.example"]}),
    "an audience that begins like ours": ("wrong-audience", {"audiences": [ACS + "2"]}),
    "no audience": ("wrong-audience", {"audiences": []}),
    "ours in one of two restrictions": ("wrong-audience", {"audiences": [ACS, "https://other"]}),
    "another recipient": ("wrong-recipient", {"recipient": "https://other.example/acs"}),
    "another connector's acs": ("wrong-recipient", {"recipient": ACS + "2"}),
    "another destination": ("wrong-recipient", {"destination": "https://other.example/acs"}),
    "ended": ("expired", {"ends": -LEEWAY_S}),
    "session ended": ("expired", {"session_ends": 0}),
    "not begun": ("not-yet-valid", {"begins": LEEWAY_S + 1}),
    "to no request": ("unsolicited", {"request": None, "confirmed_request": None}),
    "bearer to no request": ("unsolicited", {"confirmed_request": None}),
    "whole to no request": ("unsolicited", {"request": None}),
    "to another request": ("wrong-request", {"request": "_x", "confirmed_request": "_x"}),
    "bearer to another request": ("wrong-request", {"confirmed_request": "_x"}),
    "whole to another request": ("wrong-request", {"request": "_x"}),
    "no success": ("provider-refused", {"status": "urn:oasis:names:tc:SAML:2.0:status:Responder"}),
    "a condition of another kind": (
        "malformed",
        {"condition": '<saml:Condition xmlns:x="urn:x" Only="weekdays"/>'},
    ),
    "too many groups": ("oversized", {"attributes": {"groups": [str(i) for i in range(2001)]}}),
}


@pytest.mark.parametrize(("wanted", "changes"), REFUSED.values(), ids=REFUSED)
def test_refused(wanted: str, changes: dict[str, Any]) -> None:
    assert reason(Said(**changes)) == wanted


CONDITIONS = Said().assertion()
CONDITIONS = CONDITIONS[
    CONDITIONS.index("<saml:Conditions") : CONDITIONS.index("<saml:AuthnStatement")
]
ALTERED = {
    "conditions twice": ("malformed", CONDITIONS, CONDITIONS * 2),
    "not for the bearer": ("malformed", ":cm:bearer", ":cm:sender-vouches"),
    "confirmed without end": ("malformed", 'example.com:8444/v1/saml/acs/corp" NotOnOrAfter', ""),
    "nobody has authenticated": ("malformed", "saml:AuthnStatement", "saml:AuthzDecisionStatement"),
    "a time that is none": ("malformed", 'NotBefore="', 'NotBefore="x'),
    "assertion of SAML 1.1": (
        "malformed",
        '_assertion1" Version="2.0"',
        '_assertion1" Version="1"',
    ),
}


@pytest.mark.parametrize(("wanted", "old", "new"), ALTERED.values(), ids=ALTERED)
def test_refused_when_altered(wanted: str, old: str, new: str) -> None:
    text = Said().text()
    assert old in text
    text = text.replace(old, new or old.replace("NotOnOrAfter", "Unknown"))

    assert reason(Said(), text=text) == wanted


# Accepted: clocks differ, and SAML lets these be left out.
ACCEPTED: dict[str, dict[str, Any]] = {
    "ended within the leeway": {"ends": 1 - LEEWAY_S},
    "begins within the leeway": {"begins": LEEWAY_S},
    "no session end": {"session_ends": None},
    "two restrictions, both ours": {"audiences": [ACS, ACS]},
    "used once": {"condition": "<saml:OneTimeUse/>"},
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(changes: dict[str, Any]) -> None:
    assert read(Said(**changes)).name == "alice@example.com"


@pytest.mark.parametrize(
    "moment", ["2026-11-18T12:26:41.1234567Z", "2026-11-18T13:26:41+01:00", "2026-11-18T12:26:41"]
)
def test_times_are_read_in_every_form(moment: str) -> None:
    text = Said().text().replace('SessionNotOnOrAfter="', f'SessionNotOnOrAfter="{moment}" X="')

    assert read(Said(), text=text).session_ends_at == 1_795_004_801


def test_what_the_provider_began_names_no_request() -> None:
    """An answer to somebody's request must not pass for one to none."""
    begun = Said(request=None, confirmed_request=None)

    assert read(begun, UNSOLICITED).name == "alice@example.com"
    assert reason(Said(), UNSOLICITED) == "wrong-request"
    assert reason(Said(request=None), UNSOLICITED) == "wrong-request"
