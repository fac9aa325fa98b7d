"""An error of AWS's that holds credentials is withheld, whatever its status says."""

from __future__ import annotations

import gzip

import pytest

from awsgate.addon.answers import _check_error
from awsgate.errors import Code, Refusal

HELD = b"""<ErrorResponse><Credentials><AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>
<SecretAccessKey>canary-secret</SecretAccessKey><SessionToken>canary-token</SessionToken>
<Expiration>2026-11-23T10:45:30Z</Expiration></Credentials></ErrorResponse>"""


def test_an_error_with_credentials_is_withheld() -> None:
    with pytest.raises(Refusal, match="holds credentials") as caught:
        _check_error(HELD, "text")

    assert caught.value.code is Code.GATEWAY_FAULT
    assert "canary" not in caught.value.message


def test_an_error_as_aws_has_them_goes_through() -> None:
    words = b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
    _check_error(words, "text")
    _check_error(b"\xa1" + words, "cbor")


def test_an_error_that_cannot_be_read_is_withheld() -> None:
    with pytest.raises(Refusal, match="cannot be read") as caught:
        _check_error(gzip.compress(HELD), "text")

    assert caught.value.code is Code.GATEWAY_FAULT
