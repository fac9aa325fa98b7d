"""Every YAML block of the docs is a policy, or has the fault that it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from awsgate.errors import SetupError
from awsgate.policy.decide import DENIED_CALL, NO_ALLOW, NO_CALL, NO_TENANT_ENDPOINT, decide
from awsgate.policy.standing import (
    DENIED,
    NO_APP,
    NO_ROLE_ARN,
    NO_USER,
    OTHER_ACCOUNT,
    OTHER_PARTITION,
)
from awsgate.policyfile import load_policy

ROOT = Path(__file__).parents[2]
REASONS = (
    NO_USER,
    NO_APP,
    NO_ROLE_ARN,
    OTHER_ACCOUNT,
    OTHER_PARTITION,
    DENIED,
    NO_ALLOW,
    NO_TENANT_ENDPOINT,
    DENIED_CALL,
    NO_CALL,
)


def _blocks(page: Path) -> list[str]:
    text = page.read_text("utf-8")
    found = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [block for block in found if not OTHERS.match(block)]


OTHERS = re.compile(r"(?:permissions|deploy|apiVersion):")
"""What pipelines and pods begin with, in docs/ci.md."""


BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)} {number}")
    for page in sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
    for number, block in enumerate(_blocks(page), 1)
] + [
    # Its user has the role of another block: together they are a policy.
    pytest.param("---\n".join(_blocks(ROOT / "policy/README.md")), id="policy/README.md")
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_the_docs_is_what_it_says(block: str, tmp_path: Path) -> None:
    file = tmp_path / "block.yaml"
    file.write_text(block, "utf-8")
    fault = re.match(r"# fault: (.*)\n", block)

    if fault is None:
        load_policy(file)
        return
    with pytest.raises(SetupError) as caught:
        load_policy(file)
    assert caught.value.faults == (f"block.yaml document 1: {fault[1]}",)


def test_the_policy_page_has_blocks_of_both_kinds() -> None:
    texts = [str(block.values[0]) for block in BLOCKS]

    assert sum("# fault: " in text for text in texts) >= 3
    assert sum("# fault: " not in text for text in texts) >= 7


def test_the_order_of_evaluation_is_that_of_the_reasons() -> None:
    """In what order ``decide`` asks is held by ``test_decide_order``."""
    page = (ROOT / "docs/policy.md").read_text("utf-8")
    section = page.partition("## The order of evaluation\n")[2].partition("\n## ")[0]

    assert re.findall(r"^\| (\d+) \|.*\| `(.*)` \|$", section, re.MULTILINE) == [
        (str(number), reason) for number, reason in enumerate(REASONS, 1)
    ]


def test_the_docstring_has_as_many_steps_as_the_page() -> None:
    steps = re.findall(r"^ *(\d+)\. ", decide.__doc__ or "", re.MULTILINE)

    assert steps == [str(number) for number, _ in enumerate(REASONS, 1)]
