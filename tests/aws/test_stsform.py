"""STS requests of the query protocol: botocore writes them, and a plain form parser reads them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlencode

import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as st

from awsgate.aws.stsform import (
    CHAINED_MAX_S,
    MAX_FIELDS,
    MIN_DURATION_S,
    StsCall,
    capped_duration,
    carries_auth,
    edit_call,
    read_call,
)

ROLE = "arn:aws:iam::123456789012:role/path/Reader+x"
OTHER = "arn:aws:iam::210987654321:role/Reader"
PLAIN = b"Action=AssumeRole&Version=2011-06-15&RoleSessionName=bob&DurationSeconds=43200"
CALL = StsCall("AssumeRole", 43200, "bob", "", "")


def serialised(operation: str, **arguments: Any) -> bytes:
    """Give the body that botocore sends."""
    client: Any = botocore.session.Session().create_client(
        "sts", region_name="eu-west-1", aws_access_key_id="GATE", aws_secret_access_key="x"
    )
    model = client.meta.service_model.operation_model(operation)
    made = client._serializer.serialize_to_request(arguments, model)
    request = AWSRequest("POST", "https://sts.eu-west-1.amazonaws.com/", data=made["body"])
    body = request.prepare().body
    return body if isinstance(body, bytes) else str(body).encode()


BY_BOTOCORE: dict[str, tuple[str, dict[str, Any], StsCall]] = {
    "all of it": (
        "AssumeRole",
        {
            "RoleArn": ROLE,
            "RoleSessionName": "alice@example.com",
            "DurationSeconds": 43200,
            "SourceIdentity": "Alice,A=+",
            "ExternalId": "x:y/z",
            "Policy": '{"Statement": [{"Action": "s3:*&DurationSeconds=9"}]}',
            "Tags": [{"Key": "Action", "Value": "ü;&="}, {"Key": "b", "Value": ""}],
            "TransitiveTagKeys": ["Action"],
        },
        StsCall("AssumeRole", 43200, "alice@example.com", ROLE, "Alice,A=+"),
    ),
    "the least of it": (
        "AssumeRole",
        {"RoleArn": ROLE, "RoleSessionName": "ab"},
        StsCall("AssumeRole", None, "ab", ROLE, ""),
    ),
    "with SAML": (
        "AssumeRoleWithSAML",
        {"RoleArn": ROLE, "PrincipalArn": OTHER, "SAMLAssertion": "PHM+/w=="},
        StsCall("AssumeRoleWithSAML", None, "", ROLE, ""),
    ),
    "with a web identity": (
        "AssumeRoleWithWebIdentity",
        {"RoleArn": ROLE, "RoleSessionName": "pod", "WebIdentityToken": "a.b-_.c"},
        StsCall("AssumeRoleWithWebIdentity", None, "pod", ROLE, ""),
    ),
    "root": (
        "AssumeRoot",
        {
            "TargetPrincipal": "123456789012",
            "TaskPolicyArn": {"arn": "arn:aws:iam::aws:policy/root-task/x"},
            "DurationSeconds": 900,
        },
        StsCall("AssumeRoot", 900, "", "", ""),
    ),
    "a session token": (
        "GetSessionToken",
        {"DurationSeconds": 129600},
        StsCall("GetSessionToken", 129600, "", "", ""),
    ),
    "a federation token": (
        "GetFederationToken",
        {"Name": "Bob"},
        StsCall("GetFederationToken", None, "", "", ""),
    ),
}


@pytest.mark.parametrize(("operation", "arguments", "call"), BY_BOTOCORE.values(), ids=BY_BOTOCORE)
def test_what_botocore_sends_is_read_in_the_body_and_in_the_query(
    operation: str, arguments: dict[str, Any], call: StsCall
) -> None:
    form = serialised(operation, **arguments)

    assert read_call(b"", form) == call
    assert read_call(form, b"") == call


@pytest.mark.parametrize(
    ("operation", "arguments"), [row[:2] for row in BY_BOTOCORE.values()], ids=BY_BOTOCORE
)
def test_an_edit_is_as_if_the_client_had_asked_for_it(
    operation: str, arguments: dict[str, Any]
) -> None:
    form = serialised(operation, **arguments)
    pairs = dict(parse_qsl(form.decode(), keep_blank_values=True, strict_parsing=True))
    pairs |= {"DurationSeconds": "1800", "RoleSessionName": "bob@x,y=z+"}

    query, body = edit_call(b"", form, duration_s=1800, role_session_name="bob@x,y=z+")
    other = edit_call(form, b"", duration_s=1800, role_session_name="bob@x,y=z+")

    assert query == b""
    assert other == (body, b"")
    assert dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)) == pairs
    before, after = form.split(b"&"), body.split(b"&")
    edited = {b"DurationSeconds", b"RoleSessionName"}
    kept = [item for item in before if item.partition(b"=")[0] not in edited]
    assert [item for item in after if item.partition(b"=")[0] not in edited] == kept
    names = [item.partition(b"=")[0] for item in before]
    assert [item.partition(b"=")[0] for item in after][: len(names)] == names


READ = {
    "fields in any order": (b"", b"DurationSeconds=43200&RoleSessionName=bob&Action=AssumeRole"),
    "empty fields": (b"", b"&&" + PLAIN + b"&"),
    "a name in escapes": (b"", PLAIN.replace(b"Action", b"%41cti%6Fn")),
    "a value in escapes": (b"", PLAIN.replace(b"bob", b"%62o%62").replace(b"43200", b"%34320%30")),
    "unread fields in the other place": (b"X-Amz-Date=1&x=", PLAIN),
    "a field without a value": (b"x", PLAIN),
    "a value with an equals sign": (b"", PLAIN + b"&WebIdentityToken=a==b"),
}


@pytest.mark.parametrize(("query", "body"), READ.values(), ids=READ)
def test_other_spellings_of_one_meaning_are_read(query: bytes, body: bytes) -> None:
    assert read_call(query, body) == CALL
    assert read_call(body, query) == CALL


@pytest.mark.parametrize(
    ("more", "expected"),
    [(b"&AWSAccessKeyId=a", True), (b"&signature=s", True), (b"&%58-amz-credential=c", True),
     (b"&Action=GetCallerIdentity", True), (b"", False), (b"&SignatureVersion=2", False),
     (b"&Policy=X-Amz-Signature", False), (b"&X-Am=1", False)],
)  # fmt: skip
def test_what_may_be_a_signature_is_seen_in_either_place(more: bytes, expected: bool) -> None:
    assert carries_auth(b"", PLAIN + more) is expected
    assert carries_auth(PLAIN + more, b"") is expected
    assert carries_auth(more[1:], PLAIN) is expected


NOT_READ = {
    "nothing": (b"", b""),
    "no action": (b"", b"Version=2011-06-15"),
    "an empty action": (b"", b"Action="),
    "an action without a value": (b"", b"Action"),
    "an action with a space": (b"", b"Action=Assume+Role"),
    "two actions": (b"", b"Action=AssumeRole&Action=GetCallerIdentity"),
    "the same action twice": (b"", b"Action=AssumeRole&Action=AssumeRole"),
    "two actions in two places": (b"Action=GetCallerIdentity", b"Action=AssumeRole"),
    "two actions, one in escapes": (b"", PLAIN + b"&%41ction=GetCallerIdentity"),
    "two actions, one in small letters": (b"", PLAIN + b"&action=GetCallerIdentity"),
    "an action in small letters": (b"", b"action=AssumeRole"),
    "two durations": (b"", PLAIN + b"&DurationSeconds=900"),
    "two durations, one in escapes": (b"", PLAIN + b"&Duration%53econds=900"),
    "two durations in two places": (b"DurationSeconds=900", PLAIN),
    "two durations, one empty": (b"", PLAIN + b"&DurationSeconds"),
    "a duration in the other place": (b"Action=AssumeRole", b"DurationSeconds=900"),
    "a session name in the other place": (b"RoleSessionName=x", b"Action=AssumeRole"),
    "a duration in small letters": (b"", b"Action=AssumeRole&durationseconds=43200"),
    "two tokens": (b"", PLAIN + b"&WebIdentityToken=a&webidentitytoken=b"),
    "no number": (b"", b"Action=AssumeRole&DurationSeconds=12h"),
    "an empty number": (b"", b"Action=AssumeRole&DurationSeconds="),
    "a signed number": (b"", b"Action=AssumeRole&DurationSeconds=%2B900"),
    "a number with a space": (b"", b"Action=AssumeRole&DurationSeconds=+900"),
    "a number in other digits": (b"", b"Action=AssumeRole&DurationSeconds=%D9%A9%D9%A0%D9%A0"),
    "a number beyond sense": (b"", b"Action=AssumeRole&DurationSeconds=" + b"9" * 5000),
    "a semicolon": (b"", PLAIN + b"&x=1;DurationSeconds=1"),
    "a cut escape": (b"", PLAIN + b"&x=%4"),
    "no escape": (b"", PLAIN + b"&x=%zz"),
    "a line break at the end": (b"", PLAIN + b"\n"),
    "a bare space": (b"", b"Action=AssumeRole&x=a b"),
    "a byte of no ASCII": (b"", PLAIN + b"&x=\xc3\xbc"),
    "an escape of no UTF-8": (b"", PLAIN + b"&x=%FF"),
    "a NUL in a name": (b"", PLAIN + b"&Action%00=x"),
    "a space in a name": (b"", PLAIN + b"&Action+=x"),
    "no name": (b"", PLAIN + b"&=x"),
    "JSON beside an action": (b"Action=AssumeRole", b'{"DurationSeconds":43200}'),
    "a multipart form": (b"Action=AssumeRole", b"--x\r\nContent-Disposition: form-data\r\n"),
    "fields without end": (b"", PLAIN + b"&" * MAX_FIELDS),
}


@pytest.mark.parametrize(("query", "body"), NOT_READ.values(), ids=NOT_READ)
def test_what_has_two_readings_or_none_is_not_read_and_not_edited(
    query: bytes, body: bytes
) -> None:
    for places in ((query, body), (body, query)):
        assert read_call(*places) is None
        with pytest.raises(ValueError, match="no STS call that can be read"):
            edit_call(*places, duration_s=900, role_session_name=None)


EDITS: dict[str, tuple[bytes, int | None, str | None, bytes]] = {
    "nothing": (PLAIN, None, None, PLAIN),
    "the values that are there": (PLAIN, 43200, "bob", PLAIN),
    "the duration": (PLAIN, 900, None, PLAIN.replace(b"43200", b"900")),
    "the name": (PLAIN, None, "a@b", PLAIN.replace(b"bob", b"a%40b")),
    "both, the longer first": (
        b"DurationSeconds=7&Action=A&RoleSessionName=x",
        3600,
        "alice",
        b"DurationSeconds=3600&Action=A&RoleSessionName=alice",
    ),
    "both, neither there": (
        b"Action=A",
        900,
        "x",
        b"Action=A&DurationSeconds=900&RoleSessionName=x",
    ),
    "a field after a bare end": (b"Action=A&", 900, None, b"Action=A&DurationSeconds=900"),
    "an empty name": (b"RoleSessionName=&Action=A", None, "x", b"RoleSessionName=x&Action=A"),
    "a name without a value": (
        b"RoleSessionName&Action=A",
        None,
        "x",
        b"RoleSessionName=x&Action=A",
    ),
    "a field in escapes": (
        b"&Action=A&Duration%53econds=%31%30%30%30&y=%7e+%20",
        900,
        None,
        b"&Action=A&Duration%53econds=900&y=%7e+%20",
    ),
}


@pytest.mark.parametrize(("form", "seconds", "name", "expected"), EDITS.values(), ids=EDITS)
def test_only_the_fields_that_are_set_change_where_the_action_stands(
    form: bytes, seconds: int | None, name: str | None, expected: bytes
) -> None:
    other = b"X-Amz-Date=%7e&&z"

    in_body = edit_call(other, form, duration_s=seconds, role_session_name=name)
    in_query = edit_call(form, other, duration_s=seconds, role_session_name=name)

    assert in_body == (other, expected)
    assert in_query == (expected, other)


@pytest.mark.parametrize(("seconds", "name"), [(0, None), (-1, None), (None, "")])
def test_what_aws_never_takes_is_not_set(seconds: int | None, name: str | None) -> None:
    with pytest.raises(ValueError, match=r"seconds, expected|name is empty"):
        edit_call(b"", PLAIN, duration_s=seconds, role_session_name=name)


READ_NAMES = {"action", "durationseconds", "rolesessionname", "rolearn", "sourceidentity"}
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9.]{0,12}", fullmatch=True)
FIELDS = st.dictionaries(
    NAMES.filter(lambda name: name.lower() not in READ_NAMES), st.text(max_size=20), max_size=5
).filter(lambda fields: len({name.lower() for name in fields}) == len(fields))


@given(fields=FIELDS, seconds=st.integers(1, 10**6), name=st.text(min_size=1), at=st.integers(0, 5))
def test_whatever_else_is_asked_an_edit_sets_what_it_says_and_keeps_the_rest(
    fields: dict[str, str], seconds: int, name: str, at: int
) -> None:
    items = list(fields.items())
    items.insert(at, ("Action", "AssumeRole"))
    for quoting in (quote_plus, quote):
        form = urlencode(items, quote_via=quoting).encode()

        _, body = edit_call(b"", form, duration_s=seconds, role_session_name=name)

        wanted = [*items, ("DurationSeconds", str(seconds)), ("RoleSessionName", name)]
        assert parse_qsl(body.decode(), keep_blank_values=True) == wanted
        assert body.startswith(form)
        assert read_call(b"", body) == StsCall("AssumeRole", seconds, name, "", "")


CAPPED: dict[str, tuple[int | None, int, int | None]] = {
    "nothing asked, all day left": (None, 86400, 3600),
    "nothing asked, less than the default left": (None, 1800, 1800),
    "more asked than role chaining gives": (43200, 86400, 3600),
    "more asked than is left": (3600, 1800, 1800),
    "as much as is left": (1800, 1800, 1800),
    "less asked than is left": (900, 1800, 900),
    "just the least left": (3600, MIN_DURATION_S, MIN_DURATION_S),
    "a second too few left": (900, MIN_DURATION_S - 1, None),
    "nothing left": (None, -5, None),
    "less asked than AWS gives": (60, 3600, 60),
}


@pytest.mark.parametrize(("asked", "remaining_s", "expected"), CAPPED.values(), ids=CAPPED)
def test_a_duration_ends_with_the_session(
    asked: int | None, remaining_s: int, expected: int | None
) -> None:
    assert capped_duration(asked, remaining_s=remaining_s) == expected


def test_other_calls_have_another_default_and_another_maximum() -> None:
    limits = {"remaining_s": 86400, "default_s": 43200, "maximum_s": 129600}

    assert capped_duration(None, **limits) == 43200
    assert capped_duration(129600, **limits) == 86400
    assert capped_duration(7200, **limits) == 7200
    assert CHAINED_MAX_S == 3600
