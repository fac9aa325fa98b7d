"""Passwords and codes of the gateway's own users: who gets in, and who does not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from awsgate.connect.local import LocalUsers
from awsgate.login import Identity
from localusers import PASSWORD, QUICK, Clock, Phone, enrolled, files_in, refusal

# --- getting in -------------------------------------------------------------------------------


async def test_password_and_code_prove_the_user(users: LocalUsers, clock: Clock) -> None:
    phone = await enrolled(users, clock)

    assert await users.prove("alice", PASSWORD, phone.code()) == Identity("alice", "local")


@pytest.mark.parametrize("off_s", [-30, 30])
async def test_a_phone_may_be_a_step_off(users: LocalUsers, clock: Clock, off_s: int) -> None:
    phone = await enrolled(users, clock)

    assert (await users.prove("alice", PASSWORD, phone.code(off_s))).user == "alice"


async def test_a_code_may_be_typed_in_two_groups(users: LocalUsers, clock: Clock) -> None:
    code = (await enrolled(users, clock)).code()

    assert (await users.prove("alice", PASSWORD, f"{code[:3]} {code[3:]}")).user == "alice"


async def test_composed_and_decomposed_accents_are_one_password(users: LocalUsers) -> None:
    invitation = users.add("alice", wants_totp=False)
    assert invitation is not None
    await users.accept(invitation.token, "caf\u00e9 caf\u00e9 caf\u00e9")

    assert (await users.prove("alice", "cafe\u0301 cafe\u0301 cafe\u0301", "")).user == "alice"


async def test_who_was_added_without_an_authenticator_needs_no_code(users: LocalUsers) -> None:
    invitation = users.add("bot", wants_totp=False)
    assert invitation is not None

    assert (await users.accept(invitation.token, PASSWORD)).totp_uri == ""
    assert (await users.prove("bot", PASSWORD, "")).user == "bot"


NAMES = [
    "alice@example.com",
    "Alice",
    "../../etc/passwd",
    "zoë łê",
    "a/b",
    "=",
    ".hidden",
    "x" * 255,
]


async def test_any_name_has_a_file_of_its_own(
    users: LocalUsers, folder: Path, clock: Clock
) -> None:
    phones = {name: await enrolled(users, clock, name) for name in [*NAMES, "alice"]}

    for name, phone in phones.items():
        assert (await users.prove(name, PASSWORD, phone.code())).user == name
    records, faults = users.files.all()
    assert ([record.user for record in records], faults) == (sorted([*NAMES, "alice"]), [])
    files = [name for name in files_in(folder) if not name.startswith(".")]
    assert len({name.lower() for name in files}) == len(NAMES) + 1  # also where case is folded


# --- not getting in ---------------------------------------------------------------------------

Attempt = Callable[[LocalUsers, Phone, Clock], Awaitable[object]]


async def _used_code(users: LocalUsers, phone: Phone, _: Clock) -> object:
    code = phone.code()
    await users.prove("alice", PASSWORD, code)
    return await users.prove("alice", PASSWORD, code)


async def _older_code(users: LocalUsers, phone: Phone, _: Clock) -> object:
    await users.prove("alice", PASSWORD, phone.code())
    return await users.prove("alice", PASSWORD, phone.code(-30))


async def _late_code(users: LocalUsers, phone: Phone, clock: Clock) -> object:
    code = phone.code()
    clock.now += 60
    return await users.prove("alice", PASSWORD, code)


async def _locked_out(users: LocalUsers, phone: Phone, _: Clock) -> object:
    for _try in range(5):
        await refusal(users.prove("alice", "wrong", phone.code()))
    return await users.prove("alice", PASSWORD, phone.code())


async def _not_enrolled(users: LocalUsers, *_: object) -> object:
    users.add("bob")
    return await users.prove("bob", "", "")


async def _after_a_reset(users: LocalUsers, phone: Phone, _: Clock) -> object:
    users.reset("alice")
    return await users.prove("alice", PASSWORD, phone.code())


async def _after_a_removal(users: LocalUsers, phone: Phone, _: Clock) -> object:
    users.remove("alice")
    return await users.prove("alice", PASSWORD, phone.code())


async def _damaged(users: LocalUsers, phone: Phone, _: Clock) -> object:
    (users.files.folder / "alice.json").write_text("{")
    return await users.prove("alice", PASSWORD, phone.code())


async def _authenticator_taken_out(users: LocalUsers, *_: object) -> object:
    path = users.files.folder / "alice.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "totp": ""}))
    return await users.prove("alice", PASSWORD, "")


async def _open_to_others(users: LocalUsers, phone: Phone, _: Clock) -> object:
    (users.files.folder / "alice.json").chmod(0o640)
    return await users.prove("alice", PASSWORD, phone.code())


REFUSED: dict[str, tuple[str, Attempt]] = {
    "unknown user": ("unknown-user", lambda u, p, _: u.prove("mallory", PASSWORD, p.code())),
    "another case": ("unknown-user", lambda u, p, _: u.prove("Alice", PASSWORD, p.code())),
    "no name at all": ("unknown-user", lambda u, p, _: u.prove("", PASSWORD, p.code())),
    "a name of no characters": ("unknown-user", lambda u, p, _: u.prove("\x00", "", p.code())),
    "a surrogate": ("unknown-user", lambda u, *_: u.prove("\ud800", "\ud800", "\ud800")),
    "the decoy's name": ("unknown-user", lambda u, p, _: u.prove(".nobody", "", p.code())),
    "wrong password": ("wrong-password", lambda u, p, _: u.prove("alice", "wrong", p.code())),
    "both wrong": ("wrong-password", lambda u, p, _: u.prove("alice", "wrong", p.wrong())),
    "no password": ("wrong-password", lambda u, p, _: u.prove("alice", "", p.code())),
    "endless password": ("wrong-password", lambda u, p, _: u.prove("alice", "x" * 10**6, p.code())),
    "wrong code": ("wrong-code", lambda u, p, _: u.prove("alice", PASSWORD, p.wrong())),
    "no code": ("wrong-code", lambda u, _, __: u.prove("alice", PASSWORD, "")),
    "code of a minute ago": ("wrong-code", _late_code),
    "used code": ("replayed", _used_code),
    "code before a used one": ("replayed", _older_code),
    "locked out": ("locked-out", _locked_out),
    "only invited": ("not-enrolled", _not_enrolled),
    "reset": ("not-enrolled", _after_a_reset),
    "removed": ("unknown-user", _after_a_removal),
    "damaged file": ("unreadable", _damaged),
    "file open to others": ("unreadable", _open_to_others),
    "authenticator taken out": ("not-enrolled", _authenticator_taken_out),
}


@pytest.mark.parametrize(("reason", "attempt"), REFUSED.values(), ids=REFUSED)
async def test_who_fails_is_told_the_same_and_the_audit_knows(
    users: LocalUsers, clock: Clock, reason: str, attempt: Attempt
) -> None:
    phone = await enrolled(users, clock)

    refused = await refusal(attempt(users, phone, clock))

    assert refused.reason == reason
    assert refused.message == "user, password or code is wrong, or the user is shut out for a while"
    assert refused.hint == (
        "each code counts once; after 5 wrong tries in a row a user is shut out for 15 minutes or "
        "longer; whoever runs the gateway can help: awsgate users reset"
    )


async def test_whoever_fails_costs_the_same_work(
    users: LocalUsers, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time is made of hashing, files written and locks: they are counted, not timed."""
    phone = await enrolled(users, clock)
    await refusal(users.prove("mallory", "", ""))  # makes the decoy's hash
    done: list[str] = []

    def counted(where: object, name: str) -> None:
        real = getattr(where, name)

        def noting(*given: object, **named: object) -> object:
            done.append(name)
            return real(*given, **named)

        monkeypatch.setattr(where, name, noting)

    counted(users.files, "_write")
    counted(users.files, "locked")
    counted(type(users), "_is_right")
    work = {}
    for name, (user, password, code) in {
        "unknown": ("mallory", PASSWORD, phone.code()),
        "no name": ("\x00", PASSWORD, phone.code()),
        "password": ("alice", "wrong", phone.code()),
        "code": ("alice", PASSWORD, phone.wrong()),
        "third": ("alice", "wrong", phone.code()),
        "fourth": ("alice", "wrong", phone.code()),
        "fifth": ("alice", "wrong", phone.code()),
        "locked out": ("alice", PASSWORD, phone.code()),
    }.items():
        done.clear()
        await refusal(users.prove(user, password, code))
        work[name] = list(done)

    assert set(map(tuple, work.values())) == {("locked", "_write", "_is_right", "locked")}


async def test_an_unknown_user_leaves_no_file_of_theirs(users: LocalUsers, folder: Path) -> None:
    for number in range(5):
        await refusal(users.prove(f"mallory{number}", "x", "1"))

    assert set(files_in(folder)) == {".lock", ".nobody"}
    assert users.files.all() == ([], [])


# --- lockout ----------------------------------------------------------------------------------


async def fail(users: LocalUsers, times: int) -> list[str]:
    return [(await refusal(users.prove("alice", "wrong", ""))).reason for _ in range(times)]


async def test_lockouts_double_up_to_a_bound_and_hold_across_restarts(
    users: LocalUsers, clock: Clock
) -> None:
    await enrolled(users, clock)

    for minutes in (15, 30, 60, 120, 240, 240):
        assert await fail(users, 5) == ["wrong-password"] * 5
        users = LocalUsers(users.files.folder, clock, hasher=QUICK)  # a new process
        clock.now += minutes * 60 - 1
        assert await fail(users, 7) == ["locked-out"] * 7  # which prolong nothing
        clock.now += 1


async def test_a_login_ends_the_count(users: LocalUsers, clock: Clock) -> None:
    phone = await enrolled(users, clock)
    await fail(users, 5)
    clock.now += 15 * 60
    await fail(users, 4)

    await users.prove("alice", PASSWORD, phone.code())

    assert await fail(users, 5) == ["wrong-password"] * 5
    clock.now += 15 * 60  # and the first lockout is a short one again
    assert await fail(users, 1) == ["wrong-password"]


async def test_codes_are_guessed_five_times_at_most(users: LocalUsers, clock: Clock) -> None:
    phone = await enrolled(users, clock)

    reasons = [
        (await refusal(users.prove("alice", PASSWORD, phone.wrong()))).reason for _ in range(6)
    ]

    assert reasons == ["wrong-code"] * 5 + ["locked-out"]


async def test_many_guesses_at_once_are_five(users: LocalUsers, clock: Clock) -> None:
    await enrolled(users, clock)

    refused = await asyncio.gather(*(refusal(users.prove("alice", "no", "")) for _ in range(20)))

    assert sorted(one.reason for one in refused) == ["locked-out"] * 15 + ["wrong-password"] * 5


async def test_one_code_lets_one_of_many_in(users: LocalUsers, clock: Clock) -> None:
    code = (await enrolled(users, clock)).code()

    answers = await asyncio.gather(
        *(users.prove("alice", PASSWORD, code) for _ in range(4)), return_exceptions=True
    )

    assert sum(isinstance(answer, Identity) for answer in answers) == 1


async def test_the_operator_ends_a_lockout(users: LocalUsers, clock: Clock) -> None:
    phone = await enrolled(users, clock)
    await fail(users, 5)

    assert users.unlock("alice")

    assert (await users.prove("alice", PASSWORD, phone.code())).user == "alice"
    assert not users.unlock("bob")
