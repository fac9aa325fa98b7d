"""What kept credentials hang on: the names of files are those of their owners."""

from __future__ import annotations

from awsgate import ca, policyfile, state
from awsgate.cli import reuse


def test_the_files_that_are_looked_at_are_those_that_are_written() -> None:
    """A file under another name could change, and kept credentials would not notice."""
    assert reuse._KEY_FILES == (state.KEY_NAME, state.PREVIOUS_NAME)
    assert reuse._CA_FILES == (ca.CA_NAME, ca.CERT_NAME, ca.BUNDLE_NAME)
    assert set(reuse._POLICY_SUFFIXES) == policyfile.SUFFIXES
