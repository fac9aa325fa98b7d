"""The negative twins: a request of any form that is not what was signed goes nowhere.

Each starts from a request that is good (``test_request_forms`` shows that) and changes
one thing. Nothing may reach AWS, and nothing may be stored.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.crt.auth import CrtS3SigV4AsymAuth

from e2e.forms import Stage, stage_in
from e2e.test_request_forms import multipart
from rawclient import Answer, ask, head

HOST = "twins.s3.us-east-1.amazonaws.com"
MRAP_HOST = "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"
EXPRESS = "bb--usw2-az1--x-s3"
EXPRESS_HOST = f"{EXPRESS}.s3express-usw2-az1.us-west-2.amazonaws.com"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage_in(tmp_path_factory.mktemp("twins")) as made:
        yield made


def keys_of(stage: Stage, **other: str) -> Credentials:
    own = {
        "access_key": stage.keys.access_key_id,
        "secret_key": stage.keys.secret_access_key,
        "token": stage.keys.session_token,
    }
    return Credentials(**{**own, **other})


Signer = Callable[[Credentials], Any]


def v4(expires: int = 600) -> Signer:
    return lambda keys: S3SigV4QueryAuth(keys, "s3", "us-east-1", expires=expires)


def v2(expires: int = 600) -> Signer:
    return lambda keys: HmacV1QueryAuth(keys, expires=expires)


def presigned(stage: Stage, signer: Signer, query: str = "", **other: str) -> str:
    request = AWSRequest("GET", f"https://{HOST}/k{query}")
    request.auth_path = f"/twins/k{query}"
    made = signer(keys_of(stage, **other))
    made.add_auth(request)
    url: str = request.url
    return url


def refused(stage: Stage, answer: Answer, before: int, *codes: str) -> None:
    assert answer.code in codes, answer.body
    assert 400 <= answer.status < 500
    assert len(stage.seen()) == before, "it reached AWS"


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(url: str) -> str:
        assert old in url
        return url.replace(old, new, 1)

    return change


def same(url: str) -> str:
    return url


# name -> signer, what happens to the URL, method, further headers, code
PRESIGNED: dict[str, tuple[Signer, Callable[[str], str], str, dict[str, str], str]] = {
    "v4: another key": (v4(), swap("/k?", "/l?"), "GET", {}, "bad-signature"),
    "v4: another method": (v4(), same, "DELETE", {}, "bad-signature"),
    "v4: a parameter more": (v4(), swap("/k?", "/k?acl&"), "GET", {}, "bad-signature"),
    "v4: a longer life": (
        v4(), swap("X-Amz-Expires=600", "X-Amz-Expires=601"), "GET", {}, "bad-signature"),
    "v4: eight days": (v4(691200), same, "GET", {}, "bad-signature"),
    "v4: a parameter twice": (
        v4(), lambda u: u + "&X-Amz-Expires=600", "GET", {}, "bad-signature"),
    "v4: the same in other letters": (
        v4(), lambda u: u + "&x-amz-expires=600", "GET", {}, "bad-signature"),
    "v4: an unsigned x-amz header": (
        v4(), same, "GET", {"x-amz-acl": "public-read"}, "bad-signature"),
    "v4: a header of authorization too": (
        v4(), same, "GET", {"Authorization": "AWS4-HMAC-SHA256 x"}, "unsupported"),
    "v4: the signature cut": (v4(), lambda u: u[:-1], "GET", {}, "bad-signature"),
    "v4: another region": (
        v4(), swap("us-east-1%2Fs3", "us-west-1%2Fs3"), "GET", {}, "scope-mismatch"),
    "v2: another key": (v2(), swap("/k?", "/l?"), "GET", {}, "bad-signature"),
    "v2: another method": (v2(), same, "PUT", {}, "bad-signature"),
    "v2: a subresource more": (v2(), swap("/k?", "/k?acl&"), "GET", {}, "bad-signature"),
    "v2: a parameter that it does not cover": (
        v2(), swap("/k?", "/k?prefix=x&"), "GET", {}, "unsupported"),
    "v2: eight days": (v2(691300), same, "GET", {}, "bad-signature"),
    "v2: an unsigned x-amz header": (
        v2(), same, "GET", {"x-amz-acl": "public-read"}, "bad-signature"),
}  # fmt: skip


@pytest.mark.parametrize("row", PRESIGNED)
def test_a_presigned_url_that_was_changed_is_refused(stage: Stage, row: str) -> None:
    signer, change, method, headers, code = PRESIGNED[row]
    before = len(stage.seen())

    answer = stage.fetch(method, change(presigned(stage, signer)), headers=headers)

    refused(stage, answer, before, code)


@pytest.mark.parametrize("signer", [v4, v2], ids=["v4", "v2"])
def test_a_presigned_url_ends_on_time(stage: Stage, signer: Callable[[int], Signer]) -> None:
    url = presigned(stage, signer(2))
    first = stage.fetch("GET", url)
    time.sleep(2.5)
    before = len(stage.seen())

    second = stage.fetch("GET", url)

    assert first.code == ""
    refused(stage, second, before, "session-expired")
    assert b"ended" in second.body


@pytest.mark.parametrize("signer", [v4(), v2()], ids=["v4", "v2"])
@pytest.mark.parametrize(
    "other",
    [{"secret_key": "x" * 43}, {"access_key": "GATE" + "A" * 16}, {"token": "A" * 200},
     {"access_key": "AKIAIOSFODNN7EXAMPLE"}],
    ids=["another secret", "another key id", "another token", "a key of AWS's"],
)  # fmt: skip
def test_a_presigned_url_of_other_keys_is_refused(
    stage: Stage, signer: Signer, other: dict[str, str]
) -> None:
    before = len(stage.seen())

    answer = stage.fetch("GET", presigned(stage, signer, **other))

    refused(stage, answer, before, "bad-signature", "unknown-key")


# --- POST forms ------------------------------------------------------------------------


def form_of(stage: Stage, version: str) -> tuple[str, dict[str, str]]:
    s3 = stage.client("s3", signature_version=version, s3={"addressing_style": "virtual"})
    made = s3.generate_presigned_post(
        "twins", "k", Conditions=[["content-length-range", 1, 100]], ExpiresIn=600
    )
    fields: dict[str, str] = made["fields"]
    return f"https://{HOST}/", fields


FORM_CHANGES: dict[str, dict[str, str]] = {
    "another policy": {"policy": "e30="},
    "another token": {"x-amz-security-token": "A" * 200},
    "another signature": {"x-amz-signature": "0" * 64, "signature": "AAAA"},
}


@pytest.mark.parametrize("version", ["s3v4", "s3"])
@pytest.mark.parametrize("row", FORM_CHANGES)
def test_a_form_that_was_changed_is_refused(stage: Stage, version: str, row: str) -> None:
    url, fields = form_of(stage, version)
    changed = {**fields, **{k: v for k, v in FORM_CHANGES[row].items() if k in fields}}
    assert changed != fields
    body, content_type = multipart(changed, b"data")
    before = len(stage.seen())

    answer = stage.fetch("POST", url, body, {"Content-Type": content_type})

    refused(stage, answer, before, "bad-signature", "unknown-key")


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_conditions_of_a_form_still_bind_at_aws(stage: Stage, version: str) -> None:
    url, fields = form_of(stage, version)
    for changes, size in (({"key": "elsewhere"}, 4), ({}, 200)):
        body, content_type = multipart({**fields, **changes}, b"x" * size)
        answer = stage.fetch("POST", url, body, {"Content-Type": content_type})

        assert (answer.code, answer.status) != ("", 204)
        assert stage.last().fault in ("form-condition", "form-too-large")
    assert ("twins", "elsewhere") not in stage.aws.objects


def test_a_form_with_nothing_signed_is_anonymous_and_refused(stage: Stage) -> None:
    body, content_type = multipart({"key": "k"}, b"data")
    before = len(stage.seen())

    answer = stage.fetch("POST", f"https://{HOST}/", body, {"Content-Type": content_type})

    refused(stage, answer, before, "not-signed")


# --- SigV4a -------------------------------------------------------------------------------


def asymmetric(stage: Stage, **other: str) -> list[tuple[str, str]]:
    request = AWSRequest("GET", f"https://{MRAP_HOST}/k")
    request.context["signing"] = {"region": "*"}
    CrtS3SigV4AsymAuth(keys_of(stage, **other), "s3", "*").add_auth(request)
    return list(request.headers.items())


V4A_CHANGES: dict[str, tuple[Callable[[str, str], str], str]] = {
    "another signature": (
        lambda n, v: v[:-4] + "0000" if n == "authorization" else v, "bad-signature"),
    "another region set": (
        lambda n, v: "us-west-2" if n == "x-amz-region-set" else v, "bad-signature"),
    "another date": (
        lambda n, v: v[:-2] + ("0Z" if v[-2] != "0" else "1Z") if n == "x-amz-date" else v,
        "bad-signature"),
}  # fmt: skip


@pytest.mark.parametrize("row", V4A_CHANGES)
def test_a_sigv4a_request_that_was_changed_is_refused(stage: Stage, row: str) -> None:
    change, code = V4A_CHANGES[row]
    fields = [(n.encode(), change(n.lower(), v).encode()) for n, v in asymmetric(stage)]
    before = len(stage.seen())

    answer = ask(stage.gateway, MRAP_HOST, head("GET", "/k", fields))

    refused(stage, answer, before, code)


def test_a_sigv4a_request_of_another_secret_is_refused(stage: Stage) -> None:
    fields = [(n.encode(), v.encode()) for n, v in asymmetric(stage, secret_key="y" * 43)]
    before = len(stage.seen())

    answer = ask(stage.gateway, MRAP_HOST, head("GET", "/k", fields))

    refused(stage, answer, before, "bad-signature")


# --- S3 Express ------------------------------------------------------------------------------


def express_session(stage: Stage) -> dict[str, str]:
    made = stage.client("s3", region="us-west-2").create_session(Bucket=EXPRESS)
    keys: dict[str, str] = made["Credentials"]
    return keys


def express_get(stage: Stage, keys: dict[str, str], host: str, token_header: str) -> Answer:
    request = AWSRequest("GET", f"https://{host}/k")
    request.headers["Host"] = host
    request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    request.headers[token_header] = keys["SessionToken"]
    signer = SigV4Auth(
        Credentials(keys["AccessKeyId"], keys["SecretAccessKey"]), "s3express", "us-west-2"
    )
    signer.add_auth(request)
    fields = [(n.encode(), v.encode()) for n, v in request.headers.items()]
    return ask(stage.gateway, host, head("GET", "/k", fields))


def test_an_express_session_is_good_for_its_bucket_and_its_header_alone(stage: Stage) -> None:
    keys = express_session(stage)
    other = EXPRESS_HOST.replace("bb--", "cc--")
    own = express_get(stage, keys, EXPRESS_HOST, "x-amz-s3session-token")
    before = len(stage.seen())

    elsewhere = express_get(stage, keys, other, "x-amz-s3session-token")
    misplaced = express_get(stage, keys, EXPRESS_HOST, "x-amz-security-token")
    changed = {**keys, "SecretAccessKey": "z" * 43}
    forged = express_get(stage, changed, EXPRESS_HOST, "x-amz-s3session-token")

    assert own.code == ""
    for answer in (elsewhere, misplaced, forged):
        refused(stage, answer, before, "unknown-key", "bad-signature")


def test_gateway_credentials_are_no_express_session(stage: Stage) -> None:
    keys = {
        "AccessKeyId": stage.keys.access_key_id,
        "SecretAccessKey": stage.keys.secret_access_key,
        "SessionToken": stage.keys.session_token,
    }
    before = len(stage.seen())

    answer = express_get(stage, keys, EXPRESS_HOST, "x-amz-s3session-token")

    refused(stage, answer, before, "unknown-key")


# --- unsigned ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "target", "headers"),
    [
        (HOST, "/k", {}),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/m/invoke",
         {"Authorization": "Bearer canary"}),
        ("dynamodb.us-east-1.amazonaws.com", "/", {"X-Amz-Target": "DynamoDB_20120810.ListTables"}),
        ("sts.us-east-1.amazonaws.com", "/?Action=AssumeRole&RoleArn=x", {}),
        ("sts.us-east-1.amazonaws.com",
         "/?Action=AssumeRoleWithSAML&Action=AssumeRole&RoleArn=x", {}),
        ("sts.us-east-1.amazonaws.com", "/?Action=AssumeRole&RoleArn=x",
         {"X-Amz-Target": "a.AssumeRoleWithWebIdentity"}),
    ],
    ids=["anonymous S3", "a bearer token", "an API that is signed", "AssumeRole", "two Actions",
         "a header that names another"],
)  # fmt: skip
def test_what_is_not_signed_is_refused_by_default(
    stage: Stage, host: str, target: str, headers: dict[str, str]
) -> None:
    before = len(stage.seen())

    answer = stage.fetch("POST" if "model" in target else "GET", f"https://{host}{target}",
                         headers=headers)  # fmt: skip

    refused(stage, answer, before, "not-signed")
    assert b"canary" not in answer.body


def test_a_web_identity_of_a_foreign_account_is_of_no_use(stage: Stage) -> None:
    body = (
        b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=eve"
        b"&WebIdentityToken=x.y.z&RoleArn=arn:aws:iam::999999999999:role/eve"
    )
    answer = stage.fetch(
        "POST", "https://sts.us-east-1.amazonaws.com/", body,
        {"Content-Type": "application/x-www-form-urlencoded"},
    )  # fmt: skip
    text = answer.body.decode()
    keys = {name: text.partition(f"<{name}>")[2].partition("<")[0]
            for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")}  # fmt: skip
    assert keys["AccessKeyId"].startswith("GATE")
    before = len(stage.seen())

    url = presigned(
        stage, v4(), access_key=keys["AccessKeyId"], secret_key=keys["SecretAccessKey"],
        token=keys["SessionToken"],
    )  # fmt: skip
    got = stage.fetch("PUT", url, os.urandom(10))  # it was signed for GET
    gotten = stage.fetch("GET", url)

    refused(stage, got, before, "bad-signature", "denied")
    refused(stage, gotten, before, "denied")
    assert b"no account that the policy names" in gotten.body
