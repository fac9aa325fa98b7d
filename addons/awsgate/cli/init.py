"""``awsgate init``: the first policy, the CA and the session key, from a few answers."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

import typer

from awsgate.cli.checking import check_upstream
from awsgate.cli.choice import login_name
from awsgate.cli.options import CertsOption, StateOption, certs_folder, state_folder
from awsgate.cli.places import options_of
from awsgate.cli.terminal import printable
from awsgate.cli.waiting import waiting
from awsgate.errors import SetupError
from awsgate.initial import (
    Answers,
    account_fault,
    app_fault,
    faults_in,
    is_example,
    is_user,
    policy_files,
    role_fault,
    user_fault,
)
from awsgate.paths import default_policy_path, write_file
from awsgate.policy.fields import account_and_partition
from awsgate.policyfile import load_policy

EMBEDDED_ACCOUNT = "123456789012"
EMBEDDED_ROLES = (f"arn:aws:iam::{EMBEDDED_ACCOUNT}:role/ExampleReadOnlyAccess",)
_PAGES, _PAGE = 5, 100


@dataclass(frozen=True, slots=True)
class Offer:
    """What AWS says of awsgate's own credentials."""

    arn: str = ""
    """Empty: there are none, or AWS does not take them."""
    method: str = ""
    why_not: str = ""
    roles: tuple[str, ...] = field(default=())
    """Roles of the account whose trust policy names them. None are listed without the right
    to list them."""

    @property
    def account(self) -> str:
        """Give the account of the credentials."""
        return self.arn.split(":")[4] if self.arn else ""


def init(
    user: Annotated[str, typer.Option(help="Name of the first user. Default: yours here.")] = "",
    account: Annotated[str, typer.Option(help="AWS account id. Default: the role's.")] = "",
    role: Annotated[
        list[str] | None, typer.Option(help="IAM role to give: ARN, or name. May be repeated.")
    ] = None,
    app: Annotated[str, typer.Option(help="What to call the account.")] = "",
    external_id: Annotated[
        str, typer.Option(help="What the trust policy of the roles asks for.")
    ] = "",
    profile: Annotated[
        str, typer.Option(help="AWS profile of the gateway itself. Default: its environment.")
    ] = "",
    folder: Annotated[
        Path | None,
        typer.Option(
            "--policy", "--folder", help="Where to write the policy.", envvar="AWSGATE_POLICY"
        ),
    ] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", "--demo", help="For the embedded AWS of awsgate demo.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take defaults.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a policy; the old files stay as *.bak.")
    ] = False,
    upstream: Annotated[
        str, typer.Option(help="Ask this URL instead of AWS.", envvar="AWSGATE_UPSTREAM")
    ] = "",
    state: StateOption = None,
    certs: CertsOption = None,
) -> None:
    """Write a first policy, make the CA and the session key, and say what is next.

    Asks for what it is not told and cannot find out; with --yes, or without a terminal, it
    asks nothing.

    Example: awsgate init --yes --user alice --role arn:aws:iam::123456789012:role/ReadOnly
    """
    check_upstream(upstream)
    place = (folder or default_policy_path()).expanduser().absolute()
    asks = sys.stdin.isatty() and not yes
    replace = _may_write(place, force=force, asks=asks)
    told = Answers(user, app, _account_meant(account), tuple(role or ()), external_id, profile)
    if embedded:
        answers = _for_embedded(told)
    else:
        answers = _complete(told, upstream, asks=asks)
    faults = faults_in(answers)
    if faults:
        raise SetupError("these answers make no policy", faults=tuple(faults))
    _write(place, policy_files(answers), keep_old=replace)
    _tell(place, answers, state, certs, embedded=embedded)


# --- answers ----------------------------------------------------------------------


def _for_embedded(told: Answers) -> Answers:
    return Answers(
        user=told.user or _login() or "alice",
        app=told.app or "demo",
        account=told.account or EMBEDDED_ACCOUNT,
        role_arns=_arns(told.role_arns, EMBEDDED_ACCOUNT, "aws") or EMBEDDED_ROLES,
    )


def _complete(told: Answers, upstream: str, *, asks: bool) -> Answers:
    offer = Offer()
    if asks or not told.role_arns or not (told.account or told.role_arns[0].startswith("arn:")):
        with waiting("looking for AWS credentials and roles"):
            offer = _offer(told.profile, upstream)
        _show(offer)
    user = told.user or _ask(
        "Name of the first user", _login() or "admin", asks=asks, fault=user_fault
    )
    account = told.account or _account_of(told.role_arns) or offer.account
    if asks and not told.account and not told.role_arns:
        account = _ask("AWS account", account, asks=asks, fault=account_fault, read=_account_meant)
    partition = offer.arn.split(":")[1] if offer.arn else "aws"
    arns = _arns(told.role_arns, account, partition)
    if not arns:
        in_account = tuple(arn for arn in offer.roles if f"::{account}:" in arn)
        arns = _chosen(in_account, account, partition, asks=asks)
    app = told.app or _ask("What to call this account", "aws", asks=asks, fault=app_fault)
    return Answers(user, app, account, arns, told.external_id, told.profile)


def _login() -> str:
    name = login_name()
    return name if is_user(name) else ""


def _account_of(roles: tuple[str, ...]) -> str:
    parts = account_and_partition(roles[0]) if roles else None
    return parts[0] if parts else ""


def _arns(roles: tuple[str, ...], account: str, partition: str) -> tuple[str, ...]:
    """Give ARNs; a name is one of a role of the account."""
    return tuple(
        r if r.startswith("arn:") else f"arn:{partition}:iam::{account}:role/{r}" for r in roles
    )


def _chosen(
    offered: tuple[str, ...], account: str, partition: str, *, asks: bool
) -> tuple[str, ...]:
    if not asks:
        if len(offered) == 1:
            return offered
        raise SetupError(
            f"which role: {len(offered)} could be assumed"
            if offered
            else "no role was named, and none could be found",
            faults=offered[:40],
            hint="awsgate init --yes --role ARN (or --embedded, without an AWS account)",
        )
    for number, arn in enumerate(offered, 1):
        sys.stderr.write(f"  {number:>3}  {arn}\n")

    def read(answer: str) -> str:
        if answer.isdecimal() and 0 < int(answer) <= len(offered):
            return offered[int(answer) - 1]
        return _arns((answer,), account, partition)[0]

    answer = _ask(
        "IAM role to give: a number, a name or an ARN" if offered else "IAM role to give: its ARN",
        "1" if offered else "",
        asks=asks,
        fault=lambda arn: role_fault(arn, account),
        read=read,
    )
    return (answer,)


def _account_meant(text: str) -> str:
    """Give the account of an ARN; what is none stays as it is."""
    parts = text.split(":")
    return parts[4] if parts[0] == "arn" and len(parts) > 5 else text


def _ask(
    question: str,
    default: str,
    *,
    asks: bool,
    fault: Callable[[str], str],
    read: Callable[[str], str] = str,
) -> str:
    """Ask until the answer, as ``read`` understands it, has no fault."""
    if not asks:
        return default
    while True:
        said = str(typer.prompt(question, default=default or None, err=True)).strip()
        answer = read(said)
        wrong = fault(answer)
        if not wrong:
            return answer
        sys.stderr.write(f"awsgate: {printable(wrong)}\n")


def _offer(profile: str, upstream: str) -> Offer:
    """Ask AWS whose credentials these are, and which roles let them in."""
    from awsgate.aws.partitions import BY_ID, region_partition
    from awsgate.sts import StsAssumer

    aws = StsAssumer(upstream)
    method = aws.method(profile)
    if not method:
        return Offer(why_not="none were found")
    # Keys of another partition are known in its own regions alone.
    here = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or ""
    partition = region_partition(here) or BY_ID["aws"]
    who = aws.ask(profile, partition.global_region, "sts", "get_caller_identity")
    if who.code:
        return Offer(method=method, why_not=f"AWS does not take them ({who.code})")
    arn = str(who.found["Arn"])
    home = BY_ID.get(arn.split(":")[1], BY_ID["aws"]).global_region
    return Offer(arn, method, roles=tuple(_letting_in(aws, profile, home, arn)))


def _letting_in(aws: Any, profile: str, region: str, arn: str) -> list[str]:
    from awsgate.doctor.assuming import lets_in

    found: list[str] = []
    more: dict[str, str] = {}
    for _ in range(_PAGES):
        said = aws.ask(profile, region, "iam", "list_roles", MaxItems=_PAGE, **more)
        for role in said.found.get("Roles", []):
            document = role.get("AssumeRolePolicyDocument")
            if isinstance(document, dict) and lets_in(document, arn):
                found.append(role["Arn"])
        if not said.found.get("IsTruncated"):
            break
        more = {"Marker": said.found["Marker"]}
    return sorted(found)


def _show(offer: Offer) -> None:
    if offer.arn:
        text = f"AWS credentials of the gateway: {offer.arn} (from {offer.method})"
    else:
        text = (
            f"AWS credentials of the gateway: {offer.why_not}; it will need some "
            "(awsgate doctor says which)"
        )
    sys.stderr.write(f"awsgate: {text}\n")


# --- files ------------------------------------------------------------------------


def _may_write(place: Path, *, force: bool, asks: bool) -> bool:
    """Say whether there is a policy to be replaced. Raises ``SetupError`` if it may not be."""
    if place.is_file():
        raise SetupError(f"{place} is a file", hint="name a folder: --policy")
    there = _policy_files(place)
    if not there:
        return False
    if is_example({path.name: path.read_bytes() for path in there if path.is_file()}):
        return True
    if not force and not (
        asks and typer.confirm(f"{place} holds a policy. Replace it?", default=False, err=True)
    ):
        raise SetupError(
            f"there is a policy in {place}: {', '.join(path.name for path in there[:5])}",
            hint="--policy names another folder; --force replaces it, and keeps the old as *.bak",
        )
    return True


def _policy_files(place: Path) -> list[Path]:
    return sorted(p for p in place.glob("*") if p.suffix.lower() in (".yaml", ".yml"))


def _write(place: Path, files: dict[str, str], *, keep_old: bool) -> None:
    """Check the policy, and only then put it in place: all of it, or nothing."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        # On the same disk, and under a name that no gateway reads.
        with tempfile.TemporaryDirectory(prefix=".awsgate-init-", dir=place) as name:
            for file, text in files.items():
                write_file(Path(name) / file, text.encode(), mode=0o644)
            load_policy(Path(name))
            _swap(Path(name), place, files, _policy_files(place) if keep_old else [])
    except OSError as exc:
        raise SetupError(f"cannot write to {place}: {exc.strerror}") from exc


def _swap(made: Path, place: Path, files: Iterable[str], old: Iterable[Path]) -> None:
    """Rename the old files, and put the new ones in place; or leave all as it was."""
    with ExitStack() as undo:
        for path in old:
            kept = _unused(f"{path}.bak")
            path.rename(kept)
            undo.callback(kept.rename, path)
        for file in files:
            (made / file).rename(place / file)
            undo.callback((place / file).unlink)
        undo.pop_all()


def _unused(name: str) -> Path:
    """Give the name, or with a number behind it if something is there: nothing is lost."""
    numbered = (Path(f"{name}.{number}") for number in count(2))
    return next(path for path in chain([Path(name)], numbered) if not path.exists())


def _tell(
    place: Path, answers: Answers, state: Path | None, certs: Path | None, *, embedded: bool
) -> None:
    from awsgate.aws.partitions import all_suffixes
    from awsgate.ca import ensure_ca
    from awsgate.state import open_state

    keys = open_state(state_folder(state))
    ca = ensure_ca(certs_folder(certs), suffixes=all_suffixes(), now=datetime.now(UTC))
    where = [] if place == default_policy_path() else ["--policy", str(place)]
    where += options_of(None, state, certs)

    def command(*words: str) -> str:
        return shlex.join(("awsgate", *words, *where))

    roles = ", ".join(arn.rpartition("/")[2] for arn in answers.role_arns)
    print(f"policy  {place}: {answers.user} may be {roles} in {answers.app} ({answers.account})")
    print(f"CA      {ca.root_cert}, until {ca.not_after:%Y-%m-%d}")
    print(f"state   {keys.folder}: session key, and the audit log")
    print(f"next    {command(*(('demo', '--start') if embedded else ('run',)))}")
    call = "s3 ls" if embedded else "sts get-caller-identity"
    print(f"then    {command('exec')} -- aws {call}")
    print(f"or      {command('doctor', '--user', answers.user)}   # if something is wrong")
