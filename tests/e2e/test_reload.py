"""The policy changes under connections that stay open: taken at once, or not at all."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest

from e2e.held import (
    OTHER,
    POWER,
    READ,
    RESTED_S,
    Bench,
    app,
    bench_in,
    cut_within,
    gateway,
    role,
    until,
    user,
)
from rawclient import metric, tunnel

ROLES = role("power", POWER) + "---\n" + role("read", READ)
WITHOUT = user("alice", "read")
WITH = user("alice", "read", "power")
BAD = WITH.replace("roles:", "rolls:")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    documents = {
        "roles.yaml": ROLES,
        "alice.yaml": WITH,
        "bob.yaml": user("bob", "power"),
        "app.yaml": app("main"),
    }
    with bench_in(tmp_path_factory.mktemp("reload"), documents) as made:
        yield made


@pytest.fixture
def alice(bench: Bench) -> Iterator[Path]:
    """The file that says what alice may do. She may, before and after."""
    file = bench.policy / "alice.yaml"
    yield file
    if file.read_text("utf-8") != WITH:
        with bench.taken("policy.reload"):
            file.write_text(WITH, "utf-8")


# --- taken away, and given ----------------------------------------------------------------


def test_a_role_that_is_taken_away_ends_with_the_next_request(bench: Bench, alice: Path) -> None:
    with bench.held("alice") as held, bench.held("bob") as free:
        assert (held.verdict(), free.verdict()) == ("200", "200")
        with bench.taken("policy.reload"):
            alice.write_text(WITHOUT, "utf-8")
        assert (held.verdict(), free.verdict()) == ("denied", "200")
        with bench.taken("policy.reload"):
            alice.write_text(WITH, "utf-8")
        assert held.verdict() == "200"


def test_a_user_a_role_and_an_app_of_run_time_are_usable_at_once(bench: Bench) -> None:
    carol = bench.policy / "carol.yaml"
    keys = bench.keys("carol", OTHER, app="new")
    with bench.held(keys) as held:
        assert held.verdict() == "denied"
        with bench.taken("policy.reload"):
            carol.write_text(
                "---\n".join([role("other", OTHER), user("carol", "other"), app("new")])
            )
        assert held.verdict() == "200"
        env = bench.gateway.env(user="carol", app="new", role=OTHER)
        assert env["AWS_ACCESS_KEY_ID"].startswith("GATE")
        with bench.taken("policy.reload"):
            carol.unlink()
        assert held.verdict() == "denied"


# --- however the file is written ------------------------------------------------------------


def rename_over(file: Path, text: str) -> None:
    """As vim and most editors do."""
    new = file.with_name(f".{file.name}.swp")
    new.write_text(text, "utf-8")
    new.replace(file)


def write_in_place(file: Path, text: str) -> None:
    """As ``cat >`` does from a slow source: empty for a moment, then half of it is there."""
    with file.open("w", encoding="utf-8") as stream:
        for part in (f"{text}---\n", user("nobody")):
            stream.flush()
            time.sleep(0.6)
            stream.write(part)


def keep_time_and_size(file: Path, text: str) -> None:
    """As ``cp -p`` and ``rsync -t`` can."""
    info = file.stat()
    file.write_text(text + "#" * (info.st_size - len(text.encode())), "utf-8")
    os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))


@pytest.mark.parametrize("write", [rename_over, write_in_place, keep_time_and_size])
def test_it_does_not_matter_how_a_file_is_written(
    bench: Bench, alice: Path, write: Callable[[Path, str], None]
) -> None:
    seen = len(bench.lines(event="policy.reload"))
    with bench.held("alice") as held:
        assert held.verdict() == "200"
        with bench.taken("policy.reload", within=RESTED_S, hup=False):
            write(alice, WITHOUT)
        assert held.verdict() == "denied"

    lines = bench.lines(event="policy.reload")[seen:]
    assert [line["decision"] for line in lines] == ["allowed"], "nothing half-written was read"


def test_a_config_map_that_is_swapped_is_read(bench: Bench) -> None:
    """Kubernetes: each file is a link through ``..data``, which is renamed over."""
    policy = bench.policy
    old, new, data = policy / "..2026_1", policy / "..2026_2", policy / "..data"
    for folder, text in ((old, user("erin", "power")), (new, user("erin"))):
        folder.mkdir()
        (folder / "erin.yaml").write_text(text, "utf-8")
    data.symlink_to(old.name)
    with bench.taken("policy.reload"):
        (policy / "erin.yaml").symlink_to("..data/erin.yaml")
    with bench.held("erin") as held:
        assert held.verdict() == "200"
        with bench.taken("policy.reload", within=RESTED_S, hup=False):
            (policy / "..data_tmp").symlink_to(new.name)
            (policy / "..data_tmp").rename(data)
        assert held.verdict() == "denied"
    with bench.taken("policy.reload"):
        (policy / "erin.yaml").unlink()


def test_a_comment_changes_nothing(bench: Bench, alice: Path) -> None:
    seen = len(bench.lines(event="policy.reload"))

    alice.write_text(WITH + "# alice\n", "utf-8")
    time.sleep(RESTED_S)

    assert len(bench.lines(event="policy.reload")) == seen
    alice.write_text(WITH, "utf-8")


def test_a_signal_reads_at_once(bench: Bench) -> None:
    said = bench.log().count("awsgate: policy read again")
    for _ in range(2):
        with bench.taken("policy.reload", within=0.6, hup=False):
            bench.gateway.process.send_signal(signal.SIGHUP)

    assert bench.log().count("awsgate: policy read again") == said + 2


# --- what cannot be taken ---------------------------------------------------------------------


def reloads(bench: Bench, result: str) -> float:
    return metric(bench.gateway.metrics(), "awsgate_policy_reloads_total", result=result)


def test_a_bad_file_leaves_the_good_policy_in_force(bench: Bench, alice: Path) -> None:
    failed, ok = reloads(bench, "failed"), reloads(bench, "ok")
    with bench.held("alice") as held:
        assert held.verdict() == "200"
        with bench.taken("policy.reload"):
            alice.write_text(BAD, "utf-8")
        (bench.policy / "bob.yaml").touch()
        time.sleep(RESTED_S)

        assert held.verdict() == "200"
        line = bench.lines(event="policy.reload")[-1]
        assert line["decision"] == "refused"
        assert line["reason"].startswith("1 fault; in force: sha256:")
        assert bench.log().count("alice.yaml document 1: spec.rolls: unknown key") == 1
        assert bench.log().count("awsgate: the policy in force stays as it was") == 1
        assert (reloads(bench, "failed") >= failed + 1, reloads(bench, "ok")) == (True, ok)

        with bench.taken("policy.reload"):
            alice.write_text(WITHOUT, "utf-8")
        assert held.verdict() == "denied"
        assert reloads(bench, "ok") == ok + 1


def test_a_mended_file_is_told_even_if_it_says_what_it_said(bench: Bench, alice: Path) -> None:
    with bench.taken("policy.reload"):
        alice.write_text(BAD, "utf-8")
    with bench.taken("policy.reload"):
        alice.write_text(WITH, "utf-8")

    assert bench.lines(event="policy.reload")[-1]["decision"] == "allowed"


def test_a_policy_that_vanishes_stays_in_force(bench: Bench) -> None:
    away = bench.policy.with_name("away")
    with bench.held("alice") as held:
        assert held.verdict() == "200"
        with bench.taken("policy.reload", within=RESTED_S, hup=False):
            bench.policy.rename(away)
        assert held.verdict() == "200"
        assert f"no policy at {bench.policy}" in bench.log()
        with bench.taken("policy.reload", within=RESTED_S, hup=False):
            away.rename(bench.policy)
        assert held.verdict() == "200"

        # And it is watched again.
        with bench.taken("policy.reload", within=RESTED_S, hup=False):
            (bench.policy / "alice.yaml").write_text(WITHOUT, "utf-8")
        assert held.verdict() == "denied"
        with bench.taken("policy.reload"):
            (bench.policy / "alice.yaml").write_text(WITH, "utf-8")


def test_a_setting_that_needs_a_restart_says_so_once(bench: Bench) -> None:
    file = bench.policy / "gateway.yaml"
    said = "awsgate: warning: listen of kind: gateway needs a restart: it stays as it was"
    for non_aws in ("tunnel", "refuse"):
        with bench.taken("policy.reload"):
            file.write_text(gateway(f"{{listen: '127.0.0.1:1', non_aws: {non_aws}}}"), "utf-8")
    assert bench.log().count(said) == 1
    with bench.held("alice") as held:
        assert held.verdict() == "200"
    with bench.taken("policy.reload"):
        file.unlink()


# --- tunnels ------------------------------------------------------------------------------------


def test_a_tunnel_ends_with_the_bypass_that_opened_it(bench: Bench) -> None:
    file = bench.policy / "gateway.yaml"
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        Thread(target=_echo, args=(server,), daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        upstreams = f"upstreams: [{{hosts: ['*.corp.example'], url: 'https://{address}'}}]"

        def rules(*hosts: str) -> str:
            listed = ", ".join(f"{{hosts: [{host}], reason: ours}}" for host in hosts)
            return gateway(f"{{non_aws: refuse, bypass: [{listed}], {upstreams}}}")

        with bench.taken("policy.reload"):
            file.write_text(rules("vault.corp.example", "git.corp.example"), "utf-8")
        with (
            tunnel(bench.gateway, "vault.corp.example") as closed,
            tunnel(bench.gateway, "git.corp.example") as open_still,
        ):
            for wire in (closed, open_still):
                wire.send(b"hello")
                assert wire._exactly(5) == b"hello"
            with bench.taken("policy.reload"):
                file.write_text(rules("git.corp.example"), "utf-8")
            assert cut_within(closed)
            open_still.send(b"still")
            assert open_still._exactly(5) == b"still"
            assert until(
                lambda: bool(bench.lines(event="tunnel.close", host="vault.corp.example:443"))
            )
    with bench.taken("policy.reload"):
        file.unlink()


def _echo(server: socket.socket) -> None:
    def serve(sock: socket.socket) -> None:
        with sock:
            while data := sock.recv(1024):
                sock.sendall(data)

    try:
        while True:
            sock, _ = server.accept()
            Thread(target=serve, args=(sock,), daemon=True).start()
    except OSError:
        pass  # the test is over
