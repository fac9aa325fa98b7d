"""awsgate asks AWS nothing with credentials of a gateway, in whatever way it asks."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import NoCredentialsError

from awsgate.errors import Code, Refusal
from awsgate.sts import _Base
from httpserving import QuietHandler, http_server


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN",
                 "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize("key_id", ["GATEAAAAAAAAAAAAAAAA", ""], ids=["a gateway's", "none"])
def test_nothing_is_asked_with_keys_that_are_not_awss(
    key_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.answer(200, "<x/>", "text/xml")

    if key_id:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with http_server(Handler) as url:
        with pytest.raises((Refusal, NoCredentialsError)) as caught:
            _Base("").ask("iam", "us-east-1", url, "list_roles", {})
        with pytest.raises((Refusal, NoCredentialsError)):
            _Base("").check()

    assert asked == []
    if key_id:
        assert isinstance(caught.value, Refusal)
        assert caught.value.code is Code.ROLE_UNAVAILABLE
