"""The password at the proxy: opens for its key id, in time, at its gateway, and nothing else."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from awsgate.aws.sigv4 import SigningKeys
from awsgate.errors import Code, Refusal
from awsgate.login import Identity, LoginFacts, make_login, mint_login
from awsgate.session import IssuedKeys, Session, SessionKeys, mint, open_session
from awsgate.tunnelpass import (
    MAX_PASSWORD_CHARS,
    TunnelCaller,
    mint_tunnel_pass,
    open_tunnel_pass,
    read_basic,
)

NOW = 1_795_428_930
KEYS, OTHER_KEYS = SessionKeys(bytes(range(32))), SessionKeys(bytes(range(1, 33)))
ENTROPY = bytes(range(40, 72))
ARN = "arn:aws:iam::123456789012:role/Reader"
FACTS = LoginFacts("ab" * 10, "oidc/okta", ("reader",), (("team", ("a",)),))
CREDENTIALS = mint(
    KEYS, user="Ålice", app="dev", role_arn=ARN, ttl_s=3600, now=NOW, entropy=ENTROPY, login=FACTS
)
SESSION = open_session(
    KEYS,
    access_key_id=CREDENTIALS.access_key_id,
    session_token=CREDENTIALS.session_token,
    now=NOW,
).session
OTHER_ID = "GATEAAAAAAAAAAAAAAAA"


def password(session: Session = SESSION) -> str:
    return mint_tunnel_pass(KEYS, session, entropy=ENTROPY)


def opened(text: str, *, key_id: str = SESSION.key_id, now: int = NOW) -> TunnelCaller:
    return open_tunnel_pass(KEYS, key_id, text, now=now)


def test_it_says_whose_session_it_is_and_what_locks_ask_for() -> None:
    caller = opened(password())

    assert (caller.user, caller.proved.id, caller.login) == ("Ålice", SESSION.id, "ab" * 10)
    assert caller.expires_at == NOW + 3600
    assert (caller.role_arns, caller.proved) == ((ARN,), SESSION)


def test_a_session_of_no_login_has_one_too() -> None:
    caller = opened(password(replace(SESSION, login=None)))

    assert (caller.user, caller.login) == ("Ålice", "")


def test_it_ends_at_the_second() -> None:
    assert opened(password(), now=NOW + 3599).user == "Ålice"
    with pytest.raises(Refusal, match="ended 0 seconds ago") as caught:
        opened(password(), now=NOW + 3600)

    assert caught.value.code is Code.SESSION_EXPIRED


LOGIN = make_login(
    Identity("a", "oidc/okta"), ttl_s=60, now=NOW, entropy=ENTROPY, traits=frozenset()
)
BAD = {
    "nothing": "",
    "no base64": "pass word",
    "cut": password()[:-4],
    "longer": password() + "AAAA",
    "endless": "A" * (MAX_PASSWORD_CHARS + 4),
    "the secret key": CREDENTIALS.secret_access_key,
    "the session's token": CREDENTIALS.session_token,
    "a login": mint_login(KEYS, LOGIN, entropy=ENTROPY),
    "a login without its prefix": mint_login(KEYS, LOGIN, entropy=ENTROPY)[10:],
    "another gateway's": mint_tunnel_pass(OTHER_KEYS, SESSION, entropy=ENTROPY),
    "another session's": password(replace(SESSION, key_id=OTHER_ID)),
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_all_that_is_not_it_is_one_refusal(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        opened(text)

    assert caught.value.code is Code.UNKNOWN_KEY
    assert caught.value.message == "the user and password of the proxy are not of this gateway"


def test_any_bit_changed_is_unknown() -> None:
    raw = base64.urlsafe_b64decode(password() + "==")
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1 << (place % 8)
        text = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        with pytest.raises(Refusal) as caught:
            opened(text)
        assert caught.value.code is Code.UNKNOWN_KEY


@pytest.mark.parametrize("key_id", ["", OTHER_ID, "AKIAIOSFODNN7EXAMPLE", "GATE:x", "GATE" * 9])
def test_it_opens_for_its_own_key_id_alone(key_id: str) -> None:
    with pytest.raises(Refusal) as caught:
        opened(password(), key_id=key_id)

    assert caught.value.code is Code.UNKNOWN_KEY


def test_it_signs_nothing_and_is_no_session() -> None:
    with pytest.raises(Refusal) as caught:
        open_session(KEYS, access_key_id=SESSION.key_id, session_token=password(), now=NOW)

    assert caught.value.code is Code.UNKNOWN_KEY


def test_it_is_opened_with_the_key_before_during_a_rotation() -> None:
    rotated = SessionKeys(bytes(range(1, 33)), bytes(range(32)))

    assert open_tunnel_pass(rotated, SESSION.key_id, password(), now=NOW).user == "Ålice"


def test_a_surrogate_says_all_the_roles_it_came_by() -> None:
    """A lock on any of them holds it; its keys stay in the session's own token."""
    further = "arn:aws:iam::123456789012:role/Further"
    keys = SigningKeys("ASIAIOSFODNN7EXAMPLE", "canary-secret", "canary-token")
    issued = IssuedKeys(keys, NOW + 60, further, "alice")
    caller = opened(password(replace(SESSION, issued=issued)))

    assert caller.role_arns == (ARN, further)
    assert caller.proved == SESSION


def test_a_session_of_nobody_has_none() -> None:
    with pytest.raises(ValueError, match="of no user"):
        password(replace(SESSION, user=""))


@pytest.mark.parametrize("entropy", [b"", b"x" * 31])
def test_little_entropy_is_a_mistake(entropy: bytes) -> None:
    with pytest.raises(ValueError, match="entropy is"):
        mint_tunnel_pass(KEYS, SESSION, entropy=entropy)


def test_the_largest_login_fits_or_is_an_error() -> None:
    many = LoginFacts("ab" * 10, "oidc/okta", tuple("r" * 100 for _ in range(64)), ())

    with pytest.raises(ValueError, match="expected at most"):
        password(replace(SESSION, login=many))


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_the_header_is_read() -> None:
    assert read_basic(basic("GATEX:a:b")) == ("GATEX", "a:b")
    assert read_basic("bASIC   R0FURVg6YQ==") == ("GATEX", "a")
    assert read_basic(basic("GATEX")) == ("GATEX", "")


HEADERS = {
    "no scheme": ("R0FURVg6YQ==", Code.NOT_SIGNED),
    "another scheme": ("Bearer gatelogin.secret", Code.NOT_SIGNED),
    "nothing": ("", Code.NOT_SIGNED),
    "no base64": ("Basic secret!", Code.UNKNOWN_KEY),
    "bad padding": ("Basic R0FURVg6YQ=", Code.UNKNOWN_KEY),
    "two values": (f"{basic('a:b')}, {basic('c:d')}", Code.UNKNOWN_KEY),
    "not ascii": (basic("Å:secret"), Code.UNKNOWN_KEY),
    "huge": ("Basic " + "A" * 100_000, Code.UNKNOWN_KEY),
    "empty": ("Basic ", Code.UNKNOWN_KEY),
}


@pytest.mark.parametrize(("value", "code"), HEADERS.values(), ids=HEADERS)
def test_a_bad_header_is_refused_and_not_quoted(value: str, code: Code) -> None:
    with pytest.raises(Refusal) as caught:
        read_basic(value)

    assert caught.value.code is code
    assert "secret" not in f"{caught.value.message}{caught.value.hint}{caught.value.detail}"
