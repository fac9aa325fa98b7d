"""S3's form upload, against botocore, AWS's example, a recorded upload and the stdlib."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from time import perf_counter
from typing import Any

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from urllib3.filepost import encode_multipart_formdata

from awsgate.aws import postform, sigv4
from awsgate.aws.postform import FormError, PostForm
from signers import KEYS, SESSION_KEYS, WHEN

BOTH_KEYS = {"long-term keys": KEYS, "session keys": SESSION_KEYS}
# A file that looks like a form, ends like a line and holds every byte.
FILE = (
    b'--\r\n--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n' + bytes(range(256)) + b"\r\n"
)
BOUNDARY = "7d0468452e99083be8a77c3ee17456ab"
TYPE = f"multipart/form-data; boundary={BOUNDARY}".encode()


@lru_cache
def client(version: str, token: str, region: str) -> Any:
    keys = SESSION_KEYS if token else KEYS
    return botocore.session.Session().create_client(
        "s3",
        region_name=region,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token or None,
        config=Config(signature_version=version),
    )


def botocore_form(
    version: str,
    keys: sigv4.SigningKeys,
    *,
    region: str = "eu-central-1",
    key: str = "user/${filename}",
    fields: dict[str, str] | None = None,
    conditions: list[Any] | None = None,
) -> dict[str, str]:
    """Give the fields that botocore's ``generate_presigned_post`` makes."""
    made = client(version, keys.session_token, region).generate_presigned_post(
        "bucket", key, Fields=fields, Conditions=conditions
    )
    return dict(made["fields"])


def multipart(fields: dict[str, str], file: bytes = FILE) -> bytes:
    """Give the body that urllib3 makes of the fields, as requests does."""
    body, kind = encode_multipart_formdata(
        [*fields.items(), ("file", ("é x.txt", file, "text/plain"))], boundary=BOUNDARY
    )
    assert kind.encode() == TYPE
    return body


def parse(body: bytes, content_type: bytes = TYPE) -> PostForm:
    form = postform.parse(body, content_type)
    assert form is not None
    return form


def read_by_stdlib(body: bytes) -> list[tuple[str, bytes]]:
    """Give name and value of each part, as ``email`` reads them."""
    message = email.message_from_bytes(
        b"Content-Type: " + TYPE + b"\r\n\r\n" + body, policy=email.policy.HTTP
    )
    assert not message.defects
    found = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        value = part.get_payload(decode=True)
        assert isinstance(name, str)
        assert isinstance(value, bytes)
        found.append((name, value))
    return found


# --- botocore, both versions -------------------------------------------------------------

FORMS: dict[str, tuple[dict[str, str] | None, list[Any] | None]] = {
    "key alone": (None, None),
    "fields and conditions": (
        {"acl": "private", "Content-Type": "text/plain", "x-amz-meta-a": "é & <b>",
         "success_action_status": "201"},
        [
            {"acl": "private"},
            ["starts-with", "$Content-Type", "text/"],
            {"x-amz-meta-a": "é & <b>"},
            ["eq", "$success_action_status", "201"],
            ["content-length-range", 1, 5 * 1024**3],
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("keys", BOTH_KEYS.values(), ids=BOTH_KEYS)
@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize(("fields", "conditions"), FORMS.values(), ids=FORMS)
def test_what_botocore_signs_verifies(
    fields: dict[str, str] | None,
    conditions: list[Any] | None,
    version: str,
    keys: sigv4.SigningKeys,
) -> None:
    made = botocore_form(version, keys, fields=fields, conditions=conditions)

    form = parse(multipart(made))

    assert postform.matches(form, secret=keys.secret_access_key)
    assert not postform.matches(form, secret=keys.secret_access_key + "x")
    assert (form.version, form.access_key_id) == (4 if version == "s3v4" else 2, keys.access_key_id)
    assert form.session_token == keys.session_token
    assert form.fields == {name.lower(): value.encode() for name, value in made.items()}
    expiration = json.loads(base64.b64decode(made["policy"]))["expiration"]
    assert postform.expires_at(form) == datetime.fromisoformat(expiration)
    scope = (form.day, form.region, form.service, form.timestamp)
    if form.version == 4:
        assert scope == (form.timestamp[:8], "eu-central-1", "s3", made["x-amz-date"])
    else:
        assert scope == ("", "", "", "")


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("field", ["policy", "signature", "scope"])
def test_a_form_with_one_byte_changed_does_not_verify(version: str, field: str) -> None:
    made = botocore_form(version, KEYS)
    if field == "scope":
        if version == "s3":
            return
        made["x-amz-credential"] = made["x-amz-credential"].replace("eu-central-1", "eu-central-2")
    elif field == "signature":
        name = "x-amz-signature" if version == "s3v4" else "signature"
        made[name] = ("0" if made[name][0] != "0" else "1") + made[name][1:]
    else:
        for at in range(len(made["policy"]) - 2):
            letter = "A" if made["policy"][at] != "A" else "B"
            changed = made["policy"][:at] + letter + made["policy"][at + 1 :]
            form = parse(multipart({**made, "policy": changed}))
            assert not postform.matches(form, secret=KEYS.secret_access_key)
        return

    assert not postform.matches(parse(multipart(made)), secret=KEYS.secret_access_key)


# --- AWS's example and a recorded upload ----------------------------------------------------

EXAMPLE_POLICY = (
    "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7"
    "ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91"
    "c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3Qi"
    "OiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwi"
    "fSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRh"
    "LXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVT"
    "MjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNy"
    "ZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9"
    "LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAi"
    "MjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9"
)
EXAMPLE = {
    "key": "user/user1/${filename}",
    "acl": "public-read",
    "success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html",
    "Content-Type": "image/jpeg",
    "x-amz-meta-uuid": "14365123651274",
    "x-amz-server-side-encryption": "AES256",
    "X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
    "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
    "X-Amz-Date": "20151229T000000Z",
    "x-amz-meta-tag": "",
    "Policy": EXAMPLE_POLICY,
    "X-Amz-Signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
}


def test_the_form_printed_in_the_s3_api_reference_verifies() -> None:
    form = parse(multipart(EXAMPLE))

    assert postform.matches(form, secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    assert postform.expires_at(form) == datetime(2015, 12, 30, 12, tzinfo=UTC)
    assert form.fields["x-amz-meta-tag"] == b""


RECORDED_POLICY = {
    "expiration": "2026-11-22T08:53:24Z",
    "conditions": [
        {"bucket": "bkt-boto"},
        ["starts-with", "$key", "post/"],
        {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
        {"x-amz-credential": "AKIAGATEWAYTEST00001/20261122/us-east-1/s3/aws4_request"},
        {"x-amz-date": "20261122T075324Z"},
    ],
}
RECORDED = [
    ("key", "post/${filename}"),
    ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
    ("x-amz-credential", "AKIAGATEWAYTEST00001/20261122/us-east-1/s3/aws4_request"),
    ("x-amz-date", "20261122T075324Z"),
    ("policy", base64.b64encode(json.dumps(RECORDED_POLICY).encode()).decode()),
    ("x-amz-signature", "b0a5c72608b33cca1c35abd8f980b4a8a744e6dcdf81939abf85cb46bd5fa905"),
]


def recorded_body() -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in RECORDED
    ]
    last = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"'
        f"\r\n\r\nhello\r\n--{BOUNDARY}--\r\n"
    )
    return ("".join(parts) + last).encode()


def test_an_upload_recorded_from_boto3_and_requests_verifies() -> None:
    body = recorded_body()

    assert hashlib.sha256(body).hexdigest() == (
        "86bba4fd91d738a2406cb0b43291cf2bfdf89be961898b26a4f12ebf84431209"
    ), "the body as it was recorded"
    assert postform.matches(parse(body), secret="gwsecret" * 5)


# --- rebuild, checked by others' code ---------------------------------------------------------


def s3_accepts(body: bytes, keys: sigv4.SigningKeys, region: str) -> bool:
    """What S3 checks: the signature, and that every field meets a condition.

    Written from the S3 API Reference ("Creating a POST Policy"); botocore signs.
    """
    named = [(name.lower(), value) for name, value in read_by_stdlib(body)]
    fields = {name: value.decode() for name, value in named if name != "file"}
    assert len(named) == len(fields) + 1
    assert named[-1][0] == "file"
    policy = json.loads(base64.b64decode(fields["policy"]))
    signer = botocore.auth.S3SigV4PostAuth(
        Credentials(keys.access_key_id, keys.secret_access_key), "s3", region
    )
    request = AWSRequest(method="POST", url="https://bucket.s3.amazonaws.com/")
    request.context["timestamp"] = fields["x-amz-date"]
    right = (
        fields["x-amz-signature"] == signer.signature(fields["policy"], request)
        and fields["x-amz-credential"] == signer.scope(request)
        and fields.get("x-amz-security-token", "") == keys.session_token
    )
    fields["bucket"] = "bucket"
    met = set()
    for condition in policy["conditions"]:
        if isinstance(condition, dict):
            ((name, value),) = condition.items()
            operator = "eq"
        else:
            operator, name, value = condition
        name = str(name).removeprefix("$").lower()
        if operator == "content-length-range":
            right &= int(condition[1]) <= len(named[-1][1]) <= int(condition[2])
            continue
        found = fields.get(name, "")
        right &= found == value if operator == "eq" else found.startswith(value)
        met.add(name)
    free = {"x-amz-signature", "policy", "file", "bucket", "awsaccesskeyid", "signature"}
    return right and not {n for n in fields if not n.startswith("x-ignore-")} - met - free


ROLE_KEYS = {
    "a role's keys": sigv4.SigningKeys("ASIAROLEEXAMPLE", "role/Secret", "role+token//=="),
    "keys without a token": sigv4.SigningKeys("AKIAROLEEXAMPLE", "other/Secret", ""),
}
AUTH = {
    "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token",
    "x-amz-signature", "awsaccesskeyid", "signature", "policy",
}  # fmt: skip


@pytest.mark.parametrize("role", ROLE_KEYS.values(), ids=ROLE_KEYS)
@pytest.mark.parametrize("keys", BOTH_KEYS.values(), ids=BOTH_KEYS)
@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize(("fields", "conditions"), FORMS.values(), ids=FORMS)
def test_a_rebuilt_form_is_one_that_s3_accepts(
    fields: dict[str, str] | None,
    conditions: list[Any] | None,
    version: str,
    keys: sigv4.SigningKeys,
    role: sigv4.SigningKeys,
) -> None:
    before = multipart(botocore_form(version, keys, fields=fields, conditions=conditions))

    after = postform.rebuild(parse(before), keys=role, region="us-west-2", now=WHEN)

    assert s3_accepts(after, role, "us-west-2")
    old, new = read_by_stdlib(before), read_by_stdlib(after)
    assert [f for f in new if f[0].lower() not in AUTH] == [
        f for f in old if f[0].lower() not in AUTH
    ]
    assert dict(new)["file"] == FILE
    assert keys.access_key_id.encode() not in after
    assert after.endswith(before[before.index(b'; name="file"') :])
    policies = [json.loads(base64.b64decode(dict(form)["policy"])) for form in (old, new)]
    assert policies[0]["expiration"] == policies[1]["expiration"]
    kept = [
        [c for c in p["conditions"] if isinstance(c, list) or not AUTH & set(c)] for p in policies
    ]
    assert kept[0] == kept[1]
    assert dict(new)["x-amz-date"] == b"20261123T101530Z"
    assert postform.matches(parse(after), secret=role.secret_access_key)


def test_the_check_of_the_rebuilt_form_can_fail() -> None:
    role = ROLE_KEYS["a role's keys"]
    form = parse(multipart(botocore_form("s3v4", KEYS)))
    after = postform.rebuild(form, keys=role, region="us-west-2", now=WHEN)

    assert not s3_accepts(after, role, "us-west-1")
    assert not s3_accepts(after, replace(role, secret_access_key="x"), "us-west-2")
    assert not s3_accepts(after.replace(b"user/$", b"usurper/$"), role, "us-west-2")
    assert not s3_accepts(after.replace(b'name="key"', b'name="acl"'), role, "us-west-2")


def test_conditions_about_the_signature_are_replaced_however_they_are_written() -> None:
    conditions = [
        {"bucket": "bucket"},
        ["eq", "$key", "k"],
        ["starts-with", "$X-Amz-Credential", "AKID"],
        {"X-AMZ-DATE": "20261123T101530Z"},
        ["eq", "$x-amz-algorithm", "AWS4-HMAC-SHA256"],
        {"AWSAccessKeyId": "x"},
    ]
    form = with_policy({"expiration": "2026-11-23T11:00:00Z", "conditions": conditions, "x": None})

    after = postform.rebuild(form, keys=KEYS, region="us-west-2", now=WHEN)

    assert s3_accepts(after, KEYS, "us-west-2")
    policy = json.loads(base64.b64decode(parse(after).policy))
    assert policy == {
        "expiration": "2026-11-23T11:00:00Z",
        "conditions": [
            *conditions[:2],
            {"x-amz-algorithm": "AWS4-HMAC-SHA256"},
            {"x-amz-credential": "AKIDEXAMPLE/20261123/us-west-2/s3/aws4_request"},
            {"x-amz-date": "20261123T101530Z"},
        ],
        "x": None,
    }


# --- the policy --------------------------------------------------------------------------------

FIELDS = {
    "key": "k",
    "x-amz-algorithm": "AWS4-HMAC-SHA256",
    "x-amz-credential": "AKIDEXAMPLE/20261123/us-east-1/s3/aws4_request",
    "x-amz-date": "20261123T101530Z",
    "policy": "e30=",
    "x-amz-signature": "0123456789abcdef" * 4,
}


def with_policy(policy: object) -> PostForm:
    text = policy if isinstance(policy, bytes) else json.dumps(policy).encode()
    return parse(multipart({**FIELDS, "policy": base64.b64encode(text).decode()}))


OBJECT = "the policy is not a JSON object of plain values, or holds a key twice"
NO_EXPIRATION = "the policy has no expiration like 2026-11-23T10:15:30Z"
BAD_POLICIES: dict[str, tuple[object, str]] = {
    "not json": (b"expiration", OBJECT),
    "not utf-8": (b'{"expiration": "\xff"}', OBJECT),
    "a list": ([], OBJECT),
    "a number that json does not know": (b'{"expiration": NaN}', OBJECT),
    "a fraction": (b'{"expiration": "2026-11-23T10:15:30Z", "x": 1.5}', OBJECT),
    "an expiration twice": (
        b'{"expiration": "2026-11-23T10:15:30Z", "expiration": "2036-11-23T10:15:30Z"}', OBJECT,
    ),
    "an expiration in two cases": (
        b'{"expiration": "2026-11-23T10:15:30Z", "Expiration": "2036-11-23T10:15:30Z"}', OBJECT,
    ),
    "a bucket twice in one condition": (
        b'{"expiration": "2026-11-23T10:15:30Z", "conditions": [{"bucket": "a", "bucket": "b"}]}',
        OBJECT,
    ),
    "deeper than any reader goes": (b'{"expiration":' + b"[" * 40000, OBJECT),
    "no expiration": ({"conditions": []}, NO_EXPIRATION),
    "an expiration in another case": ({"Expiration": "2026-11-23T10:15:30Z"}, NO_EXPIRATION),
    "an expiration in seconds": ({"expiration": 1795334265}, NO_EXPIRATION),
    "an expiration without a zone": ({"expiration": "2026-11-23T10:15:30"}, NO_EXPIRATION),
    "an expiration with an offset": ({"expiration": "2026-11-23T10:15:30+14:00"}, NO_EXPIRATION),
    "an expiration that is no day": ({"expiration": "2026-11-31T10:15:30Z"}, NO_EXPIRATION),
    "an expiration with a line break": ({"expiration": "2026-11-23T10:15:30Z\n"}, NO_EXPIRATION),
}  # fmt: skip


@pytest.mark.parametrize(("policy", "expected"), BAD_POLICIES.values(), ids=BAD_POLICIES)
def test_an_expiration_with_two_readings_is_none(policy: object, expected: str) -> None:
    with pytest.raises(FormError) as caught:
        postform.expires_at(with_policy(policy))

    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "value", ["2026-11-23T10:15:30Z", "2026-11-23T10:15:30.000Z", "2026-11-23T10:15:30.0Z"]
)
def test_an_expiration_may_have_fractions(value: str) -> None:
    assert postform.expires_at(with_policy({"expiration": value})) == WHEN


@pytest.mark.parametrize(
    "conditions",
    [None, {}, "x", [1], ["x"], [["eq", "$key"]], [{}], [{"a": "b", "x-amz-date": "c"}], [None]],
)
def test_rebuild_refuses_conditions_that_it_cannot_read(conditions: object) -> None:
    form = with_policy({"expiration": "2026-11-23T11:00:00Z", "conditions": conditions})

    with pytest.raises(FormError, match="condition"):
        postform.rebuild(form, keys=KEYS, region="us-east-1", now=WHEN)


# --- the fields -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"key": "k"}, {"key": "k", "x-amz-meta-a": "b"}])
def test_a_form_without_a_signature_is_anonymous(fields: dict[str, str]) -> None:
    assert postform.parse(multipart(fields), TYPE) is None


def changed(**values: str | None) -> dict[str, str]:
    """Give ``FIELDS`` with values for names (``_`` for ``-``) put in, or taken out (None)."""
    given = {name.replace("_", "-"): value for name, value in values.items()}
    return {name: value for name, value in {**FIELDS, **given}.items() if value is not None}


CHARACTER = "field {} is empty or holds a character it may not hold"
SCOPE = "Credential is not <key id>/<YYYYMMDD>/<region>/<service>/aws4_request"
V2 = {"key": "k", "AWSAccessKeyId": "AKIDEXAMPLE", "policy": "e30=", "signature": "A" * 27 + "="}
V2_BAD = "awsaccesskeyid is no key id, or signature not the base64 of 20 bytes"
BAD_FIELDS = {
    "no policy": (changed(policy=None), "field policy is missing"),
    "policy alone": ({"policy": "e30="}, "field x-amz-algorithm is missing"),
    "token alone": ({"x-amz-security-token": "t"}, "field policy is missing"),
    "no algorithm": (changed(x_amz_algorithm=None), "field x-amz-algorithm is missing"),
    "no credential": (changed(x_amz_credential=None), "field x-amz-credential is missing"),
    "no date": (changed(x_amz_date=None), "field x-amz-date is missing"),
    "no signature": (changed(x_amz_signature=None), "field x-amz-signature is missing"),
    "both versions": ({**FIELDS, **V2}, "the form holds fields of both signature versions"),
    "key id of version 2 beside version 4": (
        {**FIELDS, "AWSAccessKeyId": "AKIDEXAMPLE"},
        "the form holds fields of both signature versions",
    ),
    "version 2 without a key id": (
        {"policy": "e30=", "signature": "A" * 27 + "="}, "field awsaccesskeyid is missing",
    ),
    "version 2 without a policy": (
        {n: v for n, v in V2.items() if n != "policy"}, "field policy is missing",
    ),
    "version 2 with a key id of two": ({**V2, "AWSAccessKeyId": "AKID/EXAMPLE"}, V2_BAD),
    "version 2 with a signature in hex": ({**V2, "signature": "a" * 40}, V2_BAD),
    "policy in the alphabet of urls": (
        changed(policy="e30_"), "field policy is not base64 in one line",
    ),
    "policy in two lines": (changed(policy="e30=\r\n"), CHARACTER.format("policy")),
    "policy without padding": (changed(policy="e30"), "field policy is not base64 in one line"),
    "empty policy": (changed(policy=""), CHARACTER.format("policy")),
    "another algorithm": (
        changed(x_amz_algorithm="AWS4-ECDSA-P256-SHA256"), "algorithm is not AWS4-HMAC-SHA256",
    ),
    "credential of four parts": (
        changed(x_amz_credential="AKIDEXAMPLE/20261123/us-east-1/s3"), SCOPE,
    ),
    "another part inside the credential": (
        changed(x_amz_credential=FIELDS["x-amz-credential"] + ",Signature=" + "0" * 64),
        CHARACTER.format("x-amz-credential"),
    ),
    "another part inside the algorithm": (
        changed(x_amz_algorithm="AWS4-HMAC-SHA256 Credential=x"),
        CHARACTER.format("x-amz-algorithm"),
    ),
    "a day that is not the date's": (
        changed(x_amz_date="20261124T101530Z"),
        "date of the credential scope differs from x-amz-date",
    ),
    "no such date": (changed(x_amz_date="20261123T251530Z"), "x-amz-date is not a date"),
    "signature in upper case": (
        changed(x_amz_signature="ABCDEF" + "0" * 58), "Signature is not 64 lower-case hex digits",
    ),
    "empty token": (
        changed(x_amz_security_token=""), CHARACTER.format("x-amz-security-token"),
    ),
    "token with a line break": (
        changed(x_amz_security_token="a\nb"), CHARACTER.format("x-amz-security-token"),
    ),
    "key twice": ({**FIELDS, "Key": "other"}, "a field is there more than once"),
    "signature twice, in another case": (
        {**FIELDS, "X-Amz-Signature": "0" * 64}, "a field is there more than once",
    ),
    "a field of over 64 KiB": (changed(key="k" * 65537), "a field is over 65536 bytes"),
    "a head of over 1 MiB": (
        {**FIELDS, **{f"x-ignore-{i}": "x" * 65536 for i in range(16)}},
        "the fields before the file are over 1048576 bytes",
    ),
    "a thousand fields": (
        {**FIELDS, **{f"x-ignore-{i}": "x" for i in range(1000)}}, "more than 1000 fields",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), BAD_FIELDS.values(), ids=BAD_FIELDS)
def test_a_bad_field_is_refused_and_the_reason_holds_none_of_it(
    fields: dict[str, str], expected: str
) -> None:
    with pytest.raises(FormError) as caught:
        postform.parse(multipart(fields), TYPE)

    assert str(caught.value) == expected
    assert caught.value.__cause__ is None


def test_a_field_may_be_64_kib_and_the_file_far_more() -> None:
    form = parse(multipart(changed(key="k" * 65536), file=b"x" * (2 * 1024**2)))

    assert len(form.fields["key"]) == 65536


def test_the_repr_shows_who_and_nothing_else() -> None:
    form = parse(multipart(changed(x_amz_security_token="canary")))

    assert repr(form) == "PostForm(version=4, AKIDEXAMPLE, redacted)"


# --- the multipart body ---------------------------------------------------------------------

GOOD = multipart(FIELDS, b"hello")
KEY = b'Content-Disposition: form-data; name="key"\r\n'
LINE = f"--{BOUNDARY}\r\n".encode()
END = f"--{BOUNDARY}--\r\n".encode()
EXTRA = LINE + b'Content-Disposition: form-data; name="x-ignore-a"\r\n\r\nv\r\n'
READABLE = {
    "as urllib3 writes it": GOOD,
    "name as a token, as .NET writes it": GOOD.replace(b'name="key"', b"name=key"),
    "headers in another case": GOOD.replace(KEY, KEY.lower()),
    "disposition in another case": GOOD.replace(b"form-data; name", b"Form-Data;NAME", 1),
    "name in another case": GOOD.replace(b'name="key"', b'name="Key"'),
    "a content type on a field": GOOD.replace(KEY, KEY + b"Content-Type: text/plain\r\n"),
    "a transfer encoding that is none": GOOD.replace(
        KEY, KEY + b"Content-Transfer-Encoding: 8bit\r\n"
    ),
    "a true length": GOOD.replace(KEY, KEY + b"Content-Length: 1\r\n"),
    "no line break at the end": GOOD.removesuffix(b"\r\n"),
    "an empty file": multipart(FIELDS, b""),
    "a file without a name": GOOD.replace('; filename="é x.txt"'.encode(), b""),
    "a file's name in the other form": GOOD.replace(
        b"; filename=", b"; filename*=utf-8''x;filename="
    ),
}


@pytest.mark.parametrize("body", READABLE.values(), ids=READABLE)
def test_forms_of_many_clients_are_read_alike(body: bytes) -> None:
    form = parse(body)

    assert form.fields == {name: value.encode() for name, value in FIELDS.items()}
    assert [name for name, _, _ in form.parts] == [*FIELDS, "file"]
    spans = b"".join(LINE + body[start:end] for _, start, end in form.parts)
    assert body.startswith(spans)
    assert body[len(spans) :] in (END, END.removesuffix(b"\r\n"))


ALONE = "the form has no end, or a boundary not on a line of its own"
MALFORMED_HEADER = "a part header is malformed"
MEANINGLESS = "a part header is there twice, or means nothing in a form"
DISPOSITION = "content-disposition is malformed"
NAME = "a field name is not a token of at most 128 characters"


def in_key(header: bytes) -> bytes:
    return GOOD.replace(KEY, KEY + header + b"\r\n")


def named(disposition: bytes) -> bytes:
    return GOOD.replace(KEY, b"Content-Disposition: form-data" + disposition + b"\r\n")


UNREADABLE = {
    "empty": (b"", "the body does not start with its boundary"),
    "a preamble": (b"x\r\n" + GOOD, "the body does not start with its boundary"),
    "an empty line before": (b"\r\n" + GOOD, "the body does not start with its boundary"),
    "nothing but the end": (END, "the body does not start with its boundary"),
    "space after a boundary": (
        GOOD.replace(LINE, LINE[:-2] + b" \r\n"), "the body does not start with its boundary",
    ),
    "space after a later boundary": (
        GOOD.replace(b"\r\n" + LINE, b"\r\n" + LINE[:-2] + b" \r\n"),
        "a line starts with the boundary and is none",
    ),
    "a line in a file that starts with the boundary": (
        GOOD.replace(b"hello", b"a\r\n" + LINE[:-2] + b"x\r\nb"),
        "a line starts with the boundary and is none",
    ),
    "a boundary after a bare line feed": (
        GOOD.replace(b"hello", b"a\n" + LINE + b"b"), ALONE,
    ),
    "a bare line feed before the end": (
        GOOD.replace(b"hello\r\n", b"hello\n"), ALONE,
    ),
    "bare line feeds everywhere": (
        GOOD.replace(b"\r\n", b"\n"), "the body does not start with its boundary",
    ),
    "no end": (GOOD.removesuffix(b"\r\n" + END), ALONE),
    "an end without dashes": (GOOD.replace(END, LINE[:-2]),
                              "a line starts with the boundary and is none"),
    "one dash at the end": (
        GOOD.replace(END, LINE[:-2] + b"-"), "a line starts with the boundary and is none",
    ),
    "an epilogue": (GOOD + b"x", "something follows the end of the form"),
    "an epilogue without a line break": (
        GOOD.removesuffix(b"\r\n") + b"x", "something follows the end of the form",
    ),
    "a second form": (GOOD + GOOD, "something follows the end of the form"),
    "a field after the file": (
        GOOD.replace(END, EXTRA + END), "a field follows the file: S3 ignores it",
    ),
    "a second file": (
        GOOD.replace(END, EXTRA.replace(b"x-ignore-a", b"File") + END),
        "a field follows the file: S3 ignores it",
    ),
    "no file": (GOOD[: GOOD.rindex(LINE)] + END, "the form has no file field"),
    "an empty value without its line": (
        GOOD.replace(b'"key"\r\n\r\nk\r\n', b'"key"\r\n\r\n'), ALONE,
    ),
    "a part without headers": (
        GOOD.replace(LINE + KEY, LINE, 1), MALFORMED_HEADER,
    ),
    "headers without an end": (LINE + KEY, "a part has no header, or no end of its headers"),
    "headers with a bare line feed": (
        GOOD.replace(KEY, KEY.replace(b"\r\n", b"\nX: y\r\n")), MALFORMED_HEADER,
    ),
    "a folded header": (
        GOOD.replace(b"form-data; name", b"form-data;\r\n name", 1), MALFORMED_HEADER,
    ),
    "a space before the colon": (
        GOOD.replace(b"Content-Disposition:", b"Content-Disposition :", 1), MALFORMED_HEADER,
    ),
    "a null byte in a header": (in_key(b"Content-Type: a\0"), MALFORMED_HEADER),
    "no disposition": (
        GOOD.replace(KEY, b"Content-Type: a\r\n"), "a part has no content-disposition",
    ),
    "two dispositions": (
        in_key(b'content-disposition: form-data; name="acl"'), MEANINGLESS,
    ),
    "a header that means nothing here": (in_key(b"X-Amz-Acl: public-read"), MEANINGLESS),
    "base64": (
        in_key(b"Content-Transfer-Encoding: base64"),
        "content-transfer-encoding is not 7bit, 8bit or binary",
    ),
    "a false length": (
        in_key(b"Content-Length: 2"), "content-length of a part is not its length",
    ),
    "an attachment": (
        GOOD.replace(b"form-data; name=", b"attachment; name=", 1),
        "content-disposition is not form-data",
    ),
    "no name": (named(b""), NAME),
    "an empty name": (named(b'; name=""'), NAME),
    "a name with a space": (named(b'; name="key "'), NAME),
    "a name with an escape": (named(b'; name="k%65y"'), NAME),
    "a name beyond ascii": (named('; name="ké"'.encode()), NAME),
    "a name of 129 characters": (named(b'; name="' + b"k" * 129 + b'"'), NAME),
    "two names": (
        named(b'; name="key"; Name="acl"'), "content-disposition holds a parameter twice",
    ),
    "an extended name": (
        named(b"; name=\"key\"; name*=utf-8''acl"),
        "content-disposition holds more than name and filename",
    ),
    "a continued name": (
        named(b'; name*0="k"; name*1="ey"; name="acl"'),
        "content-disposition holds more than name and filename",
    ),
    "a quoted pair in the name": (named(b'; name="k\\ey"'), DISPOSITION),
    "a quote without an end": (named(b'; name="key'), DISPOSITION),
    "text after the quote": (named(b'; name="key"x'), DISPOSITION),
    "a semicolon at the end": (named(b'; name="key";'), DISPOSITION),
    "space around the equals sign": (named(b'; name = "key"'), DISPOSITION),
    "a filename on another field": (
        named(b'; name="key"; filename="a"'), "a field other than the file has a filename",
    ),
    "a quote escaped in the filename": (
        GOOD.replace(b'; filename="', b'; filename="a\\"; name=\\"key'), DISPOSITION,
    ),
    "two names of the file where one is used": (
        multipart(changed(key="a/${filename}")).replace(
            b"; filename=", b"; filename*=u''x; filename="
        ),
        "${filename} is used and the file's name is given as filename*",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_body_with_two_readings_is_refused(body: bytes, expected: str) -> None:
    with pytest.raises(FormError) as caught:
        postform.parse(body, TYPE)

    assert str(caught.value) == expected


KIND = "content-type is not multipart/form-data"
NO_BOUNDARY = "content-type has no boundary as RFC 2046 defines it"
CONTENT_TYPES: dict[str, tuple[bytes, str | None]] = {
    "in quotes": (b'multipart/form-data; boundary="' + BOUNDARY.encode() + b'"', None),
    "in another case": (TYPE.replace(b"m", b"M").replace(b"boundary", b"BOUNDARY"), None),
    "without the space": (TYPE.replace(b"; ", b";"), None),
    "with a charset": (TYPE + b"; charset=utf-8", None),
    "empty": (b"", KIND),
    "of another kind": (TYPE.replace(b"form-data", b"mixed"), KIND),
    "urlencoded": (b"application/x-www-form-urlencoded", KIND),
    "two kinds": (b"text/plain, " + TYPE, KIND),
    "no boundary": (b"multipart/form-data", NO_BOUNDARY),
    "an empty boundary": (b'multipart/form-data; boundary=""', NO_BOUNDARY),
    "an extended boundary beside": (TYPE + b"; boundary*=utf-8''x", NO_BOUNDARY),
    "a boundary that ends in a space": (
        b'multipart/form-data; boundary="' + BOUNDARY.encode() + b' "', NO_BOUNDARY,
    ),
    "a boundary of 71 characters": (b"multipart/form-data; boundary=" + b"a" * 71, NO_BOUNDARY),
    "a boundary of other characters": (b"multipart/form-data; boundary=a%b", NO_BOUNDARY),
    "two boundaries": (TYPE + b"; Boundary=x", "content-type holds a parameter twice"),
    "a boundary with a line break": (TYPE + b"\r\nx", "content-type is malformed"),
    "a slash outside of quotes": (TYPE + b"/x", "content-type is malformed"),
    "another boundary": (TYPE + b"x", "the body does not start with its boundary"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), CONTENT_TYPES.values(), ids=CONTENT_TYPES)
def test_the_boundary_is_read_from_the_content_type(value: bytes, expected: str | None) -> None:
    if expected is None:
        assert parse(GOOD, value).boundary == BOUNDARY.encode()
        return
    with pytest.raises(FormError) as caught:
        postform.parse(GOOD, value)

    assert str(caught.value) == expected


def test_a_header_of_blanks_is_refused_at_once() -> None:
    """Nobody's signature is proved yet. Two patterns that both take them need half a minute."""
    blanks = b" " * (postform.MAX_VALUE_BYTES - 100)
    body = b"--b\r\nContent-Disposition:" + blanks + b"\x01\r\n\r\nx\r\n--b--\r\n"
    before = perf_counter()

    with pytest.raises(FormError, match="part header is malformed"):
        postform.parse(body, b"multipart/form-data; boundary=b")
    assert perf_counter() - before < 5
