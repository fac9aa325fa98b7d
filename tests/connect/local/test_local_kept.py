"""Users of the gateway's own: invitations, what is kept of them, and many at once."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from awsgate.connect import local, userfiles
from awsgate.connect.invitations import token_of
from awsgate.connect.local import LocalUsers
from awsgate.connect.ways import LoginRefused
from awsgate.errors import SetupError
from localusers import (
    PASSWORD,
    START,
    Clock,
    Phone,
    enrolled,
    fail_twice,
    files_in,
    kept,
    refusal,
)

# --- invitations ------------------------------------------------------------------------------


async def test_an_invitation_is_good_once(users: LocalUsers, clock: Clock) -> None:
    invitation = users.add("alice")
    assert invitation is not None
    phone = Phone((await users.accept(invitation.token, PASSWORD)).totp_uri, clock)

    refused = await refusal(users.accept(invitation.token, "another good password"))

    assert refused.reason == "bad-invitation"
    assert (await users.prove("alice", PASSWORD, phone.code())).user == "alice"


async def test_of_many_who_use_an_invitation_one_does(users: LocalUsers) -> None:
    invitation = users.add("alice")
    assert invitation is not None

    answers = await asyncio.gather(
        *(users.accept(invitation.token, f"{PASSWORD} {n}") for n in range(6)),
        return_exceptions=True,
    )

    assert sum(isinstance(answer, local.Enrolled) for answer in answers) == 1


async def test_an_invitation_ends(users: LocalUsers, clock: Clock) -> None:
    invitation = users.add("alice")
    assert invitation is not None
    assert invitation.expires_at == START + 24 * 3600

    clock.now = invitation.expires_at
    assert (await refusal(users.accept(invitation.token, PASSWORD))).reason == "bad-invitation"
    clock.now -= 1
    assert (await users.accept(invitation.token, PASSWORD)).user == "alice"


async def test_a_newer_invitation_ends_the_older(users: LocalUsers) -> None:
    first, second = users.add("alice"), users.reset("alice")
    assert first is not None
    assert second is not None

    assert (await refusal(users.accept(first.token, PASSWORD))).reason == "bad-invitation"
    assert (await users.accept(second.token, PASSWORD)).user == "alice"


def changed(token: str, place: int) -> str:
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: changed(token, len("gateinvite.")),
        lambda token: changed(token, -1),
        lambda token: token[:-3],
        lambda token: token.removeprefix("gateinvite."),
        lambda token: token + "!",
        lambda _: "",
        lambda _: "gateinvite.",
        lambda _: "gateinvite." + "A" * 43,
        lambda _: "gateinvite." + "A" * 100_000,
        lambda _: "gateinvite.é",
    ],
)
async def test_an_invitation_that_was_changed_is_none(
    users: LocalUsers, spoil: Callable[[str], str]
) -> None:
    invitation = users.add("alice")
    assert invitation is not None

    refused = await refusal(users.accept(spoil(invitation.token), PASSWORD))

    assert refused.reason == "bad-invitation"
    assert (await users.accept(invitation.token, PASSWORD)).user == "alice"


async def test_an_invitation_is_for_its_own_user(users: LocalUsers, folder: Path) -> None:
    """The name in it can be changed; the secret is then not that user's."""
    users.add("bob")
    assert (
        await refusal(users.accept(token_of(b"\0" * 32, "bob"), PASSWORD))
    ).reason == "bad-invitation"
    assert kept(folder, "bob")["password"] == ""


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("elevenchars", "it has 11 characters, and needs 12"),
        ("", "it has 0 characters, and needs 12"),
        ("x" * 1025, "it has over 1024 characters"),
        ("aaaabbbbccccdddd", "it has fewer than 5 different characters"),
        ("AliceAliceAlice", "it is the user's name"),
    ],
)
async def test_a_weak_password_is_refused_and_the_invitation_stays_good(
    users: LocalUsers, password: str, why: str
) -> None:
    invitation = users.add("alice")
    assert invitation is not None

    refused = await refusal(users.accept(invitation.token, password))

    assert (refused.reason, refused.message) == (
        "weak-password",
        f"the password is not good enough: {why}",
    )
    assert (await users.accept(invitation.token, PASSWORD)).user == "alice"


def test_nobody_is_added_twice_and_nobody_unknown_is_reset(users: LocalUsers) -> None:
    assert users.add("alice") is not None
    assert users.add("alice") is None
    assert users.reset("bob") is None
    assert users.remove("alice")
    assert not users.remove("alice")
    with pytest.raises(SetupError, match="cannot be the name of a user"):
        users.add(" alice")


def test_who_does_without_an_authenticator_does_so_after_a_reset(
    users: LocalUsers, folder: Path
) -> None:
    users.add("bot", wants_totp=False)
    users.reset("bot")
    assert kept(folder, "bot")["wants_totp"] is False

    users.reset("bot", wants_totp=True)
    assert kept(folder, "bot")["wants_totp"] is True


# --- what is kept -----------------------------------------------------------------------------


async def test_no_password_and_no_invitation_is_kept(
    users: LocalUsers, folder: Path, clock: Clock
) -> None:
    invitation = users.add("alice")
    assert invitation is not None
    shown = repr(invitation)
    before = (folder / "alice.json").read_text()
    done = await users.accept(invitation.token, PASSWORD)
    await users.prove("alice", PASSWORD, Phone(done.totp_uri, clock).code())
    after = "".join(files_in(folder).values())

    secret = invitation.token.removeprefix("gateinvite.")[:40]
    assert not [text for text in (shown, before, after) if secret in text or PASSWORD in text]
    assert kept(folder)["password"].startswith("$argon2id$")
    assert kept(folder)["totp"] not in repr((users.files.read("alice"), done))


def test_the_files_are_their_owners_alone(users: LocalUsers, folder: Path) -> None:
    users.add("alice")

    assert stat.S_IMODE((folder / "alice.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# The reference implementation's own test vector (phc-winner-argon2, src/test.c).
KNOWN = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"


async def test_a_hash_of_the_reference_implementation_lets_in_and_is_upgraded(
    users: LocalUsers, folder: Path
) -> None:
    users.add("alice", wants_totp=False)
    path = folder / "alice.json"
    path.write_text(json.dumps({**kept(folder), "password": KNOWN, "invitation": ""}))

    assert (await refusal(users.prove("alice", "passwore", ""))).reason == "wrong-password"
    assert kept(folder)["password"] == KNOWN
    await users.prove("alice", "password", "")

    upgraded = kept(folder)["password"]
    assert upgraded.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    await users.prove("alice", "password", "")
    assert kept(folder)["password"] == upgraded


def test_the_parameters_are_those_of_rfc_9106(folder: Path) -> None:
    """RFC 9106, section 4: "t=3 iterations, p=4 lanes, m=2^(16) (64 MiB of RAM)"."""
    hasher = LocalUsers(folder)._hasher

    assert (hasher.time_cost, hasher.parallelism, hasher.memory_cost) == (3, 4, 2**16)
    assert (hasher.type.name, hasher.salt_len, hasher.hash_len) == ("ID", 16, 32)


SPOILT = {
    "not JSON": ("{", "is not JSON"),
    "a list": ("[]", "is not a user's file"),
    "deep": ("[" * 100_000, "is not a user's file"),
    "a later version": ('{"version": 2, "user": "alice", "created_at": 1}', "is not a user's file"),
    "a field unknown": ('{"version": 1, "user": "alice", "created_at": 1, "only_from": ""}',
                        "is not a user's file"),
    "no creation": ('{"version": 1, "user": "alice"}', "is not a user's file"),
    "a wrong type": ('{"version": 1, "user": "alice", "created_at": true}', "is not a user's file"),
    "another user": ('{"version": 1, "user": "bob", "created_at": 1}',
                     "is not the file of its user, 'bob'"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "fault"), SPOILT.values(), ids=SPOILT)
def test_a_file_that_is_none_hides_no_other_and_can_be_removed(
    users: LocalUsers, folder: Path, content: str, fault: str
) -> None:
    users.add("alice")
    users.add("bob")
    (folder / "alice.json").write_text(content)

    records, faults = users.files.all()

    assert [record.user for record in records] == ["bob"]
    assert [f"{folder / 'alice.json'} {fault}"] == faults
    with pytest.raises(SetupError):
        users.reset("alice")
    assert users.remove("alice")


async def test_where_a_try_cannot_be_counted_nobody_is_let_in(
    users: LocalUsers, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = await enrolled(users, clock)

    def full(*_: object, **__: object) -> bool:
        raise SetupError("cannot write: No space left on device")

    monkeypatch.setattr(userfiles, "write_file", full)

    with pytest.raises(SetupError):
        await users.prove("alice", PASSWORD, phone.code())


# --- at once ----------------------------------------------------------------------------------


async def test_processes_count_together(users: LocalUsers, folder: Path, clock: Clock) -> None:
    await enrolled(users, clock)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fail_twice, args=(folder,)) for _ in range(2)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(20)

    assert [process.exitcode for process in processes] == [0, 0]
    assert kept(folder)["failures"] == 4


def test_changes_of_many_threads_are_all_kept(users: LocalUsers) -> None:
    names = [f"user{n}" for n in range(16)]
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda name: users.add(name) is not None, names * 1))
        again = list(pool.map(lambda name: users.add(name) is None, names * 4))

    assert all(again)
    assert [record.user for record in users.files.all()[0]] == sorted(names)


class Between(PasswordHasher):
    """Lets something happen while a password is hashed."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self._happens = happens

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self._happens()
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:  # noqa: A002 - its name
        self._happens()
        return super().verify(hash, password)


async def test_two_who_use_an_invitation_at_the_same_moment_are_one(
    users: LocalUsers, folder: Path, clock: Clock
) -> None:
    invitation = users.add("alice")
    assert invitation is not None
    both = threading.Barrier(2, timeout=10)
    racing = LocalUsers(folder, clock, hasher=Between(both.wait))

    answers = await asyncio.gather(
        *(racing.accept(invitation.token, f"{PASSWORD} {n}") for n in range(2)),
        return_exceptions=True,
    )

    assert sorted(type(answer).__name__ for answer in answers) == ["Enrolled", "LoginRefused"]


@pytest.mark.parametrize(
    ("change", "reason"), [("reset", "wrong-password"), ("remove", "unknown-user")]
)
async def test_what_ends_while_a_password_is_looked_at_lets_nobody_in(
    users: LocalUsers, folder: Path, clock: Clock, change: str, reason: str
) -> None:
    phone = await enrolled(users, clock)
    seen = LocalUsers(folder, clock, hasher=Between(lambda: getattr(users, change)("alice")))
    seen.__dict__["_decoy_hash"] = "$argon2id$"  # made before, as in a gateway that has run

    refused = await refusal(seen.prove("alice", PASSWORD, phone.code()))

    assert refused.reason == reason
    record = users.files.read("alice")
    assert record is None or record.last_step == -1


class SlowHasher(PasswordHasher):
    """Hashes until it is told to go on, and counts how many do at a time."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.go = threading.Event()
        self.running = self.most = 0
        self._lock = threading.Lock()

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:  # noqa: A002 - its name
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.go.wait(10)
        with self._lock:
            self.running -= 1
        return super().verify(hash, password)


async def test_hashing_is_bounded_and_holds_nobody_up(folder: Path, clock: Clock) -> None:
    hasher = SlowHasher()
    users = LocalUsers(folder, clock, hasher=hasher)
    waiting = [asyncio.ensure_future(refusal(users.prove("m", "x", ""))) for _ in range(32)]
    await asyncio.sleep(0.05)

    began = time.monotonic()
    assert (await refusal(users.prove("alice", PASSWORD, ""))).reason == "busy"
    assert time.monotonic() - began < 1  # the loop is free, and it waited for nothing

    waiting[0].cancel()  # a client that hangs up frees no place while it is hashed
    await asyncio.sleep(0)
    assert (await refusal(users.prove("alice", PASSWORD, ""))).reason == "busy"
    hasher.go.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert {one.reason for one in done if isinstance(one, LoginRefused)} == {"unknown-user"}
    assert hasher.most == 2
    assert (await refusal(users.prove("alice", PASSWORD, ""))).reason == "unknown-user"
