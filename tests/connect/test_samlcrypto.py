"""What xmlsec1 says is believed in one case alone: it ended well, and says that it verified."""

from __future__ import annotations

from pathlib import Path

import pytest
from saml2.sigver import XmlsecError

from awsgate.connect.samlcrypto import _Xmlsec


def verified(folder: Path, *, code: int, says: str) -> bool:
    program = folder / "xmlsec1"
    version = 'test "$1" = --version && echo "xmlsec1 1.3.0 (openssl)" && exit 0'
    program.write_text(f"#!/bin/sh\n{version}\nprintf '{says}' >&2\nexit {code}\n")
    program.chmod(0o755)
    found: bool = _Xmlsec(str(program)).validate_signature(b"<x/>", "cert", "pem", "n", "id")
    return found


@pytest.mark.parametrize("says", ["OK\\n", "Verification status: OK\\n"])
def test_one_that_holds_does(tmp_path: Path, says: str) -> None:
    assert verified(tmp_path, code=0, says=says)


@pytest.mark.parametrize(
    ("code", "says"),
    [(1, "FAIL\\n"), (1, "OK\\n"), (0, "FAIL\\n"), (0, ""), (0, "NOT OK\\n"), (0, "OK but\\n")],
)
def test_anything_else_does_not(tmp_path: Path, code: int, says: str) -> None:
    with pytest.raises(XmlsecError):
        verified(tmp_path, code=code, says=says)
