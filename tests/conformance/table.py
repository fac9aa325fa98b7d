"""The clients of ``scripts/conformance``, and what each needs beside ``awsgate env``.

One table, read three times: the runner runs every ``recipe`` before a client, as bash and
as it stands here; docs/clients.md prints it; a test compares the two. So what the docs
tell a user to do is what was done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

OPERATIONS = {
    "identity": "STS GetCallerIdentity; AWS sees the role, and the user by name",
    "objects": "put, list, get and delete under a key of spaces, quotes, `+`, `%2F`, é and 😀",
    "copy": "a copy within S3",
    "parts": "17 MiB up in parts of 8, and down",
    "presign": "a URL that the client signs, used by who has no keys",
    "dynamodb": "PutItem and GetItem",
    "sqs": "SendMessage, ReceiveMessage and DeleteMessage",
    "work": "what the program is for: a backup and its restore, a state and its lock, a table",
    "websocket": "an upgrade signed in the query, and a text there and back",
    "strict": "put and get against an AWS that also checks body hash, trailer, region and date",
    "refusal": "a denied call shows awsgate's words, and is not tried again",
}
"""Name -> what it is, for the docs."""

SDK = ("identity", "objects", "copy", "parts", "presign", "dynamodb", "sqs", "strict", "refusal")
STORE = ("objects", "copy", "parts", "strict", "refusal")


class Excerpt(NamedTuple):
    """Code of a client that is printed in the docs: from ``docs: NAME`` to ``docs: end``."""

    file: str
    name: str
    language: str


@dataclass(frozen=True, slots=True)
class Client:
    """One client."""

    name: str
    tool: str
    """A class of ``clients.tools`` or ``clients.programs``."""
    command: tuple[str, ...]
    version: tuple[str, ...]
    """Prints it, among other things: the first number with a dot in it is taken."""
    operations: tuple[str, ...]
    installs: tuple[str, ...] = ()
    """Steps of ``conformance.install`` that must have succeeded."""
    needs: str = "nothing"
    """For the docs, in a few words."""
    recipe: str = ""
    """Bash, run in the environment of ``awsgate env``; what it exports, the client gets."""
    code: Excerpt | None = None
    remarks: tuple[str, ...] = field(default=())
    """For the docs: sentences."""

    @property
    def user(self) -> str:
        """The client's user in the policy, so that audit lines can be told apart."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.name.lower()).split())


PYTHON = "{clients}/bin/python"
JS_VERSION = (
    "node", "-p", "require('{js}/node_modules/@aws-sdk/client-s3/package.json').version",
)  # fmt: skip
RUBY_PROXY = 'export http_proxy="$HTTPS_PROXY"'
NODE_PRELOAD = 'export NODE_OPTIONS="--require=$(awsgate preload)"'
JAVA_TRUST = """\
cacerts=$(dirname "$(dirname "$(readlink -f "$(command -v keytool)")")")/lib/security/cacerts
cp -L "$cacerts" ~/awsgate.jks && chmod u+w ~/awsgate.jks
keytool -importcert -noprompt -alias awsgate -file "$NODE_EXTRA_CA_CERTS" \\
  -keystore ~/awsgate.jks -storepass changeit
address=${HTTPS_PROXY#*://}
export JAVA_TOOL_OPTIONS="-Djavax.net.ssl.trustStore=$HOME/awsgate.jks \\
  -Djavax.net.ssl.trustStorePassword=changeit \\
  -Dhttp.proxyHost=${address%:*} -Dhttp.proxyPort=${address##*:} \\
  -Dhttps.proxyHost=${address%:*} -Dhttps.proxyPort=${address##*:} \\
  -Dhttp.nonProxyHosts=localhost|127.*|169.254.*\""""
S3CMD = """\
address=${HTTPS_PROXY#*://}
cat >> ~/.s3cfg <<END
[default]
proxy_host = ${address%:*}
proxy_port = ${address##*:}
bucket_location = ${AWS_REGION:-us-east-1}
ca_certs_file = $SSL_CERT_FILE
END"""
CRT_CONFIG = """\
mkdir -p ~/.aws && cat >> ~/.aws/config <<END
[default]
s3 =
  preferred_transfer_client = crt
END"""

PHP_INI = """\
mkdir -p ~/php.d && cat > ~/php.d/awsgate.ini <<END
curl.cainfo = "$SSL_CERT_FILE"
openssl.cafile = "$SSL_CERT_FILE"
END
export PHP_INI_SCAN_DIR=":$HOME/php.d\""""

CLIENTS = (
    Client(
        "boto3", "Tool", ("{venv}/python", "{here}/boto3_client.py"),
        ("{venv}/python", "-c", "import boto3; print(boto3.__version__)"), SDK,
        remarks=("Presigned URLs of S3 in us-east-1 are SigV2 by default: they work.",),
    ),
    Client(
        "boto3 with CRT", "Tool", ("{venv}/python", "{here}/boto3_client.py", "--crt"),
        ("{venv}/python", "-c", "import awscrt; print(awscrt.__version__)"), STORE,
        remarks=("`AWS_CA_BUNDLE` is ignored; `SSL_CERT_FILE`, which `awsgate env` sets, is not.",),
    ),
    Client(
        "aiobotocore", "Tool", (PYTHON, "{here}/aiobotocore_client.py"),
        (PYTHON, "-c", "import aiobotocore; print(aiobotocore.__version__)"), SDK, ("python",),
        remarks=("s3fs and what else builds on it: the same.",),
    ),
    Client(
        "AWS CLI v1", "AwsCli", ("{venv}/aws",), ("{venv}/aws", "--version"),
        ("identity", "objects", "copy", "parts", "presign", "dynamodb", "sqs", "strict",
         "refusal"),
        remarks=("Signs URLs with SigV2, for reading alone.",),
    ),
    Client(
        "AWS CLI v2", "AwsCli", ("{cli_v2}",), ("{cli_v2}", "--version"), SDK, ("cli-v2",),
    ),
    Client(
        "AWS CLI v2 with CRT", "AwsCli", ("{cli_v2}",), ("{cli_v2}", "--version"), STORE,
        ("cli-v2",), recipe=CRT_CONFIG,
        remarks=("The recipe only switches CRT on.",),
    ),
    Client(
        "s5cmd", "S5cmd", ("{clients}/bin/s5cmd",), ("{clients}/bin/s5cmd", "version"),
        ("objects", "copy", "parts", "presign", "strict", "refusal"), ("python",),
    ),
    Client(
        "rclone", "Rclone", ("{clients}/bin/rclone",), ("{clients}/bin/rclone", "version"),
        STORE, ("python",),
        remarks=(
            "Tries a refused command three times (`--retries 1`). An upload asks by HEAD first, so"
            " its refusal is `Forbidden` alone; `rclone lsf` shows the words.",
        ),
    ),
    Client(
        "rclone before 1.61", "Rclone", ("{rclone_old}",), ("{rclone_old}", "version"), STORE,
        ("rclone-old",), needs="a variable less", recipe="unset AWS_CA_BUNDLE",
        remarks=("With `AWS_CA_BUNDLE` set it does not start.",),
    ),
    Client(
        "restic", "Restic", ("restic",), ("restic", "version"), ("work",), ("restic",),
        remarks=(
            "Of a refusal it shows `Access Denied` alone: it asks by HEAD, whose answers have no"
            " text. The audit has the reason.",
        ),
    ),
    Client(
        "s3cmd", "S3cmd", ("s3cmd",), ("s3cmd", "--version"),
        ("objects", "parts", "strict", "refusal"), ("s3cmd",),
        needs="a configuration file", recipe=S3CMD,
        remarks=(
            "Reads no proxy variable.",
            "`s3cmd cp` was not tried: it copies the ACL, which SeaweedFS refuses.",
        ),
    ),
    Client(
        "JavaScript SDK v3", "Tool", ("node", "{js}/client.mjs"), JS_VERSION, SDK,
        ("js",), needs="`NODE_OPTIONS`", recipe=NODE_PRELOAD,
        remarks=(
            "The SDK ignores `HTTPS_PROXY`, and `NODE_USE_ENV_PROXY` too. The preload makes every"
            " `https.Agent` of the process obey `HTTPS_PROXY` and `NO_PROXY`; Node 18 and later.",
            "A client machine without awsgate needs a copy of that one file.",
        ),
    ),
    Client(
        "JavaScript SDK v3, with an agent", "Tool", ("node", "{js}/client.mjs", "--agent"),
        JS_VERSION, SDK, ("js",), needs="two lines in the program",
        code=Excerpt("clients/js/client.mjs", "agent", "js"),
    ),
    Client(
        "Go SDK v2", "Tool", ("{clients}/bin/goclient",),
        ("grep", "-m1", "service/s3 ", "{here}/../e2e/go/go.mod"), SDK, ("go",),
    ),
    Client(
        "Java SDK v2", "Tool", ("java", "-cp", "{java}/classes:{java}/dependency/*", "Client"),
        ("grep", "-m1", "<version>2", "{here}/java/pom.xml"), SDK, ("java",),
        needs="a trust store and properties", recipe=JAVA_TRUST,
        remarks=(
            "`keytool` is that of the JDK in use. The store is the JDK's own with one root more.",
            "The SDK asks for the proxy by the proxy's scheme, not by the request's: `HTTPS_PROXY`"
            " and `https.proxyHost` it ignores, `http.proxyHost` it takes. Both are set, so that"
            " other Java programs work too.",
        ),
    ),
    Client(
        "Rust SDK", "Tool", ("{clients}/rust/target/debug/awsgate-rust-client",),
        ("grep", "aws-sdk-s3", "{here}/rust/Cargo.toml"), SDK, ("rust",),
        needs="a connector in the program",
        code=Excerpt("clients/rust/src/main.rs", "connector", "rust"),
        remarks=("The SDK reads no proxy variable by itself.",),
    ),
    Client(
        "Ruby SDK v3", "Tool", ("ruby", "{here}/ruby/client.rb"),
        ("ruby", "-e", 'require "aws-sdk-core"; puts Aws::CORE_GEM_VERSION'),
        ("identity", "objects", "copy", "parts", "presign", "strict", "refusal"), ("ruby",),
        needs="`http_proxy`", recipe=RUBY_PROXY,
        remarks=("Ruby asks `http_proxy` for HTTPS too; `HTTPS_PROXY` it does not read.",),
    ),
    Client(
        "PHP (AsyncAws)", "Tool", ("php", "{here}/php/client.php"), ("php", "--version"),
        ("identity", "sqs"), ("php",), needs="two lines of php.ini", recipe=PHP_INI,
        remarks=(
            "The same for every PHP program over curl; the version is PHP's. PHP reads no CA"
            " variable. AWS's own SDK is not in Debian, and was not tried.",
        ),
    ),
    Client(
        "Terraform, S3 backend", "Terraform", ("terraform",), ("terraform", "version"),
        ("work", "refusal"), ("terraform",),
        remarks=("`CHECKPOINT_DISABLE=1` spares it a call to its maker.",),
    ),
    Client(
        "Polars", "Polars", (PYTHON, "{here}/frame_clients.py", "polars"),
        (PYTHON, "-c", "import polars; print(polars.__version__)"), ("work", "refusal"),
        ("python",),
        remarks=("Tries a denied upload once more.",),
    ),
    Client(
        "delta-rs", "Frames", (PYTHON, "{here}/frame_clients.py", "deltalake"),
        (PYTHON, "-c", "import deltalake; print(deltalake.__version__)"), ("work", "refusal"),
        ("python",),
    ),
    Client(
        "obstore (object_store)", "Tool", (PYTHON, "{here}/store_clients.py", "obstore"),
        (PYTHON, "-c", "import obstore; print(obstore.__version__)"), (*STORE, "presign"),
        ("python",),
    ),
    Client(
        "OpenDAL", "Tool", (PYTHON, "{here}/store_clients.py", "opendal"),
        (PYTHON, "-c", "import importlib.metadata as m; print(m.version('opendal'))"), STORE,
        ("python",),
    ),
    Client(
        "PyArrow", "Tool", (PYTHON, "{here}/store_clients.py", "pyarrow"),
        (PYTHON, "-c", "import pyarrow; print(pyarrow.__version__)"), STORE, ("python",),
        needs="two arguments", code=Excerpt("clients/store_clients.py", "pyarrow", "python"),
        remarks=("Reads neither proxy nor CA variables.",),
    ),
    Client(
        "s3torchconnector (Mountpoint)", "S3Torch", (PYTHON, "{here}/store_clients.py", "s3torch"),
        (PYTHON, "-c",
         "import importlib.metadata as m; print(m.version('s3torchconnectorclient'))"),
        STORE, ("python",),
        remarks=("Ignores `NO_PROXY`.",),
    ),
    Client(
        "minio-py", "Tool", (PYTHON, "{here}/store_clients.py", "minio-py"),
        (PYTHON, "-c", "import minio; print(minio.__version__)"), (*STORE, "presign"), ("python",),
        needs="an HTTP client in the program",
        code=Excerpt("clients/store_clients.py", "minio-py", "python"),
        remarks=("Reads no proxy variable.",),
    ),
    Client(
        "curl --aws-sigv4", "CurlTool", ("curl",), ("curl", "--version"),
        ("identity", "objects", "copy", "dynamodb", "sqs", "strict", "refusal"), ("curl",),
        needs="[the session token in a header](#curl)",
    ),
    Client(
        "python websockets", "WebSockets", (PYTHON, "{here}/websocket_client.py"),
        (PYTHON, "-c", "import websockets; print(websockets.__version__)"), ("websocket",),
        ("python",),
    ),
)  # fmt: skip
