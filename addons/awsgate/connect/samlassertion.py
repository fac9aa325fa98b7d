"""What an assertion must say to be a login here, and what it then says. Pure.

    issuer         the provider, and no other
    audience       this gateway, in every restriction there is, and there must be one
    recipient      the gateway's ``acs``; so is the answer's destination
    request        the one that this gateway sent for this very login
    times          begun, not ended; a minute is allowed for clocks that differ
    statement      the person has authenticated

Every part is read by its path from the assertion itself: what is signed is what is read.

Source: SAML 2.0 profiles, section 4.1.4 (web browser SSO).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from xml.etree.ElementTree import Element

from awsgate.connect.samlform import SAML, SAMLP, refuse

LEEWAY_S = 60
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
MAX_VALUES = 2000
_CLOCKS = "compare the clocks of the gateway and the identity provider"
_CONDITIONS = frozenset({"AudienceRestriction", "OneTimeUse", "ProxyRestriction"})


@dataclass(frozen=True, slots=True)
class Expected:
    """What a login must fit."""

    issuer: str
    acs: str
    audiences: frozenset[str]
    """Any of these names the gateway."""
    request: str
    """The id of the gateway's request; empty: none was sent, the provider began."""
    now: float


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an assertion says of somebody."""

    id: str
    name: str
    """The NameID, as it stands; empty: there is none."""
    transient: bool
    """The name is another at every login."""
    attributes: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Values by name, and by friendly name where no attribute has that name."""
    session_ends_at: int | None
    """``SessionNotOnOrAfter``."""
    accepted_until: float
    """It is not taken after this, so it need not be remembered longer."""


def check_issuers(response: Element, assertion: Element | None, issuer: str) -> None:
    """Check who says that they speak; whether they do is for the signature to show."""
    for element, needed in ((response, False), (assertion, True)):
        issuers = [] if element is None else element.findall(f"{{{SAML}}}Issuer")
        if element is not None and (needed or issuers) and _texts(issuers) != [issuer]:
            refuse("wrong-issuer", "the answer is not from this connector's identity provider")


def check_response(response: Element, expected: Expected) -> None:
    """Check the envelope. It may be unsigned: the assertion must say all of it again."""
    codes = response.findall(f"{{{SAMLP}}}Status/{{{SAMLP}}}StatusCode")
    if [code.get("Value") for code in codes] != [SUCCESS]:
        refuse("provider-refused", "the identity provider's status is not success")
    if response.get("Destination", expected.acs) != expected.acs:
        refuse(
            "wrong-recipient",
            "the answer was sent to another address than the connector's acs",
            hint="set the acs of the connector and that in the identity provider alike",
        )
    _check_request(response.get("InResponseTo", ""), expected)


def read_assertion(assertion: Element, expected: Expected) -> Assertion:
    """Check an assertion, and give what it says."""
    if assertion.get("Version") != "2.0":
        refuse("malformed", "the assertion is not of SAML version 2.0")
    ends = [_check_confirmation(assertion, expected), *_check_conditions(assertion, expected)]
    session_ends_at = _session_end(assertion, expected)
    names = assertion.findall(f"{{{SAML}}}Subject/{{{SAML}}}NameID")
    return Assertion(
        id=assertion.get("ID", ""),
        name=_text(names[0]) if len(names) == 1 else "",
        transient=any(name.get("Format") == TRANSIENT for name in names),
        attributes=_attributes(assertion),
        session_ends_at=session_ends_at,
        accepted_until=min(ends) + LEEWAY_S,
    )


def _check_request(request: str, expected: Expected) -> None:
    if request == expected.request:
        return
    if not request:
        refuse("unsolicited", "the answer is to no request of this gateway")
    refuse(
        "wrong-request",
        "the answer is to another request than that of this login",
        hint="begin the login again, in one window",
    )


def _check_confirmation(assertion: Element, expected: Expected) -> float:
    """Check that the bearer may be who the subject is; give until when."""
    path = f"{{{SAML}}}Subject/{{{SAML}}}SubjectConfirmation"
    bearers = [c for c in assertion.findall(path) if c.get("Method") == BEARER]
    data = [d for b in bearers for d in b.findall(f"{{{SAML}}}SubjectConfirmationData")]
    if len(data) != 1:
        refuse("malformed", "the assertion does not say once who may use it (bearer)")
    if data[0].get("Recipient") != expected.acs:
        refuse(
            "wrong-recipient",
            "the assertion is for another recipient than the connector's acs",
            hint="set the acs of the connector and that in the identity provider alike",
        )
    _check_request(data[0].get("InResponseTo", ""), expected)
    ends = _check_times(data[0], expected)
    if ends is None:
        refuse("malformed", "the assertion does not say until when it may be used")
    return ends


def _check_conditions(assertion: Element, expected: Expected) -> Iterator[float]:
    """Check all conditions; give the time at which they end, if they do."""
    conditions = assertion.findall(f"{{{SAML}}}Conditions")
    if len(conditions) > 1:
        refuse("malformed", "the assertion has conditions twice")
    audiences: list[list[str]] = []
    for element in conditions:
        for condition in element:
            if condition.tag not in {f"{{{SAML}}}{name}" for name in _CONDITIONS}:
                refuse("malformed", "the assertion has a condition that the gateway cannot judge")
        restrictions = element.findall(f"{{{SAML}}}AudienceRestriction")
        audiences += [_texts(r.findall(f"{{{SAML}}}Audience")) for r in restrictions]
    if not audiences or not all(expected.audiences.intersection(named) for named in audiences):
        refuse(
            "wrong-audience",
            "the assertion is for another audience than this gateway",
            hint="set the connector's audience to the entity id that the provider has for it",
        )
    ends = [_check_times(element, expected) for element in conditions]
    yield from (end for end in ends if end is not None)


def _check_times(element: Element, expected: Expected) -> float | None:
    begins, ends = (_time(element, name) for name in ("NotBefore", "NotOnOrAfter"))
    if begins is not None and expected.now < begins - LEEWAY_S:
        refuse("not-yet-valid", "the assertion is not valid yet", hint=_CLOCKS)
    if ends is not None and expected.now >= ends + LEEWAY_S:
        refuse("expired", "the assertion has expired", hint=f"log in again; {_CLOCKS}")
    return ends


def _session_end(assertion: Element, expected: Expected) -> int | None:
    statements = assertion.findall(f"{{{SAML}}}AuthnStatement")
    if not statements:
        refuse("malformed", "the assertion does not say that anybody has authenticated")
    ends = [_time(statement, "SessionNotOnOrAfter") for statement in statements]
    end = min((end for end in ends if end is not None), default=None)
    if end is not None and expected.now >= end:
        refuse("expired", "the session at the identity provider has ended", hint="log in again")
    return None if end is None else int(end)


def _attributes(assertion: Element) -> Mapping[str, tuple[str, ...]]:
    by_name: dict[str, list[str]] = {}
    by_friendly_name: dict[str, list[str]] = {}
    for attribute in assertion.iterfind(f"{{{SAML}}}AttributeStatement/{{{SAML}}}Attribute"):
        values = _texts(attribute.findall(f"{{{SAML}}}AttributeValue"))
        by_name.setdefault(attribute.get("Name", "").strip(), []).extend(values)
        if friendly := attribute.get("FriendlyName", "").strip():
            by_friendly_name.setdefault(friendly, []).extend(values)
    found = {**by_friendly_name, **by_name}
    if sum(map(len, found.values())) > MAX_VALUES:
        refuse(
            "oversized",
            f"the assertion has more than {MAX_VALUES} attribute values",
            hint="let the identity provider send the groups of this application alone",
        )
    return MappingProxyType({k: tuple(dict.fromkeys(v)) for k, v in found.items() if k and v})


def _texts(elements: list[Element]) -> list[str]:
    return [text for text in map(_text, elements) if text]


def _text(element: Element) -> str:
    # All of it: a text that something parts must never count for its first part.
    return "".join(element.itertext()).strip()


def _time(element: Element, name: str) -> float | None:
    """Read an ``xs:dateTime``; SAML's are in UTC."""
    value = element.get(name)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return utc.timestamp()
    except (ValueError, OverflowError):
        refuse("malformed", f"{name} of the assertion is not a time")
