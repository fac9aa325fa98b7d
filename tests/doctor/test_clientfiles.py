"""~/.aws/config and ~/.aws/credentials: what leads past the gateway."""

from __future__ import annotations

import pytest

from awsgate.doctor.clientfiles import ClientFiles, bundles_in, check_client_files, region_in
from awsgate.doctor.finding import Severity

CANARY = "c4nary/secret"


def ids(config: str = "", credentials: str = "", **facts: object) -> list[tuple[str, str]]:
    given: dict[str, object] = {"is_client": True, **facts}
    files = ClientFiles("CONFIG", "CREDENTIALS", config, credentials, **given)  # type: ignore[arg-type]
    found = check_client_files(files)
    assert CANARY not in repr(found) + repr(files)
    return [(f.id, f.fix) for f in found if f.severity is not Severity.OK]


@pytest.mark.parametrize(
    ("config", "id_", "fix"),
    [
        ("[default]\nendpoint_url = http://x:1\n", "config-endpoint-url", "$EDITOR CONFIG"),
        (
            "[services local]\ns3 =\n  endpoint_url = http://x:1\n",
            "config-endpoint-url",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true",
        ),
        (
            "[profile work]\ns3 =\n  signature_version = s3\n",
            "signature-v2",
            "aws configure set s3.signature_version s3v4 --profile work",
        ),
        ("[default\n", "aws-file-damaged", "$EDITOR CONFIG"),
        (
            "[default]\nca_bundle = /other.pem\n",
            "config-ca-bundle",
            'aws configure set ca_bundle "$AWS_CA_BUNDLE" --profile default',
        ),
    ],
)
def test_a_planted_fault_is_found(config: str, id_: str, fix: str) -> None:
    ((found, command),) = ids(config, bundles={"/other.pem": "foreign"})

    assert found == id_
    assert fix in command


def test_real_keys_in_the_credentials_file() -> None:
    text = f"[work]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = {CANARY}\n"

    ((id_, fix),) = ids(credentials=text)

    assert id_ == "real-keys-in-file"
    assert "aws iam delete-access-key" in fix
    assert ids(credentials=text, is_client=False) == [], "there they are the gateway's own"


def test_a_healthy_pair_of_files() -> None:
    config = "[default]\nregion = eu-west-1\noutput = json\nca_bundle = /c.pem\n[sso-session x]\n"

    assert ids(config, bundles={"/c.pem": "ours"}) == []
    assert ids() == []
    assert bundles_in(config) == ["/c.pem"]
    assert region_in(config, "default")
    assert not region_in(config, "x")
    assert region_in("[profile x]\nregion=a", "x")
