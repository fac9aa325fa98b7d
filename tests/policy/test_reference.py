"""The reference product's own YAML loads; what restricts there is never dropped in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from awsgate.errors import SetupError
from awsgate.policy import parse_policy
from awsgate.policyfile import load_policy

EXPORTED = """
kind: role
metadata:
  id: 1700000000000000000
  revision: 6d5b3a5e-0f0e-4d0c-9a69-2a3d
  name: aws-access
version: v7
spec:
  allow:
    app_labels: {'*': '*'}
    aws_role_arns: ['{{internal.aws_role_arns}}']
    logins: [root, '{{internal.logins}}']
    node_labels: {'*': '*'}
    kubernetes_groups: ['{{internal.kubernetes_groups}}']
    rules:
    - resources: [event]
      verbs: [list, read]
  deny:
    node_labels: {env: prod}
  options:
    cert_format: standard
    client_idle_timeout: 0s
    create_db_user: false
    desktop_clipboard: true
    device_trust_mode: ""
    disconnect_expired_cert: false
    enhanced_recording: [command, network]
    forward_agent: false
    idp: {saml: {enabled: true}}
    lock: ""
    max_session_ttl: 30h0m0s
    pin_source_ip: false
    port_forwarding: true
    record_session: {default: best_effort, desktop: true}
    ssh_file_copy: true
"""


def test_an_exported_role_loads_and_says_what_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "role.yaml"
    file.write_text(EXPORTED)

    policy = load_policy(file)

    assert policy.roles["aws-access"].spec.options.max_session_ttl_s == 30 * 3600
    (left,) = [w for w in policy.warnings if "not about AWS" in w]
    assert "spec.allow.logins" in left
    assert "spec.deny.node_labels" in left


def role(**options: Any) -> dict[str, Any]:
    return {
        "kind": "role", "version": "v7", "metadata": {"name": "r"}, "spec": {"options": options},
    }  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"require_session_mfa": True},
        {"pin_source_ip": True},
        {"client_idle_timeout": "15m"},
        {"device_trust_mode": "required"},
        {"lock": "strict"},
        {"disconnect_expired_cert": True},
        {"max_connections": False},  # not the number 0
    ],
    ids=str,
)
def test_what_restricts_there_and_is_not_enforced_here_is_a_fault(options: Any) -> None:
    with pytest.raises(SetupError) as caught:
        parse_policy([("doc", role(**options))])

    assert f"spec.options.{next(iter(options))}: " in str(caught.value.faults)


def test_the_callers_document_stays_as_it_was() -> None:
    document = role(forward_agent=True)

    parse_policy([("doc", document)])

    assert document == role(forward_agent=True)
