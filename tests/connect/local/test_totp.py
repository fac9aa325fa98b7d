"""One-time codes, against the vectors of the RFCs and against another library."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from hypothesis import given
from hypothesis import strategies as st

from awsgate.connect import totp

RFC_SECRET = b"12345678901234567890"

# RFC 4226, appendix D.
HOTP = [
    *("755224", "287082", "359152", "969429", "338314"),
    *("254676", "287922", "162583", "399871", "520489"),
]


@pytest.mark.parametrize(("counter", "code"), list(enumerate(HOTP)))
def test_hotp_gives_the_codes_of_rfc_4226(counter: int, code: str) -> None:
    assert totp.hotp(RFC_SECRET, counter) == code


# RFC 6238, appendix B; the secrets are those of its errata 2866.
SECRETS: dict[Callable[..., Any], bytes] = {
    hashlib.sha1: RFC_SECRET,
    hashlib.sha256: b"12345678901234567890123456789012",
    hashlib.sha512: b"1234567890123456789012345678901234567890123456789012345678901234",
}
TOTP_TABLE = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]


@pytest.mark.parametrize(("now", "sha1", "sha256", "sha512"), TOTP_TABLE)
def test_totp_gives_the_codes_of_rfc_6238(now: int, sha1: str, sha256: str, sha512: str) -> None:
    for (algorithm, secret), code in zip(SECRETS.items(), (sha1, sha256, sha512), strict=True):
        assert totp.hotp(secret, totp.step_at(now), digits=8, algorithm=algorithm) == code


@given(secret=st.binary(min_size=20, max_size=64), now=st.integers(0, 2**40))
def test_another_library_gives_the_same_codes(secret: bytes, now: int) -> None:
    theirs = TOTP(secret, 6, SHA1(), 30, enforce_key_length=False)  # noqa: S303 - HMAC

    assert totp.hotp(secret, totp.step_at(now)).encode() == theirs.generate(now)


NOW = 1_700_000_015
STEP = NOW // 30


@pytest.mark.parametrize(
    ("off", "found"), [(-2, None), (-1, STEP - 1), (0, STEP), (1, STEP + 1), (2, None)]
)
def test_a_clock_may_be_off_by_one_step(off: int, found: int | None) -> None:
    code = totp.hotp(RFC_SECRET, STEP + off)

    assert totp.step_of(RFC_SECRET, code, NOW) == found


@pytest.mark.parametrize("code", ["", "1", "1234567", "abcdef", "١٢٣٤٥٦", "\ud800", "0" * 10_000])
def test_what_is_no_code_is_of_no_step(code: str) -> None:
    assert totp.step_of(RFC_SECRET, code, NOW) is None


def test_before_the_first_step_there_is_none() -> None:
    assert totp.step_of(RFC_SECRET, totp.hotp(RFC_SECRET, 0), 0.5) == 0


def test_a_code_of_two_steps_is_of_the_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totp, "hotp", lambda *_: "123456")

    assert totp.step_of(RFC_SECRET, "123456", NOW) == STEP + 1


@given(st.binary(min_size=1, max_size=64))
def test_a_secret_is_read_as_it_was_written(secret: bytes) -> None:
    assert totp.secret_of_text(totp.secret_as_text(secret)) == secret


def test_the_uri_is_as_apps_read_it() -> None:
    uri = totp.uri_of(RFC_SECRET, user="zoë@x:y", issuer="gate & co")

    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    issuer, user = parts.path.removeprefix("/").split(":")
    assert (unquote(issuer), unquote(user)) == ("gate & co", "zoë@x:y")
    assert parse_qs(parts.query) == {
        "secret": ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"],
        "issuer": ["gate & co"],
        "algorithm": ["SHA1"],
        "digits": ["6"],
        "period": ["30"],
    }
    theirs = TOTP(RFC_SECRET, 6, SHA1(), 30).get_provisioning_uri("zoë@x:y", "gate & co")  # noqa: S303
    assert parse_qs(urlsplit(theirs).query) == parse_qs(parts.query)
    assert unquote(urlsplit(theirs).path) == unquote(parts.path)
