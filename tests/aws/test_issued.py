"""Credentials in AWS's answers: botocore reads the rewritten ones, and nothing real is left."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import boto3
import botocore
import botocore.session
import pytest
from botocore.model import OperationModel, Shape
from botocore.parsers import create_parser
from hypothesis import assume, given
from hypothesis import strategies as st
from moto import mock_aws

from awsgate.aws.issued import (
    ISSUING_OPERATIONS,
    UNREPLACED_OPERATIONS,
    AnswerError,
    Issued,
    find_issued,
    replace_issued,
)

KEY = "ASIAREALREALREALREAL"
SECRET = "rEaL/secret+0123456789abcdefghijklmnopqr"
TOKEN = "IQoJb3JpZ2luX2VjEJr//////////wEaCXVzLWVhc3QtMSJ" + "x/+9" * 20 + "=="
REAL = datetime(2026, 11, 24, 3, 0, 0, tzinfo=UTC)
ARN = "arn:aws:sts::123456789012:assumed-role/Reader/alice"
NEW = {
    "access_key_id": "GATEABCDEFGHIJKLMNOP",
    "secret_access_key": "surrogate-secret_0123456789",
    "session_token": "surrogate-token_0123456789",
}
NEW_END = 1_795_487_401  # 2026-11-24T02:30:01Z


def replaced(body: bytes) -> bytes:
    issued = find_issued(body)
    assert issued is not None
    return replace_issued(body, issued, **NEW, expires_at=NEW_END)


# --- the operations -----------------------------------------------------------------


def models_with_secrets() -> Iterator[str]:
    """Give the services whose newest model knows a secret key, without loading them all."""
    for service in sorted((Path(botocore.__file__).parent / "data").iterdir()):
        versions = sorted(service.glob("*/service-2.json.gz"))
        if versions and re.search(
            rb'(?i)"secret(access)?key"', gzip.decompress(versions[-1].read_bytes())
        ):
            yield service.name


@cache
def operation(service: str, name: str) -> OperationModel:
    return botocore.session.Session().get_service_model(service).operation_model(name)


def secret_holders(
    shape: Shape | None, path: tuple[str, ...] = (), seen: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    """Give the paths of all structures that hold a key id and a secret."""
    if shape is None or shape.name in seen:
        return []
    seen = (*seen, shape.name)
    below: list[tuple[str, Any]] = []
    if shape.type_name == "structure":
        below = list(shape.members.items())  # type: ignore[attr-defined]
    elif shape.type_name == "list":
        below = [("[]", shape.member)]  # type: ignore[attr-defined]
    elif shape.type_name == "map":
        below = [("{}", shape.value)]  # type: ignore[attr-defined]
    names = {name.lower() for name, _ in below}
    here = [path] if "accesskeyid" in names and names & {"secretaccesskey", "secretkey"} else []
    return here + [p for n, s in below for p in secret_holders(s, (*path, n), seen)]


def test_every_operation_of_aws_that_hands_out_credentials_is_in_one_of_the_tables() -> None:
    session = botocore.session.Session()
    found = set()
    for service in models_with_secrets():
        model = session.get_service_model(service)
        for name in model.operation_names:
            if secret_holders(model.operation_model(name).output_shape):
                found.add((service, name))

    assert found == ISSUING_OPERATIONS | UNREPLACED_OPERATIONS
    assert not ISSUING_OPERATIONS & UNREPLACED_OPERATIONS


def value_of(name: str, shape: Shape) -> Any:
    folded = name.lower()
    if folded == "accesskeyid":
        return KEY
    if folded in ("secretaccesskey", "secretkey"):
        return SECRET
    if folded == "sessiontoken":
        return TOKEN
    if shape.type_name == "long":
        return int(REAL.timestamp()) * 1000
    if shape.type_name != "timestamp":
        return ["s3://bucket/prefix"]
    iso = shape.serialization.get("timestampFormat") == "iso8601"
    return "2026-11-24T03:00:00Z" if iso else int(REAL.timestamp())


def answer_of(model: OperationModel) -> bytes:
    """Write an answer of the operation, from its model."""
    assert model.output_shape is not None
    ((*path,),) = secret_holders(model.output_shape)
    shape: Any = model.output_shape
    for name in path:
        shape = shape.members[name]
    tree: Any = {name: value_of(name, member) for name, member in shape.members.items()}
    for name in reversed(path):
        tree = {name: tree}
    if model.service_model.protocol not in ("query", "rest-xml"):
        return json.dumps(tree).encode()
    fields = "".join(
        f"\n  <{name}>{'2026-11-24T03:00:00Z' if name == 'Expiration' else value}</{name}>"
        for name, value in tree["Credentials"].items()
    )
    result = f"<{model.name}Result><Credentials>{fields}\n</Credentials></{model.name}Result>"
    if model.service_model.protocol == "rest-xml":
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{result}'.encode()
    return f'<{model.name}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{result}\
<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></{model.name}Response>'.encode()


def parsed(model: OperationModel, body: bytes) -> Any:
    assert model.output_shape is not None
    response = {"status_code": 200, "headers": {}, "body": body, "context": {}}
    return create_parser(model.service_model.protocol).parse(response, model.output_shape)


def with_surrogates(tree: Any) -> Any:
    """Put the new values for the real ones into what botocore parsed."""
    if isinstance(tree, Mapping):
        return {name: with_surrogates(value) for name, value in tree.items()}
    end = datetime.fromtimestamp(NEW_END, UTC)
    table: list[tuple[Any, Any]] = [
        (KEY, NEW["access_key_id"]),
        (SECRET, NEW["secret_access_key"]),
        (TOKEN, NEW["session_token"]),
        (REAL, end),
        (int(REAL.timestamp()) * 1000, NEW_END * 1000),
    ]
    return next((new for old, new in table if tree == old), tree)


@pytest.mark.parametrize(("service", "name"), sorted(ISSUING_OPERATIONS))
def test_botocore_reads_the_surrogates_where_the_real_ones_were_and_all_else_as_before(
    service: str, name: str
) -> None:
    model = operation(service, name)
    body = answer_of(model)

    new = replaced(body)

    assert parsed(model, new) == with_surrogates(parsed(model, body))
    assert find_issued(body) == Issued(KEY, SECRET, TOKEN, int(REAL.timestamp()), "")
    assert find_issued(new) == Issued(
        NEW["access_key_id"], NEW["secret_access_key"], NEW["session_token"], NEW_END, ""
    )


ROLE = {"RoleArn": "arn:aws:iam::123456789012:role/Reader", "RoleSessionName": "alice"}
MOTO = {
    "assume role": ("sts", "AssumeRole", ROLE, ARN),
    "web identity": ("sts", "AssumeRoleWithWebIdentity", ROLE | {"WebIdentityToken": "t.t.t"}, ARN),
    "session token": ("sts", "GetSessionToken", {}, ""),
    "federation token": ("sts", "GetFederationToken", {"Name": "bob"}, ""),
    "cognito": (
        "cognito-identity",
        "GetCredentialsForIdentity",
        {"IdentityId": "us-east-1:12345678-1234-1234-1234-123456789012"},
        "",
    ),
}


@pytest.mark.parametrize(("service", "name", "arguments", "arn"), MOTO.values(), ids=MOTO)
def test_the_answers_of_moto_are_rewritten_and_differ_in_four_values_only(
    service: str, name: str, arguments: dict[str, str], arn: str
) -> None:
    bodies: list[bytes] = []
    with mock_aws():
        client: Any = boto3.Session(
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key="x",
            region_name="us-east-1",
        ).client(service)  # type: ignore[call-overload]
        client.meta.events.register(
            "response-received.*.*", lambda response_dict, **_: bodies.append(response_dict["body"])
        )
        client._make_api_call(name, arguments)
    model, (body,) = operation(service, name), bodies
    before = parsed(model, body)
    real = before["Credentials"]
    issued = find_issued(body)
    assert issued is not None

    after = parsed(model, replaced(body))

    secret = "SecretKey" if service == "cognito-identity" else "SecretAccessKey"
    assert issued == Issued(
        real["AccessKeyId"],
        real[secret],
        real["SessionToken"],
        int(real["Expiration"].timestamp()),
        arn,
    )
    assert after.pop("Credentials") == {
        "AccessKeyId": NEW["access_key_id"],
        secret: NEW["secret_access_key"],
        "SessionToken": NEW["session_token"],
        "Expiration": datetime.fromtimestamp(NEW_END, UTC),
    }
    assert after == {name: value for name, value in before.items() if name != "Credentials"}


# --- the bytes ----------------------------------------------------------------------

XML = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <SourceIdentity>J&#246;rg &amp; é</SourceIdentity><Empty/>
    <AssumedRoleUser>
      <AssumedRoleId>AROAEXAMPLE:{KEY}</AssumedRoleId>
      <Arn>{ARN}</Arn>
    </AssumedRoleUser>
    <Credentials>
      <SessionToken>{TOKEN}</SessionToken><Extra a="1 > 0">&lt;</Extra>
      <AccessKeyId>{KEY}</AccessKeyId>
      <SecretAccessKey>{SECRET}</SecretAccessKey>
      <Expiration>END</Expiration>
    </Credentials>
  </AssumeRoleResult>
</AssumeRoleResponse>"""
JSON = f"""{{"AssumeRoleResponse": {{"AssumeRoleResult" :{{
  "PackedPolicySize":null, "n": 1.50E+2, "big": 12345678901234567890, "t":[true, {{"a":[]}}, -0.0],
  "AssumedRoleUser":{{"Arn":"{ARN}","AssumedRoleId":"AROAEXAMPLE:{KEY}"}},
  "Credentials":{{"Expiration" : END , "SessionToken":"{TOKEN}", "ü\\u00fc\\"": "\\\\",
  "SecretAccessKey":\t"{SECRET}","AccessKeyId":"{KEY}"}}
}}}}}}"""

FORMS = {
    "XML, a second": (XML, "2026-11-24T03:00:00Z", "2026-11-24T02:30:01Z"),
    "XML, milliseconds": (XML, "2026-11-24T03:00:00.999Z", "2026-11-24T02:30:01.000Z"),
    "XML, microseconds": (XML, "2026-11-24T03:00:00.721485Z", "2026-11-24T02:30:01.000000Z"),
    "XML, an offset": (XML, "2026-11-24T03:00:00+00:00", "2026-11-24T02:30:01+00:00"),
    "XML, another offset": (XML, "2026-11-24T08:30:00+05:30", "2026-11-24T08:00:01+05:30"),
    "XML, a short offset": (XML, "2026-11-23T22:00:00-0500", "2026-11-23T21:30:01-0500"),
    "JSON, Java's double": (JSON, "1.7954892E9", "1.795487401E9"),
    "JSON, a double": (JSON, "1795489200.0", "1795487401.0"),
    "JSON, a fraction": (JSON, "1795489200.789", "1795487401.000"),
    "JSON, whole seconds": (JSON, "1795489200", "1795487401"),
    "JSON, milliseconds": (JSON, "1795489200789", "1795487401000"),
    "JSON, milliseconds as a double": (JSON, "1.7954892E12", "1.795487401E12"),
    "JSON, a small e": (JSON, "1.7954892e+9", "1.795487401e9"),
    "JSON, a text": (JSON, '"2026-11-24T03:00:00Z"', '"2026-11-24T02:30:01Z"'),
}


@pytest.mark.parametrize(("body", "end", "new_end"), FORMS.values(), ids=FORMS)
def test_the_end_keeps_its_form_and_no_other_byte_changes(
    body: str, end: str, new_end: str
) -> None:
    old = body.replace("END", end)
    expected = body.replace("END", new_end).replace(SECRET, NEW["secret_access_key"])
    expected = expected.replace(TOKEN, NEW["session_token"])
    key = r'(?<=[>"])' + KEY  # not the one in AssumedRoleId
    expected = re.sub(key, NEW["access_key_id"], expected)

    assert replaced(old.encode()).decode() == expected
    found = find_issued(old.encode())
    assert found == Issued(KEY, SECRET, TOKEN, int(REAL.timestamp()), ARN)


VISIBLE = st.characters(min_codepoint=33, max_codepoint=126)
# No part of the frame, and no marker word: both would be refused, rightly.
TEXTS = st.from_regex(r"~(?!.*[Ss]ecret)[!-~]{12,60}~", fullmatch=True, alphabet=VISIBLE)
KEYS = st.from_regex(r"ASIA[A-Z2-7]{16}", fullmatch=True)
ENDS = st.integers(1, 50_000_000_000)


@given(key=KEYS, secret=TEXTS, token=TEXTS, new=st.tuples(KEYS, TEXTS, TEXTS), end=ENDS)
def test_any_values_come_out_of_xml_and_json_and_any_go_in(
    key: str, secret: str, token: str, new: tuple[str, str, str], end: int
) -> None:
    assume(not any(real in " ".join(new) for real in (key, secret, token)))
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    old = dict(zip(names, (key, secret, token), strict=True))
    fields = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in old.items())
    xml = f"<R><Credentials>{fields}<Expiration>2026-11-24T03:00:00Z</Expiration></Credentials></R>"
    text = json.dumps({"Credentials": old | {"Expiration": 1}}).replace("/", "\\/")
    wanted = dict(zip(names, new, strict=True))
    values = {
        "access_key_id": new[0],
        "secret_access_key": new[1],
        "session_token": new[2],
        "expires_at": end,
    }

    for body in (xml.encode(), text.encode()):
        issued = find_issued(body)
        assert issued is not None
        assert (issued.access_key_id, issued.secret_access_key) == (key, secret)
        assert issued.session_token == token
        out = replace_issued(body, issued, **values)  # type: ignore[arg-type]
        if body.startswith(b"<"):
            root = ET.fromstring(out)  # noqa: S314 - our own
            read = {str(e.tag): e.text for e in root[0]}
            when = datetime.fromtimestamp(end, UTC)
            assert read.pop("Expiration") == f"{when:%Y-%m-%dT%H:%M:%S}Z"
        else:
            read = json.loads(out)["Credentials"]
            assert read.pop("Expiration") == end
        assert read == wanted


# --- what is refused, and what is let alone ---------------------------------------------

GOOD = XML.replace("END", "2026-11-24T03:00:00Z")
GOOD_JSON = JSON.replace("END", "1795489200")
TOKEN_XML = f"<SessionToken>{TOKEN}</SessionToken>"
SECRET_XML = f"<SecretAccessKey>{SECRET}</SecretAccessKey>"


def xml(old: str, new: str) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new).encode()


def js(old: str, new: str) -> bytes:
    assert old in GOOD_JSON
    return GOOD_JSON.replace(old, new).encode()


REFUSED = {
    "a long-term key": b"<K><AccessKeyId>A</AccessKeyId><SecretAccessKey>x</SecretAccessKey></K>",
    "no token": xml(TOKEN_XML, ""),
    "two tokens": xml(TOKEN_XML, TOKEN_XML * 2),
    "a token in another case beside": xml(TOKEN_XML, TOKEN_XML + "<sessiontoken>x</sessiontoken>"),
    "two secrets": xml(SECRET_XML, SECRET_XML * 2),
    "an empty secret": xml(SECRET, ""),
    "a closed secret": xml(SECRET_XML, "<SecretAccessKey/>"),
    "an element in the secret": xml(SECRET, "<x>1</x>"),
    "text and an element in the secret": xml(SECRET, SECRET + "<x/>"),
    "a space around the secret": xml(SECRET, f" {SECRET}\n"),
    "a secret beyond ASCII": xml(SECRET, "é" * 40),
    "CDATA": xml(SECRET, f"<![CDATA[{SECRET}]]>"),
    "a comment": xml(SECRET, f"{SECRET}<!-- -->"),
    "a processing instruction": xml(SECRET_XML, f"<?x y?>{SECRET_XML}"),
    "a document type": b'<!DOCTYPE a [<!ENTITY e "x">]>' + GOOD.encode(),
    "an unknown entity": xml(SECRET, "&secret;"),
    "a namespace prefix": xml("SecretAccessKey>", "s:SecretAccessKey>"),
    "a secret in another case": xml("SecretAccessKey>", "secretaccesskey>"),
    "a mention in a text": xml("<Empty/>", "<M>your SecretAccessKey is</M>"),
    "XML cut short": GOOD.encode()[:-1],
    "XML and more": GOOD.encode() + GOOD.encode(),
    "XML not in UTF-8": GOOD.encode("utf-16"),
    "XML in Latin-1": GOOD.encode("latin-1"),
    "a byte of no UTF-8": GOOD.encode().replace(b"AROA", b"\xff"),
    "no end": xml("<Expiration>2026-11-24T03:00:00Z</Expiration>", ""),
    "an end without a zone": xml("03:00:00Z", "03:00:00"),
    "an end on no day": xml("2026-11-24", "2026-02-30"),
    "an end before the epoch": xml("2026-11-24", "1969-11-24"),
    "an end in RFC 822": xml("2026-11-24T03:00:00Z", "Tue, 24 Nov 2026 03:00:00 GMT"),
    "two assumed roles": xml(f"<Arn>{ARN}</Arn>", f"<Arn>{ARN}</Arn><Arn>{ARN}</Arn>"),
    "JSON cut short": GOOD_JSON.encode()[:-1],
    "JSON and more": GOOD_JSON.encode() + b"{}",
    "JSON in a list": b"[" + GOOD_JSON.encode() + b"]",
    "JSON too deep": GOOD_JSON.encode()[:-1] + b',"d":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "JSON, a second secret": js('"n":', '"SecretKey":"x","n":'),
    "JSON, a secret twice": js('"AccessKeyId":', '"SecretAccessKey":"x","AccessKeyId":'),
    "JSON, a key id twice": js('"AccessKeyId":', '"AccessKeyId":"x","AccessKeyId":'),
    "JSON, an escaped twin": js('"AccessKeyId":', '"secretAccess\\u004bey":"x","AccessKeyId":'),
    "JSON, JSON in a text": js('"n":', '"m":"{\\"secretAccessKey\\":\\"x\\"}","n":'),
    "JSON, a number for a secret": js(f'"{SECRET}"', "12345"),
    "JSON, an object for a secret": js(f'"{SECRET}"', '{"v":"x"}'),
    "JSON, no end": js("1795489200", "null"),
    "JSON, an end of no size": js("1795489200", "1E999999999"),
    "JSON, an end below zero": js("1795489200", "-1795489200"),
    "CBOR": b"\xbf\x6fSecretAccessKey\x61x\xff",
    "plain text": b"SecretAccessKey=x",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_what_looks_like_credentials_and_cannot_be_replaced_goes_to_nobody(body: bytes) -> None:
    with pytest.raises(AnswerError) as caught:
        find_issued(body)

    assert not any(value in str(caught.value) for value in (KEY, SECRET, TOKEN))
    with pytest.raises(AnswerError):
        replace_issued(body, Issued(KEY, SECRET, TOKEN, 1, ""), **NEW, expires_at=NEW_END)


UNTOUCHED = {
    "nothing": b"",
    "an error of STS": b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>",
    "no JSON": b"{",
    "bytes": bytes(range(256)),
    "a caller's identity": b'{"UserId":"AROA:alice","Arn":"arn:aws:sts::1:assumed-role/a/b"}',
}


@pytest.mark.parametrize("body", UNTOUCHED.values(), ids=UNTOUCHED)
def test_an_answer_without_credentials_is_none(body: bytes) -> None:
    assert find_issued(body) is None


def escapes(value: str) -> dict[str, str]:
    hexed = "".join(f"\\u{ord(c):04x}" for c in value)
    return {
        "as it is": value,
        "percent-encoded": quote(value, safe=""),
        "percent-encoded in small letters": "".join(f"%{ord(c):02x}" for c in value),
        "in XML references": "".join(f"&#x{ord(c):X};" for c in value),
        "escaped for JSON": hexed,
        "with JSON's slash": value.replace("/", "\\/"),
        "percent-encoded within references": "".join(f"&#37;{ord(c):02X}" for c in value),
        "escaped for JSON within percent": quote(hexed, safe=""),
    }


@pytest.mark.parametrize("value", [SECRET, TOKEN, KEY], ids=["secret", "token", "key id"])
@pytest.mark.parametrize("way", escapes(""))
def test_a_real_value_that_would_remain_elsewhere_ends_it(way: str, value: str) -> None:
    written = escapes(value)[way]
    in_text = xml("<Empty/>", f"<M>your {written} .</M>")
    in_json = js('"n":', f'"m":{json.dumps(written)},"n":')

    for body in (in_text, in_json):
        with pytest.raises(AnswerError, match="a real credential would still be in the answer"):
            replaced(body)


def test_credentials_of_another_answer_replace_nothing() -> None:
    issued = find_issued(GOOD.encode())
    assert issued is not None
    other = GOOD.replace(SECRET, SECRET[::-1]).encode()

    for body in (other, b"<a/>"):
        with pytest.raises(AnswerError, match="does not hold these"):
            replace_issued(body, issued, **NEW, expires_at=NEW_END)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("value", ["", "a b", "a\n", "é"])
def test_a_new_value_that_no_header_can_hold_is_not_written(name: str, value: str) -> None:
    issued = find_issued(GOOD.encode())
    assert issued is not None

    with pytest.raises(AnswerError, match="visible ASCII"):
        replace_issued(GOOD.encode(), issued, **(NEW | {name: value}), expires_at=NEW_END)


@pytest.mark.parametrize("end", [0, -1, 10**12])
def test_a_new_end_is_in_epoch_seconds(end: int) -> None:
    issued = find_issued(GOOD.encode())
    assert issued is not None

    with pytest.raises(AnswerError, match="expected epoch seconds"):
        replace_issued(GOOD.encode(), issued, **NEW, expires_at=end)


def test_no_repr_holds_a_secret() -> None:
    shown = repr(find_issued(GOOD.encode()))

    assert shown == f"Issued({KEY}, {ARN}, redacted)"
