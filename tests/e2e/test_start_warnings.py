"""What an operator reads on the terminal when something will not work as he thinks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from awsgate.ca import CA_NAME
from awsgate.demo.processes import GatewayProcess, clean_env, entry_script
from e2e.recording import BASE_KEYS, bob_of, wait_until, write_policy
from rawclient import Call, ask

Start = Callable[..., GatewayProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    running = []

    def launch(keys: dict[str, str] = BASE_KEYS, **settings: object) -> GatewayProcess:
        policy = write_policy(tmp_path / "policy.yaml", **settings)
        running.append(GatewayProcess(tmp_path, policy=policy, keys=keys))
        return running[-1]

    yield launch
    for each in running:
        each.stop()


def says(gateway: GatewayProcess, words: str) -> bool:
    return wait_until(lambda: words in gateway.log.read_text("utf-8"))


def test_a_good_start_warns_of_nothing(start: Start) -> None:
    gateway = start()

    assert says(gateway, "awsgate: metrics")
    assert "warning" not in gateway.log.read_text("utf-8")


def test_a_gateway_without_credentials_says_so_at_once(start: Start) -> None:
    gateway = start({"AWS_EC2_METADATA_DISABLED": "true"})

    said = "awsgate: warning: no AWS credentials: botocore's default chain gives none"
    assert says(gateway, said)


def test_what_only_the_operator_can_mend_is_on_his_terminal_once(start: Start) -> None:
    gateway = start({"AWS_EC2_METADATA_DISABLED": "true"})
    call = Call("s3", "b.s3.us-east-1.amazonaws.com", "GET", "/k")
    for _ in range(3):
        answer = ask(gateway, call.host, call.wire(call.signed(bob_of(gateway))))
        assert answer.code == "role-unavailable"

    assert says(gateway, "role-unavailable: awsgate has no AWS credentials of its own")
    assert gateway.log.read_text("utf-8").count("role-unavailable: ") == 1


def test_a_bypass_that_takes_aws_along_is_told(start: Start) -> None:
    gateway = start(bypass=[{"hosts": ["*.amazonaws.com"], "reason": "too wide"}])

    assert says(gateway, "warning: a bypass rule tunnels sts.us-east-1.amazonaws.com past the")


def test_a_ca_that_was_lost_is_not_replaced_in_silence(start: Start) -> None:
    first = start()
    first.stop()
    (first.certs / CA_NAME).unlink()

    again = start()

    assert says(again, "warning: there was no CA, so a new one was made: give ")


def test_a_misspelt_option_ends_the_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "mitmdump"), "-s", str(entry_script(tmp_path)),
         "--set", "awsgate_polcy=x", "--listen-host", "127.0.0.1", "--listen-port", "0"],
        env=clean_env(tmp_path, BASE_KEYS), capture_output=True, text=True, check=False,
        timeout=30,
    )  # fmt: skip

    assert done.returncode == 2
    assert "there is no option awsgate_polcy" in done.stderr
    assert "did you mean awsgate_policy" in done.stderr
