"""What botocore sends again after a refusal: only what may pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError
from botocore.retries import standard
from botocore.retryhandler import create_checker_from_retry_config

from awsgate.aws.faults import (
    PROTOCOLS,
    S3,
    FaultResponse,
)
from awsgate.errors import Code, Refusal
from faulting import CODES, COLUMN, operation, parsed, render

MAY_PASS = {
    Code.THROTTLED, Code.ROLE_UNAVAILABLE, Code.UPSTREAM_FAILED, Code.GATEWAY_FAULT,
}  # fmt: skip


class FakeHttpResponse(AWSResponse):
    """What the retry rules look at of a urllib3 response."""

    def __init__(self, fault: FaultResponse) -> None:
        headers = {name.lower(): value for name, value in fault.headers}
        super().__init__("https://aws.example/", fault.status, headers, None)
        self._content = fault.body


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@pytest.mark.parametrize("code", Code)
def test_the_standard_rules_repeat_only_what_may_pass(code: Code, protocol: str) -> None:
    fault = render(Refusal(code, "no"), protocol)
    context = standard.RetryContext(
        attempt_number=1,
        operation_model=operation(protocol),
        parsed_response=parsed(fault, protocol),
        http_response=FakeHttpResponse(fault),
    )

    repeated = standard.StandardRetryConditions().is_retryable(context)

    assert repeated == (code in MAY_PASS)


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_a_role_that_aws_does_not_let_us_have_is_no_outage(protocol: str) -> None:
    fault = render(Refusal(Code.ROLE_UNAVAILABLE, "no", status=403), protocol)

    answer = parsed(fault, protocol)

    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert answer["Error"]["Code"] == CODES[Code.DENIED][COLUMN[protocol]]
    assert answer["Error"]["Message"].startswith("awsgate role-unavailable: ")


@cache
def s3_client() -> Any:
    return botocore.session.Session().create_client(
        "s3", region_name="us-east-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="x"
    )


def legacy_rules() -> Mapping[str, Any]:
    loader = botocore.session.Session().get_component("data_loader")
    config = loader.load_data("_retry")
    # botocore.client builds this per service; the defaults and S3's extras suffice here.
    rules: dict[str, Any] = json.loads(json.dumps(config["retry"]["__default__"]))
    rules["policies"] |= config["retry"]["s3"]["__default__"]["policies"]
    for name, policy in rules["policies"].items():
        if "$ref" in policy:
            rules["policies"][name] = config["definitions"][policy["$ref"]]
    return {"__default__": rules}


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
def test_the_legacy_rules_repeat_only_what_may_pass(protocol: str) -> None:
    checker = create_checker_from_retry_config(legacy_rules(), operation_name="Any")
    repeated = set()
    for code in Code:
        fault = render(Refusal(code, "no"), protocol)
        answer = (FakeHttpResponse(fault), parsed(fault, protocol))
        if checker(1, answer, None, retries_context={}):
            repeated.add(code)

    assert repeated == MAY_PASS


@pytest.mark.parametrize("call", ["get_object", "head_object", "head_bucket"])
@pytest.mark.parametrize("code", sorted(set(Code) - MAY_PASS))
def test_an_s3_client_sends_one_request(code: Code, call: str) -> None:
    sent = []

    def answer(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        sent.append(request.method)
        method = str(request.method)
        return FakeHttpResponse(render(Refusal(code, "no"), S3, method=method))

    client = s3_client()
    client.meta.events.register_first("before-send.s3", answer, unique_id="answer")
    arguments = {"Bucket": "bucket"} if call == "head_bucket" else {"Bucket": "bucket", "Key": "k"}
    try:
        with pytest.raises(ClientError) as caught:
            getattr(client, call)(**arguments)
    finally:
        client.meta.events.unregister("before-send.s3", unique_id="answer")

    # Of a 400 to HeadObject botocore sees no code and asks for the region. Once.
    bare_400 = call == "head_object" and CODES[code][4] == 400
    assert sent == (["HEAD", "HEAD"] if bare_400 else sent[:1])
    assert call != "get_object" or "no" in str(caught.value)
