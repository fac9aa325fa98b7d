"""``awsgate login``: prove who you are to a gateway, once; other commands ask it then.

What is trusted of the gateway is one root, by its pin: told by --ca-pin, known from an
earlier login, or shown and asked about on a terminal. Before that nothing is sent to it.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from awsgate.cli import ways
from awsgate.cli.checking import checked_gateway
from awsgate.cli.no import No, saying_no
from awsgate.cli.options import JsonOption
from awsgate.cli.remote import proxy_said
from awsgate.cli.terminal import columns, printable
from awsgate.controlclient import ControlClient, LoginAnswer, trusted_root
from awsgate.errors import SetupError
from awsgate.login import LOCAL
from awsgate.loginstore import Stored, load, save
from awsgate.pins import Root, is_pin
from awsgate.timestamps import utc_seconds

TOKEN_VARIABLE = "AWSGATE_ID_TOKEN"  # noqa: S105 - its name
MAX_TOKEN_BYTES = 32 * 1024

GatewayOption = Annotated[
    str,
    typer.Option(
        "--gateway",
        help="URL of its control API, like https://gate:3081. Default: that of the last login.",
        envvar="AWSGATE_GATEWAY",
    ),
]
PinOption = Annotated[
    str,
    typer.Option(
        "--ca-pin",
        help="What awsgate ca show says on the gateway: sha256:... Without it you are asked.",
        envvar="AWSGATE_CA_PIN",
    ),
]
ConnectorOption = Annotated[
    str, typer.Option("--connector", help="Which way in, like oidc/okta. Default: the only one.")
]
DeviceOption = Annotated[
    bool, typer.Option("--device", help="Type a code into a browser anywhere else.")
]
NoBrowserOption = Annotated[
    bool, typer.Option("--no-browser", help="Print the URL, and open nothing.")
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--id-token-file",
        help="For machines: file with the token of their platform. Or AWSGATE_ID_TOKEN.",
    ),
]
CertificateOption = Annotated[
    Path | None,
    typer.Option("--certificate", help="For machines: file with a client certificate, as PEM."),
]
KeyOption = Annotated[
    Path | None, typer.Option("--key", help="Its key. Default: in the same file.")
]
UserOption = Annotated[
    str, typer.Option("--user", help="A user of the gateway's own; password and code are asked.")
]
InvitationOption = Annotated[
    str,
    typer.Option(
        "--invitation",
        help="Take up an invitation. With - it is asked for: others can read arguments.",
        envvar="AWSGATE_INVITATION",
    ),
]


def login(
    gateway: GatewayOption = "",
    ca_pin: PinOption = "",
    connector: ConnectorOption = "",
    device: DeviceOption = False,
    no_browser: NoBrowserOption = False,
    id_token_file: TokenFileOption = None,
    certificate: CertificateOption = None,
    key: KeyOption = None,
    user: UserOption = "",
    invitation: InvitationOption = "",
    as_json: JsonOption = False,
) -> None:
    """Log in at a gateway; exit 1 if it says no. Other commands work with it then.

    Example: awsgate login --gateway https://gate.example.com:3081 --ca-pin sha256:9f86d0...

    In CI: awsgate login --id-token-file token.jwt, then awsgate exec -- terraform plan
    """
    with saying_no():
        url, pin, before = _gateway(gateway, ca_pin)
        root = trusted_root(url, pin) if pin else _shown_and_asked(url)
        client = ControlClient(url, root)
        ping = client.ping()
        connectors = _connectors(ping)
        people = bool(user or device or invitation)
        proof = Proof(
            token=_id_token(id_token_file, "" if people else os.environ.get(TOKEN_VARIABLE, "")),
            token_file=_absolute(id_token_file),
            certificate=_absolute(certificate),
            key=_absolute(key or certificate),
            user=user,
            invitation=ways.hidden("invitation") if invitation == "-" else invitation,
            device=device,
            show_only=no_browser,
        )
        if not (connector or proof.is_a_machines):
            connector = before if before in connectors else ""
        answer = _answer(client, connectors, connector, proof)
        stored = _kept(client, ping, answer, root, shlex.join(proof.options(answer)))
    _say(stored, answer, as_json=as_json)


def _gateway(named: str, pin: str) -> tuple[str, str, str]:
    """Give URL and pin, as told or else as of an earlier login, and the connector of that."""
    if pin and not is_pin(pin):
        raise typer.BadParameter("--ca-pin is not sha256: and 64 hexadecimal digits")
    if named:
        url = checked_gateway(named)
        earlier = load(url, with_login=False)
    else:
        earlier = load(with_login=False)
        if earlier is None:
            raise typer.BadParameter("which gateway: --gateway https://gate.example.com:3081")
        url = earlier.gateway
    if earlier is None:
        return url, pin, ""
    return url, pin or earlier.pin, earlier.connector


def _shown_and_asked(url: str) -> Root:
    """Ask the user whether the root of a gateway is the right one. Raises ``No``."""
    if not ways.is_terminal():
        raise SetupError(
            f"the gateway at {url} is not known here, and nobody is there to ask",
            hint="name its pin with --ca-pin sha256:... (awsgate ca show says it on the gateway)",
        )
    root = trusted_root(url)
    sys.stderr.write(
        f"awsgate: the gateway at {url} is not known here. The pin of its root is\n"
        f"  {root.pin}\n"
        "awsgate: on the gateway awsgate ca show says it; ask its operator if you cannot look\n"
    )
    if not typer.confirm("is it the same, and trusted from now on?", err=True):
        raise No("the gateway is not trusted, and nothing was sent to it")
    return root


def _absolute(path: Path | None) -> Path | None:
    return path.expanduser().absolute() if path is not None else None


def _id_token(file: Path | None, given: str) -> str:
    if file is None:
        return given.strip()
    try:
        with file.open("rb") as opened:
            token = opened.read(MAX_TOKEN_BYTES + 1).decode("ascii").strip()
    except OSError as exc:
        raise SetupError(f"cannot read {file}: {exc.strerror}") from exc
    except UnicodeDecodeError:
        token = ""  # the same as what is not in it
    if not token or len(token) > MAX_TOKEN_BYTES:
        raise SetupError(f"{file} holds no ID token")
    return token


# --- which way --------------------------------------------------------------------------


def _connectors(ping: Mapping[str, Any]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Give the connectors of a gateway: name -> what it is called, and its ways."""
    try:
        return {
            str(c["name"]): (str(c.get("display") or ""), tuple(map(str, c["ways"])))
            for c in ping["connectors"]
        }
    except (KeyError, TypeError, AttributeError):
        raise SetupError("what answered is no gateway of this version") from None


@dataclass(frozen=True, slots=True)
class Proof:
    """How somebody wants to prove who they are."""

    token: str = field(repr=False)
    token_file: Path | None
    certificate: Path | None
    key: Path | None
    user: str
    invitation: str = field(repr=False)
    device: bool
    show_only: bool

    @property
    def is_a_machines(self) -> bool:
        """True if nobody is asked anything."""
        return bool(self.token or self.certificate)

    def options(self, answer: LoginAnswer) -> list[str]:
        """Give the options that do the same again; the connector is remembered."""
        if self.certificate is not None:
            key = ["--key", str(self.key)] if self.key != self.certificate else []
            return ["--certificate", str(self.certificate), *key]
        if self.token_file is not None:
            return ["--id-token-file", str(self.token_file)]
        if answer.connector == LOCAL:
            return ["--user", answer.user]
        return ["--device"] if self.device else []


def _answer(
    client: ControlClient,
    connectors: Mapping[str, tuple[str, tuple[str, ...]]],
    connector: str,
    proof: Proof,
) -> LoginAnswer:
    if connector and connector not in connectors:
        raise No(f"the gateway has no connector {connector!r}", _table(connectors))
    if proof.certificate is not None and proof.key is not None:
        with ways.refusing():
            return client.login_by_certificate(proof.certificate, proof.key)
    if proof.token:
        with ways.refusing():
            return client.login_by_id_token(proof.token, connector)
    if proof.invitation:
        return ways.by_invitation(client, proof.invitation)
    if proof.user:
        return ways.by_password(client, proof.user)
    return _of_a_person(client, connectors, connector, proof)


def _of_a_person(
    client: ControlClient,
    connectors: Mapping[str, tuple[str, tuple[str, ...]]],
    connector: str,
    proof: Proof,
) -> LoginAnswer:
    name, its_ways = _for_people(connectors, connector)
    device, show_only = proof.device, proof.show_only
    if device and "device" not in its_ways:
        raise No(f"{name} has no such way: it has {', '.join(its_ways)}")
    seen = ways.has_display()
    if "browser" in its_ways and not device and (show_only or seen or "device" not in its_ways):
        return ways.by_browser(client, name, show_only=show_only or not seen)
    if "device" in its_ways:
        return ways.by_device(client, name)
    if not ways.is_terminal():
        raise typer.BadParameter("the gateway asks for a password: say whose with --user")
    return ways.by_password(client, str(typer.prompt("user", err=True)))


def _for_people(
    connectors: Mapping[str, tuple[str, tuple[str, ...]]], connector: str
) -> tuple[str, tuple[str, ...]]:
    """Give the connector that is meant, and its ways for people. Raises ``No``."""
    usable = {
        name: tuple(way for way in its_ways if way in ("browser", "device", "password"))
        for name, (_, its_ways) in connectors.items()
        if connector in ("", name)
    }
    usable = {name: its_ways for name, its_ways in usable.items() if its_ways}
    if len(usable) > 1:
        usable.pop(LOCAL, None)  # that is meant where a user is named
    if len(usable) == 1:
        return next(iter(usable.items()))
    if usable:
        raise No("say which way with --connector, or --user", _table(connectors))
    hint = "machines give a token or a certificate: --id-token-file, --certificate"
    raise No("there is no way in for people here", _table(connectors), hints=[hint])


def _table(connectors: Mapping[str, tuple[str, tuple[str, ...]]]) -> Sequence[str]:
    rows = [("CONNECTOR", "NAME", "WAYS")]
    rows += [(name, shown, ", ".join(its)) for name, (shown, its) in sorted(connectors.items())]
    return [f"  {line}" for line in columns(rows)] if connectors else ["  it has none"]


# --- what is kept -----------------------------------------------------------------------


def _kept(
    client: ControlClient, ping: Mapping[str, Any], answer: LoginAnswer, root: Root, how: str
) -> Stored:
    bundle, roots = client.ca()
    return save(
        Stored(
            gateway=client.url,
            proxy=proxy_said(ping),
            user=answer.user,
            connector=answer.connector,
            login=answer.login,
            expires_at=answer.expires_at,
            pin=root.pin,
            bundle_path="",
            root_path="",
            id=answer.id,
            tunnel_auth=ping.get("tunnel_auth") is True,
            stored_at=int(time.time()),
            how=how,
        ),
        bundle=bundle,
        root=roots,
    )


def _say(stored: Stored, answer: LoginAnswer, *, as_json: bool) -> None:
    ends = utc_seconds(datetime.fromtimestamp(stored.expires_at, UTC))
    if as_json:
        said = {
            "gateway": stored.gateway,
            "proxy": stored.proxy,
            "user": stored.user,
            "connector": stored.connector,
            "roles": list(answer.roles),
            "id": stored.id,
            "expires": ends,
        }
        print(json.dumps(said, indent=2))
        return
    print(printable(f"{stored.user} ({stored.connector}) at {stored.gateway}, until {ends}"))
    sys.stderr.write(
        'awsgate: hint: eval "$(awsgate env)" for this shell, or awsgate exec -- aws s3 ls\n'
    )
