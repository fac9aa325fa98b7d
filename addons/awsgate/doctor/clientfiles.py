"""The user's ~/.aws/config and ~/.aws/credentials: settings that lead past the gateway. Pure.

The text comes in; no key of it goes out.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from awsgate.doctor.finding import Finding, Group, fault, ok, warning
from awsgate.doctor.shell import Trust


@dataclass(frozen=True, slots=True)
class ClientFiles:
    """What stands in the two files. Empty text: no file."""

    config_path: str
    credentials_path: str
    config: str = field(default="", repr=False)
    credentials: str = field(default="", repr=False)
    bundles: Mapping[str, Trust] = field(default_factory=dict)
    """Path of a ``ca_bundle`` -> what it holds."""
    is_client: bool = False
    """Programs started from this shell are meant to go through the gateway."""


def check_client_files(files: ClientFiles) -> list[Finding]:
    """Give all findings about the two files."""
    found: list[Finding] = []
    for path, text in (
        (files.config_path, files.config),
        (files.credentials_path, files.credentials),
    ):
        sections = _parse(text)
        if sections is None:
            found.append(_unreadable(path))
            continue
        for section, values in sections.items():
            found += _section(files, path, section, values)
    if not found and (files.config or files.credentials):
        return [ok(Group.SHELL, "aws-files", "~/.aws: nothing there leads past the gateway")]
    return found


def region_in(config: str, profile: str) -> bool:
    """True if the config gives this profile a region."""
    sections = _parse(config) or {}
    return "region" in sections.get(f"profile {profile}", sections.get(profile, {}))


def bundles_in(config: str) -> list[str]:
    """Give every ``ca_bundle`` of the config."""
    return [v["ca_bundle"] for v in (_parse(config) or {}).values() if v.get("ca_bundle")]


def _parse(text: str) -> dict[str, dict[str, str]] | None:
    parser = configparser.RawConfigParser(
        strict=False, allow_no_value=True, default_section="\0", delimiters=("=",)
    )
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return {
        name: {key: value or "" for key, value in parser.items(name)} for name in parser.sections()
    }


def _unreadable(path: str) -> Finding:
    return fault(
        Group.SHELL,
        "aws-file-damaged",
        f"{path} is not a file of sections and settings",
        "every AWS client stops when it reads it",
        f"$EDITOR {path}",
    )


def _section(
    files: ClientFiles, path: str, section: str, values: Mapping[str, str]
) -> Iterator[Finding]:
    name = section.removeprefix("profile ")
    nested = [line.strip() for value in values.values() for line in value.splitlines()]
    keys = {line.partition("=")[0].strip() for line in nested if "=" in line}
    if files.is_client and (values.get("endpoint_url") or "endpoint_url" in keys):
        yield fault(
            Group.SHELL,
            "config-endpoint-url",
            f"[{section}] of {path} has an endpoint_url",
            "its calls go to that server, and not through the gateway to AWS",
            f"$EDITOR {path}   # remove endpoint_url under [{section}], or\n"
            "export AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true",
        )
    yield from _signature_v2(path, section, name, values, nested)
    if files.is_client and values.get("aws_access_key_id", "").startswith(("AKIA", "ASIA")):
        yield warning(
            Group.SHELL,
            "real-keys-in-file",
            f"[{section}] of {path} holds a real AWS key",
            "a client that reads this profile sends a key that the gateway refuses; and it is a "
            "key on a machine that needs none",
            f"aws configure set aws_access_key_id '' --profile {name}   # then delete the key in "
            "IAM: aws iam delete-access-key",
        )
    bundle = values.get("ca_bundle", "")
    if files.is_client and files.bundles.get(bundle, "ours") != "ours":
        yield warning(
            Group.SHELL,
            "config-ca-bundle",
            f"[{section}] of {path} has a ca_bundle without the gateway's root",
            "clients that do not see AWS_CA_BUNDLE (cron, an IDE) do not trust the gateway",
            f'aws configure set ca_bundle "$AWS_CA_BUNDLE" --profile {name}',
        )


def _signature_v2(
    path: str, section: str, name: str, values: Mapping[str, str], nested: list[str]
) -> Iterator[Finding]:
    set_to = [values.get("signature_version", "")]
    set_to += [
        line.partition("=")[2].strip()
        for line in nested
        if line.partition("=")[0].strip() == "signature_version"
    ]
    if any(version in ("s3", "v2", "s3-query") for version in set_to):
        yield warning(
            Group.SHELL,
            "signature-v2",
            f"[{section}] of {path} asks for signature version 2",
            "AWS takes it in the oldest regions alone, and for S3 alone",
            f"aws configure set s3.signature_version s3v4 --profile {name}",
        )
