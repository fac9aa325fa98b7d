"""S3 POST forms: not read by this version, so every one is refused."""

from dataclasses import dataclass
from datetime import datetime
from awsgate.aws import sigv4


class FormError(ValueError):
    """Not in this version."""


@dataclass(frozen=True, slots=True)
class PostForm:
    """Not in this version."""

    access_key_id: str = ""
    service: str = ""
    region: str = ""
    timestamp: str = ""
    session_token: str = ""


def parse(body: bytes, content_type: bytes) -> PostForm | None:
    """Not in this version."""
    raise FormError("signed POST forms are not supported by this version")


def matches(form: PostForm, *, secret: str) -> bool:
    """Not in this version."""
    return False


def expires_at(form: PostForm) -> datetime:
    """Not in this version."""
    raise FormError


def rebuild(
    form: PostForm, *, keys: sigv4.SigningKeys, region: str, service: str = "s3", now: datetime
) -> bytes:
    """Not in this version."""
    return b""
