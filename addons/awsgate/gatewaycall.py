"""An order to the gateway, from a client that has gateway credentials and nothing more.

    caller_from   the environment of ``awsgate env`` or ``exec`` -> who calls, through what
    send_order    one signed request through the gateway -> its answer

The proxy is named outright and NO_PROXY is not read: there is no other way to a gateway,
and a request that goes past it would tell AWS of an order that is not AWS's business.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from awsgate.address import is_loopback, proxy_url
from awsgate.aws import sigv4
from awsgate.aws.partitions import region_partition
from awsgate.errors import Code, Refusal, SetupError
from awsgate.orderpath import CONTENT_TYPE, TARGET
from awsgate.session import KEY_PREFIX
from awsgate.variables import BUNDLES, HTTPS_PROXIES

TIMEOUT_S = 75.0  # the gateway may have to assume the role first
MAX_ANSWER_BYTES = 1 << 20

_HINT = 'eval "$(awsgate env ...)" sets all that is needed; so does awsgate exec'


@dataclass(frozen=True, slots=True)
class GatewayCaller:
    """Who calls, and through which gateway."""

    keys: sigv4.SigningKeys
    proxy: SplitResult = field(repr=False)
    """It may hold a password."""
    bundle: str
    """CA file; empty: the system's."""


def caller_from(environment: Mapping[str, str]) -> GatewayCaller:
    """Read who calls from the environment. Raises ``SetupError`` if that is no gateway's."""
    url = next((environment[name] for name in HTTPS_PROXIES if environment.get(name)), "")
    if not url:
        raise SetupError("HTTPS_PROXY is not set, so there is no gateway to ask", hint=_HINT)
    proxy = _proxy(url)
    keys = keys_of(environment)
    if not keys.access_key_id.startswith(KEY_PREFIX):
        raise SetupError("the AWS credentials here are none of a gateway's", hint=_HINT)
    for value in (keys.access_key_id, keys.session_token):
        # Not repeated: ``http.client`` would, in the error for a header that it cannot send.
        if not (value.isascii() and value.isprintable()):
            raise SetupError(
                "the AWS credentials here hold a character that no header can hold",
                hint=_HINT,
            )
    bundle = next((environment[name] for name in BUNDLES if environment.get(name)), "")
    return GatewayCaller(keys, proxy, bundle)


def _proxy(url: str) -> SplitResult:
    proxy = proxy_url(url)
    if proxy is None or proxy.scheme not in ("http", "https") or not proxy.port:
        # Not repeated: it may hold a password.
        raise SetupError("HTTPS_PROXY is not a URL like http://127.0.0.1:8080", hint=_HINT)
    return proxy


def send_order(
    caller: GatewayCaller, region: str, parameters: Mapping[str, Any], *, now: datetime
) -> dict[str, Any]:
    """Send one order to the gateway, and give its answer.

    Raises ``Refusal`` with the gateway's code and words, and ``SetupError`` if it cannot be
    reached, or is none.
    """
    partition = region_partition(region)
    if partition is None:
        raise ValueError(f"{region!r} is no region")
    host = f"sts.{region}.{partition.suffix}"
    body = json.dumps(parameters).encode()
    headers = sigv4.sign(
        "POST",
        TARGET.encode(),
        [(b"Host", host.encode()), (b"Content-Type", CONTENT_TYPE.encode())],
        signed=("content-type",),
        keys=caller.keys,
        region=region,
        service="sts",
        payload=hashlib.sha256(body).hexdigest(),
        now=now,
    )
    if caller.proxy.scheme == "https":  # no CONNECT: TLS with the gateway is TLS enough
        headers.append((b"X-Forwarded-Host", host.encode()))
    connection = _connection(caller, host)
    try:
        connection.request(
            "POST", TARGET, body, {n.decode("ascii"): v.decode("ascii") for n, v in headers}
        )
        answer = connection.getresponse()
        return _read(answer, answer.read(MAX_ANSWER_BYTES))
    except ssl.SSLCertVerificationError as exc:
        raise SetupError(
            f"the CA of the gateway is not trusted: {exc.verify_message}",
            hint="AWS_CA_BUNDLE must name the gateway's bundle: awsgate ca show",
        ) from exc
    except (OSError, http.client.HTTPException) as exc:
        where = f"{caller.proxy.hostname}:{caller.proxy.port}"
        raise SetupError(
            f"no answer from the gateway at {where}: {exc or type(exc).__name__}",
            hint="HTTPS_PROXY names it: does it run?",
        ) from exc
    finally:
        connection.close()


def _connection(caller: GatewayCaller, host: str) -> http.client.HTTPSConnection:
    proxy = caller.proxy
    try:
        context = ssl.create_default_context(cafile=caller.bundle or None)
    except OSError as exc:
        raise SetupError(f"cannot read the CA bundle {caller.bundle}: {exc}", hint=_HINT) from exc
    connection = http.client.HTTPSConnection(
        proxy.hostname or "", proxy.port, timeout=TIMEOUT_S, context=context
    )
    if proxy.scheme == "https":
        return connection
    headers = {}
    if proxy.username is not None:
        secret = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(secret).decode('ascii')}"
    connection.set_tunnel(host, 443, headers)
    return connection


def _read(answer: http.client.HTTPResponse, body: bytes) -> dict[str, Any]:
    code = answer.getheader("x-awsgate-code", "")
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if isinstance(said, dict) and answer.getheader("x-awsgate-request-id"):
        # Each is printed as it is: for a terminal, for git line by line.
        if answer.status == 200 and all(v.isprintable() for v in said.values() if type(v) is str):
            return said
        if code in frozenset(Code):
            text = str(said.get("message", "")).removeprefix(f"awsgate {code}: ")
            raise Refusal(Code(code), text)
    raise SetupError(
        f"what answered (status {answer.status}) is no gateway that makes artefacts",
        hint="HTTPS_PROXY must name an awsgate of this version",
    )


# --- keys -------------------------------------------------------------------------------


def keys_of(environment: Mapping[str, str]) -> sigv4.SigningKeys:
    """Give the keys that an SDK finds: in variables, or at the endpoint of ``awsgate exec``.

    Raises ``SetupError`` if there are none.
    """
    key_id, secret = (
        environment.get(f"AWS_{name}", "") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    )
    if key_id and secret:
        return sigv4.SigningKeys(key_id, secret, environment.get("AWS_SESSION_TOKEN", ""))
    url = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    if url:
        return _keys_from(url, _container_token(environment))
    raise SetupError("there are no gateway credentials in the environment", hint=_HINT)


def _container_token(environment: Mapping[str, str]) -> str:
    file = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "")
    if not file:
        return environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    try:
        return Path(file).read_text("utf-8").strip()
    except (OSError, ValueError) as exc:
        raise SetupError("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE cannot be read") from exc


def _keys_from(url: str, token: str) -> sigv4.SigningKeys:
    """Ask the endpoint that ``awsgate exec`` opens for its child. On this machine only."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http" or not is_loopback(host):
        raise SetupError("AWS_CONTAINER_CREDENTIALS_FULL_URI is not on this machine", hint=_HINT)
    connection = http.client.HTTPConnection(host, parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request("GET", parts.path or "/", headers={"Authorization": token})
        said = json.loads(connection.getresponse().read(MAX_ANSWER_BYTES))
        return sigv4.SigningKeys(said["AccessKeyId"], said["SecretAccessKey"], said["Token"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as exc:
        raise SetupError(
            f"no credentials from AWS_CONTAINER_CREDENTIALS_FULL_URI: {type(exc).__name__}",
            hint="is the awsgate exec that set it still there?",
        ) from exc
    finally:
        connection.close()
