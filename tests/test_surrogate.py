"""Surrogates: what they stand for comes back whole, and out of nothing but their own token."""

from __future__ import annotations

import base64
import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awsgate import session
from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code
from awsgate.session import (
    MAX_TOKEN_CHARS,
    GatewayCredentials,
    OpenedSession,
    Session,
    SessionKeys,
    SessionOpener,
    looks_like_gateway_key,
    mint,
    mint_surrogate,
    open_session,
)
from awsgate.surrogate import IssuedKeys, pack, unpack
from tokens import raw_of, refused, text_of

NOW = 1_795_428_930
KEYS = SessionKeys(bytes(range(32)))
ROLE = "arn:aws:iam::123456789012:role/Reader"
SECRET = "rEaL/secret+0123456789abcdefghijklmnopqr"
TOKEN = base64.b64encode(bytes(range(256)) * 3).decode()
UNKNOWN = "the access key is not one of this gateway's"
ISSUED = IssuedKeys(
    keys=SigningKeys("ASIAREALREALREALREAL", SECRET, TOKEN),
    expires_at=NOW + 1800,
    role_arn="arn:aws:iam::210987654321:role/Writer",
    session_name="alice@example.com",
)
EXPRESS = replace(ISSUED, role_arn="", session_name="", express=True, bucket_host="b--x-s3.s3.test")


def parent(*, ttl_s: int = 3600, keys: SessionKeys = KEYS) -> Session:
    credentials = mint(
        keys,
        user="alice",
        app="console",
        role_arn=ROLE,
        ttl_s=ttl_s,
        now=NOW - 60,
        entropy=bytes(range(32)),
    )
    return opened(credentials, keys).session


def surrogate(
    issued: IssuedKeys = ISSUED, *, of: Session | None = None, seed: int = 100, now: int = NOW
) -> GatewayCredentials:
    entropy = bytes(range(seed, seed + 32))
    return mint_surrogate(KEYS, of or parent(), issued, now=now, entropy=entropy)


def opened(
    credentials: GatewayCredentials,
    keys: SessionKeys = KEYS,
    *,
    key_id: str = "",
    token: str = "",
    now: int = NOW,
) -> OpenedSession:
    return open_session(
        keys,
        access_key_id=key_id or credentials.access_key_id,
        session_token=token or credentials.session_token,
        now=now,
    )


# --- round trip ------------------------------------------------------------------


@pytest.mark.parametrize("issued", [ISSUED, EXPRESS], ids=["a role", "S3 Express"])
def test_a_surrogate_is_its_parents_session_with_the_real_keys_in_it(issued: IssuedKeys) -> None:
    origin = parent()
    credentials = surrogate(issued, of=origin)

    result = opened(credentials)

    assert result.session == Session(
        key_id=credentials.access_key_id,
        id=origin.id,
        user="alice",
        app="console",
        role_arn=ROLE,
        issued_at=NOW - 60,
        expires_at=NOW + 1800,
        issued=issued,
    )
    assert result.secret_access_key == credentials.secret_access_key
    assert credentials.expires_at == NOW + 1800
    assert looks_like_gateway_key(credentials.access_key_id)
    assert credentials.access_key_id != origin.key_id
    assert origin.issued is None


TEXTS = (
    st.text(st.characters(), max_size=80)
    | st.binary(max_size=400).map(lambda raw: base64.b64encode(raw).decode())
    | st.binary(max_size=60).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
    | st.text("AB+/=", max_size=8)
)


@given(
    texts=st.tuples(TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS),
    expires_at=st.integers(NOW + 1, 2**40 - 1),
    express=st.booleans(),
    user=st.text(max_size=100),
)
def test_whatever_aws_issued_comes_back_to_the_letter(
    texts: tuple[str, ...], expires_at: int, express: bool, user: str
) -> None:
    key_id, secret, token, role_arn, session_name, host = texts
    issued = IssuedKeys(
        keys=SigningKeys(key_id, secret, token),
        expires_at=expires_at,
        role_arn=role_arn,
        session_name=session_name,
        express=express,
        bucket_host=host,
    )

    found = opened(surrogate(issued, of=replace(parent(), user=user))).session

    assert found.issued == issued
    assert found.user == user
    assert found.expires_at == min(NOW - 60 + 3600, expires_at)


def test_a_surrogate_of_a_surrogate_holds_the_later_keys_only() -> None:
    first = opened(surrogate()).session
    later = replace(ISSUED, keys=SigningKeys("ASIALATER", "later", "l"), expires_at=NOW + 900)

    second = opened(surrogate(later, of=first, seed=150)).session

    assert second.issued == later
    assert (second.id, second.user, second.role_arn) == (first.id, "alice", ROLE)
    assert second.expires_at == NOW + 900
    assert opened(
        surrogate(replace(later, expires_at=NOW + 9000), of=first)
    ).session.expires_at == (NOW + 1800)


def test_plain_tokens_are_what_they_were_before_there_were_surrogates() -> None:
    """A token made by the version of awsgate before this one."""
    token = (
        "AfiPZuYKCwwNDg8QERITFBW8L7jqrPIpLQDntV3HLpcv1ml7ey_u6YiGYJlpPLBaBpmWkIQ7DDiLvOgt"
        "lmyso_Z2tYIVYvo7JMPWhxcKb2F2HpZdnBavUiLvvUiq64sqLDZ6T0FRWzMPEk0jEfnNZIfQIWELgrOX"
        "ZLjaf_CXiKLGo0OE12gTmiY"
    )
    found = open_session(
        KEYS, access_key_id="GATEAAAQEAYEAUDAOCAJ", session_token=token, now=NOW
    ).session

    assert (found.user, found.app, found.role_arn, found.issued) == ("alice", "console", ROLE, None)
    assert (found.issued_at, found.expires_at) == (NOW, NOW + 3600)


# --- as short as can be -----------------------------------------------------------------


def test_a_real_token_costs_no_more_than_its_own_length_and_a_little() -> None:
    other = replace(ISSUED, keys=replace(ISSUED.keys, session_token=""))
    with_token, without = surrogate(), surrogate(other)

    assert len(TOKEN) == 1024
    assert len(with_token.session_token) - len(without.session_token) <= 1024
    assert len(with_token.session_token) < 1024 + 400


def test_the_longest_token_aws_has_been_seen_to_issue_fits_beside_the_longest_names() -> None:
    longest = replace(parent(), user="😀" * 255, app="😀" * 255)
    token = base64.b64encode(bytes(range(250)) * 8).decode()
    keys = replace(ISSUED.keys, session_token=token)
    issued = replace(ISSUED, keys=keys, role_arn="arn:aws:iam::123456789012:role/" + "r" * 576)

    found = opened(surrogate(issued, of=longest)).session

    assert len(token) > 2500
    assert found.issued == issued


def test_no_surrogate_is_minted_that_would_be_too_long_to_open() -> None:
    def sized(size: int) -> IssuedKeys:
        return replace(ISSUED, keys=replace(ISSUED.keys, session_token="-" * size))

    spare = (MAX_TOKEN_CHARS - len(surrogate(sized(0)).session_token)) * 3 // 4
    fits = surrogate(sized(spare))

    assert MAX_TOKEN_CHARS - 2 <= len(fits.session_token) <= MAX_TOKEN_CHARS == 8192
    assert opened(fits).session.issued == sized(spare)
    for size in (spare + 3, 40_000):
        with pytest.raises(ValueError, match="expected") as caught:
            surrogate(sized(size))
        assert "---" not in str(caught.value)


# --- time ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parent_s", "issued_s", "end_s"), [(3600, 900, 900), (600, 900, 540), (960, 900, 900)]
)
def test_a_surrogate_ends_with_its_parent_or_with_the_real_keys(
    parent_s: int, issued_s: int, end_s: int
) -> None:
    issued = replace(ISSUED, expires_at=NOW + issued_s)
    credentials = surrogate(issued, of=parent(ttl_s=parent_s))

    assert credentials.expires_at == NOW + end_s
    assert opened(credentials, now=NOW + end_s - 1).session.issued == issued
    late = refused(lambda: opened(credentials, now=NOW + end_s))
    assert late.code is Code.SESSION_EXPIRED


@pytest.mark.parametrize("ended_s", [0, 5])
@pytest.mark.parametrize("whose", ["parent", "issued"])
def test_nothing_is_minted_from_what_has_ended(whose: str, ended_s: int) -> None:
    origin, issued = parent(), ISSUED
    if whose == "parent":
        origin = replace(origin, expires_at=NOW - ended_s)
    else:
        issued = replace(issued, expires_at=NOW - ended_s)

    with pytest.raises(ValueError, match=f"would have ended {ended_s} seconds ago"):
        surrogate(issued, of=origin)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_entropy_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="expected 32"):
        mint_surrogate(KEYS, parent(), ISSUED, now=NOW, entropy=bytes(size))


# --- what does not open -------------------------------------------------------------------

SHORT = replace(ISSUED, keys=SigningKeys("ASIA", "s", "t"), role_arn="", session_name="")


def test_a_token_with_any_bit_changed_or_cut_anywhere_is_unknown() -> None:
    credentials = surrogate(SHORT)
    raw = raw_of(credentials.session_token)
    tokens = [credentials.session_token[:end] for end in range(1, len(credentials.session_token))]
    for at in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        tokens.append(text_of(bytes(changed)))

    for token in tokens:
        refusal = refused(lambda token=token: opened(credentials, token=token))  # type: ignore[misc]
        assert (refusal.code, refusal.message) == (Code.UNKNOWN_KEY, UNKNOWN)


def test_neither_kind_of_token_opens_as_the_other() -> None:
    """The version is a part of what is sealed."""
    plain = mint(
        KEYS, user="u", app="a", role_arn=ROLE, ttl_s=60, now=NOW, entropy=bytes(range(32))
    )
    for credentials, version in ((plain, 2), (surrogate(), 1), (plain, 3), (surrogate(), 3)):
        raw = raw_of(credentials.session_token)
        token = text_of(bytes([version]) + raw[1:])
        refusal = refused(lambda c=credentials, t=token: opened(c, token=t))  # type: ignore[misc]
        assert refusal.message == UNKNOWN


def test_a_token_opens_with_its_own_key_id_and_its_own_gateway_only() -> None:
    one, two = surrogate(), surrogate(seed=150)
    other = SessionKeys(bytes(32))

    for call in (
        lambda: opened(one, key_id=two.access_key_id),
        lambda: opened(one, token=two.session_token),
        lambda: opened(one, key_id=parent().key_id),
        lambda: opened(one, other),
        lambda: opened(one, key_id="GATEAAAAAAAAAAAAAAAA"),
    ):
        assert refused(call).message == UNKNOWN
    assert refused(lambda: opened(one, key_id="ASIAREALREALREALREAL")).code is Code.UNKNOWN_KEY


def test_during_a_rotation_surrogates_of_the_key_before_still_open() -> None:
    rotated = SessionKeys(bytes(32), previous=bytes(range(32)))

    assert opened(surrogate(), rotated).session.issued == ISSUED


def test_the_opener_gives_the_real_keys_every_time_and_checks_the_time() -> None:
    opener, credentials = SessionOpener(KEYS), surrogate()
    ask = {
        "access_key_id": credentials.access_key_id,
        "session_token": credentials.session_token,
    }

    first, second = opener(**ask, now=NOW), opener(**ask, now=NOW + 1799)

    assert first is second
    assert first.session.issued == ISSUED
    assert refused(lambda: opener(**ask, now=NOW + 1800)).code is Code.SESSION_EXPIRED


# --- packing --------------------------------------------------------------------------------


BY_OTHERS = replace(ISSUED, came_by=("arn:aws:iam::210987654321:role/Wr/x", ROLE, "a\nb\ud800", ""))


@pytest.mark.parametrize(
    "issued", [ISSUED, EXPRESS, BY_OTHERS], ids=["a role", "S3 Express", "by other roles"]
)
def test_packed_keys_that_are_cut_or_longer_are_none(issued: IssuedKeys) -> None:
    packed = pack(issued)

    assert unpack(packed) == issued
    for wrong in [packed[:end] for end in range(len(packed))] + [packed + b"\x00"]:
        with pytest.raises(ValueError, match="packed keys"):
            unpack(wrong)


NEARLY_BASE64 = ["", "QQ", "QR==", "QQ=", "QQ==\n", "QQ= =", "QQ==QQ==", "_-_-", "é", "QQ==="]


@pytest.mark.parametrize("token", NEARLY_BASE64)
def test_text_that_is_nearly_base64_comes_back_to_the_letter(token: str) -> None:
    issued = replace(ISSUED, keys=replace(ISSUED.keys, session_token=token))

    assert unpack(pack(issued)) == issued


@pytest.mark.parametrize("expires_at", [-1, 1 << 40])
def test_an_end_out_of_all_time_is_not_packed(expires_at: int) -> None:
    with pytest.raises(ValueError, match="expected epoch seconds"):
        pack(replace(ISSUED, expires_at=expires_at))


# --- secrets stay in --------------------------------------------------------------------------


def test_no_repr_holds_a_real_key() -> None:
    credentials = surrogate()
    result = opened(credentials)
    shown = f"{ISSUED!r} {credentials!r} {result!r} {result.session!r} {copy.copy(ISSUED)}"

    for hidden in (SECRET, TOKEN, TOKEN[:40], credentials.session_token):
        assert hidden not in shown
    assert "IssuedKeys(ASIAREALREALREALREAL, arn:aws:iam::210987654321:role/Writer, redacted)" in (
        shown
    )


def test_what_the_client_holds_shows_nothing_of_the_real_keys() -> None:
    credentials = surrogate()
    raw = raw_of(credentials.session_token)

    for hidden in (b"ASIA", SECRET.encode(), base64.b64decode(SECRET), bytes(range(20)), b"Writer"):
        assert hidden not in raw
        assert hidden not in credentials.session_token.encode()
    assert session.KEY_PREFIX == "GATE"
