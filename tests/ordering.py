"""What the tests of artefacts share: an order as a client sends it, and other makers."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import awscli.customizations.codecommit as theirs_codecommit
import botocore.auth
import botocore.session
import pytest
from awscli.customizations.codecommit import CodeCommitGetCommand
from awscli.customizations.eks.get_token import STSClientFactory, TokenGenerator
from botocore.config import Config
from botocore.credentials import Credentials

from awsgate.aws.endpoint import Endpoint, resolve_endpoint
from awsgate.aws.sigv4 import SigningKeys
from awsgate.orderpath import CONTENT_TYPE, TARGET
from awsgate.orders import Order, read_order
from awsgate.policy.settings import ArtefactsSpec
from calls import Call

REGION = "eu-central-1"
STS = f"sts.{REGION}.amazonaws.com"
ACCOUNT = "123456789012"
DATABASE = f"db1.c9akciq32.{REGION}.rds.amazonaws.com"
GIT = f"git-codecommit.{REGION}.amazonaws.com"

S3_ORDER = {"kind": "s3", "bucket": "reports", "key": "a/b.txt"}
EKS_ORDER = {"kind": "eks", "cluster": "dev"}
RDS_ORDER = {"kind": "rds", "host": DATABASE, "port": 5432, "user": "app"}
GIT_ORDER = {"kind": "codecommit", "host": GIT, "repository": "tools"}
ALL_ORDERS = {"s3": S3_ORDER, "eks": EKS_ORDER, "rds": RDS_ORDER, "codecommit": GIT_ORDER}


def sts_of(host: str = STS) -> Endpoint:
    found = resolve_endpoint(host)
    assert found is not None
    return found


def read(
    order: dict[str, Any] | bytes,
    *,
    host: str = STS,
    chained: bool = False,
    account: str = ACCOUNT,
    **spec: Any,
) -> Order:
    return read_order(
        order if isinstance(order, bytes) else json.dumps(order).encode(),
        sts_of(host),
        account=account,
        chained=chained,
        spec=ArtefactsSpec.model_validate(spec),
    )


def order_call(order: dict[str, Any], **changes: Any) -> Call:
    """Give the request of an order, signed by botocore with gateway credentials."""
    body = json.dumps(order).encode()
    return Call(
        **{
            "method": "POST",
            "host": STS,
            "service": "sts",
            "target": TARGET,
            "headers": (("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))),
            "body": body,
            **changes,
        }
    )


# --- AWS's own makers ------------------------------------------------------------------


_IN_PYTHON = {
    "v4-query": botocore.auth.SigV4QueryAuth,
    "s3v4-query": botocore.auth.S3SigV4QueryAuth,
}


@contextmanager
def clock_at(when: datetime) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: when)
        # With awscrt installed botocore signs by it: another order of parameters.
        for name, signer in _IN_PYTHON.items():
            patch.setitem(botocore.auth.AUTH_TYPE_MAPS, name, signer)
        patch.setattr(theirs_codecommit, "get_current_datetime", lambda: when.astimezone(UTC))
        yield


def client(service: str, keys: SigningKeys, region: str = REGION, **config: Any) -> Any:
    return botocore.session.get_session().create_client(
        service,
        region_name=region,
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=keys.session_token or None,
        config=Config(
            signature_version="s3v4" if service == "s3" else None,
            s3={"us_east_1_regional_endpoint": "regional", "addressing_style": "virtual"},
            **config,
        ),
    )


def their_url(
    keys: SigningKeys,
    when: datetime,
    *,
    method: str,
    bucket: str,
    key: str,
    expires_s: int,
    region: str = REGION,
) -> str:
    operation = {"GET": "get", "HEAD": "head", "PUT": "put", "DELETE": "delete"}[method]
    with clock_at(when):
        url: str = client("s3", keys, region).generate_presigned_url(
            f"{operation}_object", {"Bucket": bucket, "Key": key}, ExpiresIn=expires_s
        )
    return url


def their_eks_token(keys: SigningKeys, when: datetime, cluster: str, region: str = REGION) -> str:
    sts = client("sts", keys, region)
    STSClientFactory(None)._register_k8s_aws_id_handlers(sts)
    with clock_at(when):
        token: str = TokenGenerator(sts).get_token(cluster)
    return token


def their_rds_token(keys: SigningKeys, when: datetime, host: str, port: int, user: str) -> str:
    with clock_at(when):
        token: str = client("rds", keys).generate_db_auth_token(host, port, user)
    return token


def their_git_credentials(
    keys: SigningKeys, when: datetime, host: str, repository: str
) -> dict[str, str]:
    """Run the credential helper of the AWS CLI."""
    credentials = Credentials(
        keys.access_key_id, keys.secret_access_key, keys.session_token or None
    )
    session = SimpleNamespace(
        get_credentials=lambda: credentials, get_config_variable=lambda _: REGION
    )
    asked = f"protocol=https\nhost={host}\npath=v1/repos/{repository}\n"
    written = io.StringIO()

    class Out:
        def __enter__(self) -> io.StringIO:
            return written

        def __exit__(self, *_: object) -> None: ...

    with clock_at(when), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO(asked))
        patch.setattr(theirs_codecommit, "NonTranslatedStdout", Out)
        CodeCommitGetCommand(session)._run_main(
            SimpleNamespace(ignore_host_check=False), SimpleNamespace(region=None)
        )
    return dict(line.split("=", 1) for line in written.getvalue().splitlines())
