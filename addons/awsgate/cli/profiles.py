"""``awsgate profiles``: AWS profiles, one for each app and role, all through one gateway.

A profile holds no keys: it names the ``awsgate credentials`` that gives them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from awsgate import profilefile
from awsgate.cli.checking import check_proxy, check_region
from awsgate.cli.no import No, saying_no
from awsgate.cli.options import (
    AppOption,
    CertsOption,
    GatewayOption,
    JsonOption,
    PolicyOption,
    ProxyOption,
    RoleOption,
    StateOption,
    UserOption,
    certs_folder,
    certs_folder_in_use,
    policy_path,
    state_folder,
)
from awsgate.cli.terminal import columns
from awsgate.cli.where import gateway_meant
from awsgate.errors import SetupError
from awsgate.variables import NO_PROXY

if TYPE_CHECKING:
    from awsgate.cli.choice import Choice

app = typer.Typer(
    name="profiles",
    help="AWS profiles for apps and roles, in the AWS config file.",
    no_args_is_help=True,
)


@app.command()
def write(
    user: UserOption = "",
    app_name: AppOption = "",
    role: RoleOption = "",
    region: Annotated[str, typer.Option(help="The profiles' region, like us-east-1.")] = "",
    proxy: ProxyOption = "",
    policy: PolicyOption = None,
    state: StateOption = None,
    certs: CertsOption = None,
    gateway: GatewayOption = "",
) -> None:
    """Write a profile for each app and role that the user may have, and print their names.

    A name is <app>-<role name>; a character that is no letter, digit or one of ._- becomes
    a -, and names that are then alike get six characters more. The file is AWS_CONFIG_FILE
    or ~/.aws/config; nothing else in it is changed. Profiles written earlier stay.

    Example: awsgate profiles write --user alice --region us-east-1
    """
    check_region(region)
    check_proxy(proxy)
    with saying_no():
        if at := gateway_meant(gateway, policy, state, certs):
            of = _of_login(at, user, app_name, role)
        else:
            of = _of_policy(user, app_name, role, policy, certs)
        places = of.places or _places(policy, state, certs)
        new = {
            name: {
                "credential_process": " ".join(map(_quoted, _process(choice, places))),
                "ca_bundle": of.bundle,
                **({"region": region} if region else {}),
            }
            for name, choice in _named(of.everything, of.found).items()
        }
        _update(new, ())
    print("\n".join(new))
    url = proxy or of.proxy
    sys.stderr.write(
        "awsgate: a profile cannot name a proxy: once in each shell, "
        f"export HTTPS_PROXY={shlex.quote(url)} NO_PROXY={NO_PROXY}\n"
    )


@app.command()
def remove(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which, as in awsgate profiles list.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All that awsgate wrote.")] = False,
) -> None:
    """Take profiles out of the AWS config file; exit 1 if there is none of a name.

    Example: awsgate profiles remove --all
    """
    if bool(names) == every:
        raise typer.BadParameter("name profiles, or give --all")
    with saying_no():
        ours = _read_profiles(_config_file())
        if missing := sorted(set(names or ()) - set(ours)):
            raise No(f"awsgate wrote no profile {', '.join(missing)} (awsgate profiles list)")
        _update({}, tuple(ours) if every else tuple(names or ()))


@app.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List the profiles that awsgate wrote.

    Example: awsgate profiles list
    """
    ours = _read_profiles(_config_file())
    if as_json:
        print(json.dumps(ours, indent=2))
        return
    if not ours:
        sys.stderr.write("awsgate: there are no profiles of awsgate (awsgate profiles write)\n")
        return
    rows = [("PROFILE", "USER", "APP", "ROLE")]
    for name, settings in ours.items():
        told = _told(settings.get("credential_process", ""))
        rows.append((name, told["user"], told["app"], told["role"]))
    print("\n".join(columns(rows)))


# --- what there is to write --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Wanted:
    everything: list[Choice]
    """All that the user may have: a name is the same, whichever of them are written."""
    found: list[Choice]
    bundle: str
    proxy: str
    places: tuple[str, ...] = ()
    """Options that name the gateway."""


def _of_policy(
    user: str, app_name: str, role: str, policy: Path | None, certs: Path | None
) -> _Wanted:
    from datetime import UTC, datetime

    from awsgate.address import gateway_url
    from awsgate.aws.partitions import all_suffixes
    from awsgate.ca import ensure_ca
    from awsgate.cli.choice import check_names, choices, default_user
    from awsgate.policyfile import load_policy

    rules = load_policy(policy_path(policy))
    user = user or default_user(rules)
    check_names(rules, user, app_name)
    found = choices(rules, user, app_name, role)
    if not found:
        raise No(f"{user} may have no such role")
    folder = certs_folder_in_use(certs)
    ca = ensure_ca(folder, suffixes=all_suffixes(), now=datetime.now(UTC))
    proxy = gateway_url(rules.gateway.listen, tls=rules.gateway.tls)
    return _Wanted(choices(rules, user), found, str(ca.bundle), proxy)


def _of_login(gateway: str, user: str, app_name: str, role: str) -> _Wanted:
    from awsgate.cli.remote import choices_at, client_at

    stored, client = client_at(gateway)
    everything = choices_at(stored, client, user)
    found = [
        choice
        for choice in everything
        if app_name in ("", choice.app)
        and (role in ("", choice.role_arn) or choice.role_arn.endswith(f"/{role}"))
    ]
    if not found:
        raise No(f"{stored.user} may have no such role")
    places = ("--gateway", stored.gateway)
    return _Wanted(everything, found, stored.bundle_path, stored.proxy, places)


# --- the file ---------------------------------------------------------------------------


def _config_file() -> Path:
    given = os.environ.get("AWS_CONFIG_FILE")
    path = Path(given or "~/.aws/config").expanduser()
    # The file itself, where a link stands for it: the link stays one.
    return Path(os.path.realpath(path))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode(profilefile.ENCODING)
    except FileNotFoundError:
        return ""
    except OSError as exc:
        raise SetupError(f"cannot read {path}: {exc.strerror}") from exc


def _read_profiles(path: Path) -> dict[str, dict[str, str]]:
    """Give our profiles, their settings as text."""
    try:
        found = profilefile.profiles_in(_read(path))
    except profilefile.Damaged:
        raise _damaged(path) from None
    return {
        name: {k: os.fsdecode(v.encode(profilefile.ENCODING)) for k, v in settings.items()}
        for name, settings in found.items()
    }


def _update(new: dict[str, dict[str, str]], gone: Sequence[str]) -> None:
    """Put profiles into the file and take others out, in one write. Raises ``No``."""
    path = _config_file()
    text = _read(path)
    try:
        ours = profilefile.profiles_in(text)
        wanted = {n: s for n, s in {**ours, **_encoded(new)}.items() if n not in gone}
        changed = profilefile.with_profiles(text, wanted)
    except profilefile.Damaged:
        raise _damaged(path) from None
    except profilefile.Taken as taken:
        raise No(
            f"{path} has sections of these names that awsgate did not write: {taken}",
            hints=["rename those, or take fewer with --app and --role"],
        ) from None
    except ValueError as exc:
        raise SetupError(str(exc), hint="give the folder another name") from None
    if changed != text:
        _write(path, changed)


def _encoded(new: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Give the settings so that the file holds them in UTF-8."""
    return {
        name: {k: os.fsencode(v).decode(profilefile.ENCODING) for k, v in settings.items()}
        for name, settings in new.items()
    }


def _write(path: Path, text: str) -> None:
    from awsgate.paths import write_file

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
        write_file(path, text.encode(profilefile.ENCODING), mode=mode)
    except OSError as exc:
        raise SetupError(f"cannot write {path}: {exc.strerror}") from exc


def _damaged(path: Path) -> SetupError:
    return SetupError(
        f"the lines of awsgate in {path} have been cut or doubled",
        hint="delete what is between '# >>> awsgate profiles' and '# <<< awsgate profiles <<<', "
        "these two lines included, then write the profiles again",
    )


# --- one profile ------------------------------------------------------------------------


def _named(everything: Sequence[Choice], found: Sequence[Choice]) -> dict[str, Choice]:
    """Give a name for each: the same one, whichever of them are written."""
    alike = Counter(_plain_name(choice) for choice in {*everything, *found})
    return {
        _plain_name(choice) + (_more(choice) if alike[_plain_name(choice)] > 1 else ""): choice
        for choice in found
    }


def _plain_name(choice: Choice) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", f"{choice.app}-{choice.role_arn.rpartition('/')[2]}")


def _more(choice: Choice) -> str:
    return "-" + sha256(f"{choice.app}\n{choice.role_arn}".encode()).hexdigest()[:6]


def _process(choice: Choice, places: Sequence[str]) -> list[str]:
    told = ("--user", choice.user, "--app", choice.app, "--role", choice.role_arn)
    return [*_awsgate(), "credentials", *told, *places]


def _quoted(word: str) -> str:
    """Quote for a shell, and for readers who take ' #' and ' ;' for the start of a comment."""
    # White space is between single quotes only, so they can be closed and opened there.
    return re.sub(r"(\s)([#;])", r"\1''\2", shlex.quote(word))


def _awsgate() -> list[str]:
    """Give how this awsgate is called, from any folder and with any PATH."""
    script = Path(sys.executable).parent / "awsgate"
    return [str(script)] if script.exists() else [sys.executable, "-m", "awsgate"]


def _places(policy: Path | None, state: Path | None, certs: Path | None) -> list[str]:
    """Give the folders that were named: the profile is used where no variable names them."""
    named = {
        "--policy": policy_path(policy) if policy else None,
        "--state": state_folder(state) if state else None,
        "--certs": certs_folder(certs) if certs else None,
    }
    return [word for option, path in named.items() if path for word in (option, str(path))]


def _told(process: str) -> dict[str, str]:
    try:
        words = shlex.split(process)
    except ValueError:
        words = []
    pairs = dict(pairwise(words))
    return {name: pairs.get(f"--{name}", "") for name in ("user", "app", "role")}
