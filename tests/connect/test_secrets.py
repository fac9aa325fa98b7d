"""Secrets of connectors, in the document or in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from awsgate.connect.secrets import secret_text
from awsgate.errors import SetupError

GOOD: dict[str, tuple[bytes, str]] = {
    "a line": (b"canary\n", "canary"),
    "a line of Windows": (b"canary\r\n", "canary"),
    "no line break": (b" can ary ", " can ary "),
    "two lines": (b"a\nb\n\n", "a\nb\n"),
}


@pytest.mark.parametrize(("content", "expected"), GOOD.values(), ids=GOOD)
def test_a_file_holds_the_secret(tmp_path: Path, content: bytes, expected: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)

    assert secret_text(SecretStr(file.as_uri())) == expected


def test_the_text_itself_and_none() -> None:
    assert secret_text(SecretStr("canary")) == "canary"
    assert secret_text(None) == ""


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda _: None, "No such file"),
    "a folder": (lambda file: file.mkdir(), "directory"),
    "empty": (lambda file: file.write_bytes(b"\n"), "is empty"),
    "no text": (lambda file: file.write_bytes(b"canary\xff"), "no text in UTF-8"),
    "large": (lambda file: file.write_bytes(b"canary" * 20_000), "larger than 65536 bytes"),
}


@pytest.mark.parametrize(("make", "said"), BAD.values(), ids=BAD)
def test_a_file_that_holds_none(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    file = tmp_path / "secret"
    make(file)

    with pytest.raises(SetupError) as caught:
        secret_text(SecretStr(file.as_uri()))

    assert said in caught.value.message
    assert str(file) in caught.value.message
    assert "canary" not in repr(caught.value) + str(caught.value.__cause__)


def test_a_path_that_is_not_whole_is_refused() -> None:
    with pytest.raises(SetupError, match="whole path"):
        secret_text(SecretStr("file://secret"))
