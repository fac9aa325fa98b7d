"""Gateway credentials: what mint made opens, and nothing else does."""

from __future__ import annotations

import re
from dataclasses import asdict

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from awsgate import session
from awsgate.errors import Code
from awsgate.sealing import parse_sealed, seal
from awsgate.session import (
    GatewayCredentials,
    OpenedSession,
    SessionKeys,
    SessionOpener,
    looks_like_gateway_key,
    mint,
    open_session,
    session_name_for,
)
from tokens import raw_of, refused, text_of

NOW = 1_795_428_930
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
KEYS, OTHER_KEYS = SessionKeys(KEY), SessionKeys(OTHER_KEY)
ARN = "arn:aws:iam::123456789012:role/Reader"
UNKNOWN = "the access key is not one of this gateway's"


def minted(
    keys: SessionKeys = KEYS, *, user: str = "alice", ttl_s: int = 3600, seed: int = 1
) -> GatewayCredentials:
    return mint(
        keys,
        user=user,
        app="console",
        role_arn=ARN,
        ttl_s=ttl_s,
        now=NOW,
        entropy=bytes(range(seed, seed + 32)),
    )


def opened(
    credentials: GatewayCredentials,
    keys: SessionKeys = KEYS,
    *,
    key_id: str | None = None,
    token: str | None = None,
    now: int = NOW,
) -> OpenedSession:
    return open_session(
        keys,
        access_key_id=credentials.access_key_id if key_id is None else key_id,
        session_token=credentials.session_token if token is None else token,
        now=now,
    )


# --- round trip ------------------------------------------------------------------


def test_what_is_minted_opens_with_all_that_was_put_in() -> None:
    credentials = minted()

    result = opened(credentials)

    assert asdict(result.session) == {
        "key_id": credentials.access_key_id,
        "id": bytes(range(23, 33)).hex(),
        "user": "alice",
        "app": "console",
        "role_arn": ARN,
        "issued_at": NOW,
        "expires_at": NOW + 3600,
        "issued": None,
        "login": None,
        "bounds": {"read_only": False, "max_requests": 0},
    }
    assert result.secret_access_key == credentials.secret_access_key
    assert credentials.expires_at == NOW + 3600


@given(
    user=st.text(max_size=255),
    app=st.text(max_size=255),
    key=st.binary(min_size=32, max_size=32),
    entropy=st.binary(min_size=32, max_size=32),
    ttl_s=st.integers(1, 10**7),
)
def test_any_user_and_app_a_policy_can_name_comes_back(
    user: str, app: str, key: bytes, entropy: bytes, ttl_s: int
) -> None:
    keys = SessionKeys(key)
    credentials = mint(
        keys, user=user, app=app, role_arn=ARN, ttl_s=ttl_s, now=NOW, entropy=entropy
    )

    found = opened(credentials, keys).session

    assert (found.user, found.app, found.expires_at) == (user, app, NOW + ttl_s)
    assert looks_like_gateway_key(credentials.access_key_id)
    assert len(credentials.session_token) <= session.MAX_TOKEN_CHARS


def test_the_longest_names_a_policy_takes_still_make_a_token_that_opens() -> None:
    longest = "😀" * 255
    credentials = mint(
        KEYS, user=longest, app=longest, role_arn=ARN, ttl_s=60, now=NOW, entropy=bytes(32)
    )

    assert opened(credentials).session.user == longest


def test_no_token_is_minted_that_would_be_too_long_to_open() -> None:
    with pytest.raises(ValueError, match="expected at most 4096"):
        mint(KEYS, user="u" * 4096, app="a", role_arn=ARN, ttl_s=60, now=NOW, entropy=bytes(32))


def test_a_token_that_is_too_long_is_not_even_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_TOKEN_CHARS", 10_000)
    credentials = minted(user="u" * 4096)
    assert opened(credentials).session.user == "u" * 4096

    monkeypatch.setattr(session, "MAX_TOKEN_CHARS", len(credentials.session_token) - 1)
    assert refused(lambda: opened(credentials)).message == UNKNOWN


def test_credentials_have_the_shape_that_sdks_and_headers_can_hold() -> None:
    credentials = minted()

    assert re.fullmatch(r"GATE[A-Z2-7]{16}", credentials.access_key_id)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", credentials.secret_access_key)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", credentials.session_token)


def test_other_entropy_makes_other_credentials_throughout() -> None:
    one, two = minted(seed=1), minted(seed=2)

    assert one.access_key_id != two.access_key_id
    assert one.secret_access_key != two.secret_access_key
    assert opened(one).session.id != opened(two).session.id


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_and_entropy_of_another_length_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="expected 32"):
        SessionKeys(bytes(size))
    with pytest.raises(ValueError, match="expected 32"):
        mint(KEYS, user="u", app="a", role_arn=ARN, ttl_s=1, now=NOW, entropy=bytes(size))


@pytest.mark.parametrize("ttl_s", [0, -1])
def test_a_session_lasts_at_least_a_second(ttl_s: int) -> None:
    with pytest.raises(ValueError, match="expected more than 0"):
        minted(ttl_s=ttl_s)


# --- what does not open -------------------------------------------------------------


def test_a_token_with_any_bit_changed_is_unknown() -> None:
    credentials = minted()
    raw = raw_of(credentials.session_token)

    for at in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            token = text_of(bytes(changed))
            refusal = refused(lambda token=token: opened(credentials, token=token))  # type: ignore[misc]
            assert (refusal.code, refusal.message) == (Code.UNKNOWN_KEY, UNKNOWN)


def test_a_token_cut_at_any_place_is_unknown() -> None:
    credentials = minted()

    for end in range(1, len(credentials.session_token)):
        token = credentials.session_token[:end]
        refusal = refused(lambda token=token: opened(credentials, token=token))  # type: ignore[misc]
        assert refusal.message == UNKNOWN


GOOD = minted()
SPARE_BITS = text_of(raw_of(GOOD.session_token) + b"\x00")


def of_version(version: int) -> str:
    """Give what a later gateway could seal with the same key, for the same key id."""
    key_id = GOOD.access_key_id.encode()
    payload, _ = parse_sealed(GOOD.session_token, longest=4096).open(KEYS, bound=key_id)
    return seal(KEYS, version, payload, nonce=bytes(12), bound=key_id + bytes([version]))


NOT_OPENED: dict[str, tuple[str, str, SessionKeys]] = {
    "another key id with this token": (minted(seed=2).access_key_id, GOOD.session_token, KEYS),
    "the token of another key id": (GOOD.access_key_id, minted(seed=2).session_token, KEYS),
    "another gateway": (GOOD.access_key_id, GOOD.session_token, OTHER_KEYS),
    "key id in lower case": (GOOD.access_key_id.lower(), GOOD.session_token, KEYS),
    "key id too short": (GOOD.access_key_id[:-1], GOOD.session_token, KEYS),
    "key id with a line break": (GOOD.access_key_id + "\n", GOOD.session_token, KEYS),
    "no key id": ("", GOOD.session_token, KEYS),
    "a byte more": (GOOD.access_key_id, SPARE_BITS, KEYS),
    "padded": (GOOD.access_key_id, GOOD.session_token + "=", KEYS),
    "padded to the full": (GOOD.access_key_id, GOOD.session_token + "==", KEYS),
    "a space before": (GOOD.access_key_id, " " + GOOD.session_token, KEYS),
    "a line break after": (GOOD.access_key_id, GOOD.session_token + "\n", KEYS),
    "not ascii": (GOOD.access_key_id, "é" * 40, KEYS),
    "too long": (GOOD.access_key_id, "A" * 4097, KEYS),
    "of no version": (GOOD.access_key_id, of_version(0), KEYS),
    "of a later version": (GOOD.access_key_id, of_version(5), KEYS),
    "as long as may be": (GOOD.access_key_id, "A" * 4096, KEYS),
}


@pytest.mark.parametrize(("key_id", "token", "keys"), NOT_OPENED.values(), ids=NOT_OPENED)
def test_all_that_was_not_minted_here_is_one_and_the_same_refusal(
    key_id: str, token: str, keys: SessionKeys
) -> None:
    refusal = refused(lambda: opened(GOOD, keys, key_id=key_id, token=token))

    assert (refusal.code, refusal.message) == (Code.UNKNOWN_KEY, UNKNOWN)
    assert refusal.detail == ""
    assert refusal.__cause__ is None


def test_a_token_has_one_spelling_only() -> None:
    """The unused bits of the last character, and the other alphabet of base64."""
    users = ["a", "ab", "abc"]
    tokens = {len(minted(user=user).session_token) % 4: minted(user=user) for user in users}
    loose = [tokens[2], tokens[3]]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    for credentials in loose:
        token = credentials.session_token
        same = [c for c in alphabet if raw_of(token[:-1] + c) == raw_of(token)]
        assert len(same) in (4, 16)
        for last in set(same) - {token[-1]}:
            changed = token[:-1] + last
            refused(lambda c=credentials, t=changed: opened(c, token=t))  # type: ignore[misc]
    other = next(c for c in (minted(seed=s) for s in range(200)) if "-" in c.session_token)
    assert (
        refused(lambda: opened(other, token=other.session_token.replace("-", "+"))).code
        is Code.UNKNOWN_KEY
    )


@pytest.mark.parametrize("prefix", ["AKIA", "ASIA"])
def test_an_aws_key_is_told_apart_without_being_repeated(prefix: str) -> None:
    refusal = refused(lambda: opened(GOOD, key_id=prefix + "IOSFODNN7EXAMPLE"))

    assert refusal.code is Code.UNKNOWN_KEY
    assert refusal.message == f"this is an AWS key ({prefix}...), not a gateway key"
    assert "keep AWS keys off this machine" in refusal.hint
    assert "IOSFODNN" not in str(refusal) + refusal.hint


def test_a_missing_token_says_so() -> None:
    refusal = refused(lambda: opened(GOOD, token=""))

    assert refusal.code is Code.UNKNOWN_KEY
    assert refusal.message == "gateway credentials need their session token"
    assert "AWS_SESSION_TOKEN" in refusal.hint


# --- rotation and time -----------------------------------------------------------------


def test_during_a_rotation_both_keys_open_and_the_current_one_mints() -> None:
    rotating = SessionKeys(OTHER_KEY, previous=KEY)
    old, new = minted(KEYS), minted(rotating)

    assert opened(old, rotating).secret_access_key == old.secret_access_key
    assert opened(new, rotating).secret_access_key == new.secret_access_key
    assert opened(new, OTHER_KEYS).session.user == "alice"
    assert refused(lambda: opened(new, KEYS)).code is Code.UNKNOWN_KEY
    assert new.secret_access_key != old.secret_access_key


def test_a_session_ends_at_the_second() -> None:
    assert opened(GOOD, now=NOW + 3599).session.user == "alice"

    at, after = (refused(lambda n=n: opened(GOOD, now=NOW + n)) for n in (3600, 3660))  # type: ignore[misc]

    assert at.code is after.code is Code.SESSION_EXPIRED
    assert at.message == "the gateway session of alice ended 0 seconds ago"
    assert after.message == "the gateway session of alice ended 60 seconds ago"


def test_a_token_from_the_future_may_be_as_far_off_as_a_clock() -> None:
    assert opened(GOOD, now=NOW - 900).session.user == "alice"
    assert refused(lambda: opened(GOOD, now=NOW - 901)).message == UNKNOWN


# --- the opener --------------------------------------------------------------------------


def test_the_opener_answers_as_open_session_does_and_checks_the_time_every_time() -> None:
    opener = SessionOpener(KEYS)
    ask = {"access_key_id": GOOD.access_key_id, "session_token": GOOD.session_token}

    first, second = opener(**ask, now=NOW), opener(**ask, now=NOW + 3599)

    assert first is second
    assert first == opened(GOOD)
    assert refused(lambda: opener(**ask, now=NOW + 3600)).code is Code.SESSION_EXPIRED
    assert refused(lambda: opener(**ask, now=NOW - 901)).code is Code.UNKNOWN_KEY


def test_a_proved_token_does_not_open_with_another_key_id_or_another_token() -> None:
    opener = SessionOpener(KEYS)
    opener(access_key_id=GOOD.access_key_id, session_token=GOOD.session_token, now=NOW)
    other = minted(seed=2)

    for key_id, token in (
        (other.access_key_id, GOOD.session_token),
        (GOOD.access_key_id, other.session_token),
        (GOOD.access_key_id, ""),
    ):
        refused(lambda k=key_id, t=token: opener(access_key_id=k, session_token=t, now=NOW))  # type: ignore[misc]


def test_the_opener_remembers_so_many_and_forgets_nobody_for_it() -> None:
    opener = SessionOpener(KEYS, maxsize=2)
    many = [minted(seed=seed) for seed in range(10)]

    for credentials in many * 2:
        found = opener(
            access_key_id=credentials.access_key_id,
            session_token=credentials.session_token,
            now=NOW,
        )
        assert found.session.key_id == credentials.access_key_id
    refused(lambda: opener(access_key_id=GOOD.access_key_id, session_token="x", now=NOW))

    assert len(opener._opened) == 2


# --- secrets stay in ----------------------------------------------------------------------


def test_no_repr_holds_a_secret() -> None:
    result = opened(GOOD)
    shown = f"{GOOD!r} {result!r} {KEYS!r} {KEYS.current!r} {SessionKeys(KEY, OTHER_KEY)!r}"

    assert GOOD.secret_access_key not in shown
    assert GOOD.session_token not in shown
    assert repr(KEY)[2:20] not in shown
    assert KEY.hex() not in shown
    assert repr(KEYS.current.secrets) not in shown
    assert GOOD.access_key_id in shown


# --- the name in CloudTrail -----------------------------------------------------------------

NAMES = {
    "alice": "alice",
    "alice@example.com": "alice@example.com",
    "CI+deploy=x,y.z-1_2": "CI+deploy=x,y.z-1_2",
    "a" * 64: "a" * 64,
    "a" * 65: "a" * 51 + "-635361c48bb9",
    "a": "a-ca978112ca1b",
    "": "-e3b0c44298fc",
    "Jörg Weiß": "J_rg_Wei_-85cbf494fcdb",
    "corp\\alice": "corp_alice-ca09d31dd750",
    "-ca978112ca1b": "-ca978112ca1b-fe59d2a1c6c2",
}


@pytest.mark.parametrize(("user", "expected"), NAMES.items())
def test_session_name(user: str, expected: str) -> None:
    assert session_name_for(user) == expected


AWS_SESSION_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
USERS = st.text(max_size=80) | st.text("ab -_/", max_size=4) | st.text("a", max_size=70)


@given(USERS, USERS)
def test_session_names_are_what_sts_takes_stable_and_one_for_each_user(one: str, two: str) -> None:
    assume(one != two)

    names = session_name_for(one), session_name_for(two)

    assert all(AWS_SESSION_NAME.fullmatch(name) for name in names)
    assert names[0] != names[1]
    assert session_name_for(one) == names[0]


@given(USERS)
def test_nobody_can_be_called_what_somebody_else_is_changed_to(user: str) -> None:
    changed = session_name_for(user)
    assume(changed != user)

    assert session_name_for(changed) != changed
