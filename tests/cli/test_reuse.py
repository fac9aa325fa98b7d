"""What kept credentials hang on: the names of files are those of their owners."""

from __future__ import annotations

from pathlib import Path

from awsgate import ca, state
from awsgate.cli import reuse


def test_the_files_that_are_looked_at_are_those_that_are_written() -> None:
    """A file under another name could change, and kept credentials would not notice."""
    assert reuse._KEY_FILES == (state.KEY_NAME, state.PREVIOUS_NAME)
    assert reuse._CA_FILES == (ca.CA_NAME, ca.CERT_NAME, ca.BUNDLE_NAME)


def test_every_file_of_the_policy_is_looked_at(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.YML", "notes.txt", ".c.yaml"):
        (tmp_path / name).write_text("")

    _, *files = reuse._policy(tmp_path) or []

    assert [name for name, _ in files] == ["a.yaml", "b.YML"]
