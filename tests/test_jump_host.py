"""The policy of docs/jump-host.md, and the files that its ten lines name."""

from __future__ import annotations

import re
from pathlib import Path

from awsgate.policyfile import load_policy
from awsgate.publicness import check_places

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/jump-host.md").read_text("utf-8")


def test_the_policy_is_in_order_and_fit_for_others_to_reach() -> None:
    policy = load_policy(ROOT / "deploy/jump-host.yaml")

    assert policy.warnings == ()
    spec = policy.gateway
    check_places(spec, [""])
    assert (spec.tls, spec.tunnels.callers, spec.non_aws) == (True, "known", "refuse")
    assert spec.control.listen
    assert spec.names == ("gate.example.com",)


def test_the_files_that_it_names_are_there() -> None:
    named = set(re.findall(r"\bdeploy/[\w.-]+", PAGE))

    assert named == {"deploy/jump-host.yaml", "deploy/awsgate.service"}
    assert all((ROOT / name).is_file() for name in named)


def test_it_is_ten_lines_from_the_empty_machine_to_the_first_user() -> None:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks[:2] for line in block.splitlines()]

    assert len(lines) <= 10
    assert all(line.startswith(("# ", "$ ")) for line in lines)


def test_the_unit_finds_what_the_page_puts_there() -> None:
    unit = (ROOT / "deploy/awsgate.service").read_text("utf-8")

    for place in ("/opt/awsgate/bin/awsgate run", "/etc/awsgate/policy", "/var/lib/awsgate/state"):
        assert place in unit
        assert place.removesuffix(" run") in PAGE
    assert "Requires=awsgate.socket" not in unit
