"""What STS says and nobody can read is an outage of AWS's, told as one, and no fault of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from awsgate.credentials import RoleRequest
from awsgate.errors import Code, Refusal
from awsgate.sts import StsAssumer
from httpserving import QuietHandler, http_server

ROLE = "arn:aws:iam::111122223333:role/reader"
READER = RoleRequest(
    role_arn=ROLE, session_name="ada", external_id="", region="eu-west-1", partition="aws",
    duration_s=3600, account="111122223333",
)  # fmt: skip
GOOD = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><Credentials><AccessKeyId>ASIAGOOD</AccessKeyId>
<SecretAccessKey>c4nary-s3cr3t</SecretAccessKey><SessionToken>c4nary-t0k3n</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>
</AssumeRoleResponse>"""
BODIES = {
    "another XML": "<html><body>hello</body></html>",
    "no credentials": GOOD.replace("Credentials>", "Credential>"),
    "no secret": GOOD.replace("SecretAccessKey>", "Secret>"),
    "no end": GOOD.replace("Expiration>", "End>"),
    "an end that is none": GOOD.replace("2099", "soon"),
    "nothing": "",
}


@pytest.fixture(autouse=True)
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIABASE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b4se-s3cr3t")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def assumed(body: str) -> str:
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            self.answer(200, body, "text/xml")

    with http_server(Handler) as url:
        return StsAssumer(url).assume(READER).access_key_id


def test_a_whole_one_is_read() -> None:
    assert assumed(GOOD) == "ASIAGOOD"


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_any_other_is_told(body: str) -> None:
    with pytest.raises(Refusal) as caught:
        assumed(body)

    assert (caught.value.code, caught.value.status) == (Code.ROLE_UNAVAILABLE, 503)
    assert "STS gave" in caught.value.message
    assert "c4nary" not in f"{caught.value} {caught.value.detail}"
