"""Every YAML block of the docs is a policy, or has the fault that it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from awsgate.errors import SetupError
from awsgate.policyfile import load_policy

ROOT = Path(__file__).parents[2]
BLOCKS = [
    pytest.param(block, id=f"{page.name} {number}")
    for page in sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])
    for number, block in enumerate(
        re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE), 1
    )
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
