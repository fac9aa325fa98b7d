"""Programs on PATH that ignore the proxy or the CA, and the setting each needs. Pure.

What each reads was measured: the matrix of clients and environment. A program that needs
nothing beside ``awsgate env`` is not named.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from awsgate.doctor.finding import Finding, Group, fault, note, ok, warning
from awsgate.doctor.shell import Place, Shell


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """What is installed here."""

    shell: Shell = field(repr=False)
    programs: frozenset[str] = frozenset()
    """Names on PATH, of those in ``PROGRAMS``."""
    packages: frozenset[str] = frozenset()
    """Python packages at hand, of those in ``PACKAGES``."""
    rclone: str = ""
    """The first line of ``rclone version``."""
    unpatched: tuple[str, ...] | None = ()
    """Methods of mitmproxy that the patches do not know; None: could not be asked."""
    mitmproxy: str = ""
    """Its version."""


@dataclass(frozen=True, slots=True)
class _Need:
    """What a program ignores, and the setting that helps."""

    ignores: str
    setting: str
    """With {proxy}, {host}, {port}, {bundle} and {root} filled in."""
    done_if: tuple[str, str] = ("", "")
    """Variable that is set, and a text in it, if the setting is there already."""


PROGRAMS: Mapping[str, _Need] = {
    "node": _Need(
        "the JavaScript SDK does not read HTTPS_PROXY, in any version of Node",
        'export NODE_OPTIONS="--require=$(awsgate preload)"   # or an agent in the program',
        ("NODE_OPTIONS", "--require"),
    ),
    "java": _Need(
        "Java takes its CA from no variable, and its SDK asks for http.proxyHost",
        # A copy of the JDK's own store: hosts that are not intercepted need its roots.
        'cp -L "$(dirname "$(dirname "$(readlink -f "$(command -v keytool)")")")'
        '/lib/security/cacerts" ~/awsgate.jks && chmod u+w ~/awsgate.jks\n'
        "keytool -importcert -noprompt -alias awsgate -file {root} "
        "-keystore ~/awsgate.jks -storepass changeit\n"
        'export JAVA_TOOL_OPTIONS="-Dhttp.proxyHost={host} -Dhttp.proxyPort={port} '
        "-Dhttps.proxyHost={host} -Dhttps.proxyPort={port} "
        "-Djavax.net.ssl.trustStore=$HOME/awsgate.jks "
        '-Djavax.net.ssl.trustStorePassword=changeit"',
        ("JAVA_TOOL_OPTIONS", "proxyHost"),
    ),
    "s3cmd": _Need(
        "s3cmd reads neither HTTPS_PROXY nor a CA variable",
        "printf 'proxy_host = {host}\\nproxy_port = {port}\\nca_certs_file = {bundle}\\n' "
        ">> ~/.s3cfg",
    ),
    "php": _Need(
        "PHP takes its CA from no variable",
        "php -d curl.cainfo={bundle} -d openssl.cafile={bundle}",
    ),
    "ruby": _Need(
        "the Ruby SDK reads HTTP_PROXY, not HTTPS_PROXY",
        'Aws.config[:http_proxy] = "{proxy}"   # in the program; never HTTP_PROXY for a shell',
    ),
}
PACKAGES: Mapping[str, _Need] = {
    "pyarrow": _Need(
        "pyarrow reads neither HTTPS_PROXY nor a CA variable",
        'pyarrow.fs.S3FileSystem(proxy_options="{proxy}", tls_ca_file_path="{bundle}")',
    ),
    "minio": _Need(
        "minio-py does not read HTTPS_PROXY",
        'Minio(..., http_client=urllib3.ProxyManager("{proxy}", ca_certs="{bundle}"))',
    ),
    "amazon_transcribe": _Need(
        "amazon-transcribe has no way to go through a proxy",
        "use boto3 or the JavaScript SDK for Transcribe",
    ),
    "s3torchconnectorclient": _Need(
        "the S3 connector for PyTorch reads SSL_CERT_FILE alone, and tries for ever without it",
        "export SSL_CERT_FILE={bundle}",
        ("SSL_CERT_FILE", ""),
    ),
}

_RCLONE = re.compile(r"rclone v?(\d+)\.(\d+)")


def check_tools(facts: ToolFacts) -> Iterator[Finding]:
    """Give what there is to say of the programs here, in a client's shell."""
    if not facts.shell.is_client:
        return
    yield from _rclone(facts)
    for names, needs in ((facts.programs, PROGRAMS), (facts.packages, PACKAGES)):
        for name in sorted(names & needs.keys()):
            need = needs[name]
            variable, part = need.done_if
            if variable and facts.shell.value(variable) and part in facts.shell.value(variable):
                continue
            yield note(
                Group.TOOLS,
                f"tool-{name.replace('_', '-')}",
                need.ignores,
                "its calls go straight to AWS, or do not trust the gateway",
                _filled(need.setting, facts.shell.place),
            )


def check_mitmproxy(facts: ToolFacts) -> Iterator[Finding]:
    """Give what there is to say of mitmproxy."""
    if facts.unpatched is None:
        yield fault(
            Group.GATEWAY,
            "mitmproxy-unusable",
            "mitmproxy cannot be imported by this Python",
            "the gateway runs inside it",
            "pip install 'mitmproxy>=12.2.3,<13'",
        )
    elif facts.unpatched:
        yield warning(
            Group.GATEWAY,
            "mitmproxy-unknown",
            f"mitmproxy {facts.mitmproxy}: {', '.join(facts.unpatched)} is not as awsgate knows it",
            "mitmdump and --core mitmproxy do not start with it, unless that is a patch of speed "
            "alone; awsgate run needs none",
            "pip install mitmproxy==12.3.1",
        )
    else:
        yield ok(Group.GATEWAY, "mitmproxy", f"mitmproxy {facts.mitmproxy}, all patches fit")


def _rclone(facts: ToolFacts) -> Iterator[Finding]:
    found = _RCLONE.match(facts.rclone)
    if found is None or (int(found[1]), int(found[2])) >= (1, 61):
        return
    if facts.shell.value("AWS_CA_BUNDLE"):
        yield warning(
            Group.TOOLS,
            "rclone-with-ca-bundle",
            f"rclone {found[1]}.{found[2]} does not start while AWS_CA_BUNDLE is set",
            "LoadCustomCABundleError; it trusts the gateway by SSL_CERT_FILE",
            f"env -u AWS_CA_BUNDLE SSL_CERT_FILE={shlex.quote(facts.shell.place.bundle)} rclone "
            "lsd remote:",
        )


def _filled(setting: str, place: Place) -> str:
    host, _, port = place.address.rpartition(":")
    return setting.format(
        proxy=place.url, host=host, port=port, bundle=place.bundle, root=place.root_cert
    )
