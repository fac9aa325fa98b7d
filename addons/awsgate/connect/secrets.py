"""Secrets of a connector's document: the text itself, or ``file:///path`` of a file."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from awsgate.errors import SetupError

FILE_PREFIX = "file://"
_MAX_BYTES = 64 * 1024


def secret_text(secret: SecretStr | None) -> str:
    """Give the secret, or nothing if there is none. A file's last line break is no part of it.

    Raises ``SetupError`` if the file cannot be read, is empty, or is no text.
    """
    return "" if secret is None else read_text(secret.get_secret_value())


def read_text(value: str) -> str:
    """Give ``value``, or what the file holds if it is ``file:///path``."""
    if not value.startswith(FILE_PREFIX):
        return value
    path = Path(value.removeprefix(FILE_PREFIX))
    if not path.is_absolute():
        raise SetupError(
            f"{value[:200]!r} does not name a file by its whole path",
            hint="write file:///etc/awsgate/secret, with three slashes",
        )
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        text = raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as exc:
        raise SetupError(
            f"cannot read {path}: {exc.strerror or exc}",
            hint="the gateway's own user must be able to read it",
        ) from None
    except UnicodeDecodeError:
        # Not from exc: the exception holds the bytes.
        raise SetupError(f"{path} is no text in UTF-8") from None
    if len(raw) > _MAX_BYTES:
        raise SetupError(f"{path} is larger than {_MAX_BYTES} bytes: it is no secret")
    if not text:
        raise SetupError(f"{path} is empty", hint="write the secret into it, on one line")
    return text
