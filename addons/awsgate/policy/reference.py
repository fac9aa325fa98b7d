"""What the reference product's documents hold beside AWS access: left out, and said.

Its roles also speak of SSH, databases and Kubernetes. Such fields give nothing here, so
leaving them out opens nothing. A field that *restricts* AWS access there and is not
enforced here stays in unless its value restricts nothing, and is then an unknown key:
a fault. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_METADATA = frozenset({"id", "revision", "namespace"})
_RULES = frozenset(
    {
        "account_assignments", "azure_identities", "cluster_labels", "db_labels", "db_names",
        "db_permissions", "db_roles", "db_service_labels", "db_users", "desktop_groups",
        "gcp_service_accounts", "github_permissions", "group_labels", "host_groups",
        "host_sudoers", "impersonate", "join_sessions", "kubernetes_groups",
        "kubernetes_labels", "kubernetes_resources", "kubernetes_users", "logins", "mcp",
        "node_labels", "require_session_join", "rules", "spiffe",
        "windows_desktop_labels", "windows_desktop_logins", "workload_identity_labels",
    }
)  # fmt: skip
_OPTIONS = frozenset(
    {
        "cert_extensions", "cert_format", "create_db_user", "create_db_user_mode",
        "create_desktop_user", "create_host_user", "create_host_user_default_shell",
        "create_host_user_mode", "desktop_clipboard", "desktop_directory_sharing",
        "enhanced_recording", "forward_agent", "idp", "max_kubernetes_connections",
        "max_sessions", "permit_x11_forwarding", "port_forwarding", "record_session",
        "ssh_file_copy", "ssh_port_forwarding",
    }
)  # fmt: skip
_USER = frozenset(
    {"created_by", "github_identities", "oidc_identities", "saml_identities", "trusted_device_ids"}
)
_CONNECTOR = frozenset(
    {
        "allow_as_mfa", "client_redirect_settings", "entra_id_groups_provider",
        "google_admin_email", "google_service_account", "google_service_account_uri",
        "include_subject", "mfa", "pkce_mode", "preferred_request_binding",
        "request_object_mode", "single_logout_url", "teams_to_logins", "user_matchers",
    }
)  # fmt: skip
_APP = frozenset(
    {"cloud", "public_addr", "use_any_proxy_public_addr", "dynamic_labels", "identity_center"}
)

# Keys that restrict, with the values that do not.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "client_idle_timeout": ("", "0s", "never", 0),
    "disconnect_expired_cert": (False, "no"),
    "lock": ("", "best_effort"),
    "max_connections": (0,),
    "device_trust_mode": ("", "off", "optional"),
    "mfa_verification_interval": ("", "0s", 0),
    "pin_source_ip": (False,),
    "require_session_mfa": (False, "OFF", "off", 0),
    "request_access": ("", "optional"),
    "expires": ("", "0001-01-01T00:00:00Z"),
    "insecure_skip_verify": (False,),
}

_PLACES: Mapping[str, tuple[tuple[tuple[str, ...], frozenset[str]], ...]] = {
    "role": (
        (("metadata",), _METADATA),
        (("spec", "allow"), _RULES),
        (("spec", "deny"), _RULES),
        (("spec", "options"), _OPTIONS),
    ),
    "user": ((("metadata",), _METADATA), (("spec",), _USER)),
    "app": ((("metadata",), _METADATA), (("spec",), _APP)),
    "lock": ((("metadata",), _METADATA),),
    **dict.fromkeys(
        ("oidc", "github", "saml"), ((("metadata",), _METADATA), (("spec",), _CONNECTOR))
    ),
}


def leave_out_foreign(document: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], list[str]]:
    """Give the document without what is not about AWS access, and the paths left out."""
    kind = document.get("kind")
    places = _PLACES.get(kind, ()) if isinstance(kind, str) else ()
    made: dict[Any, Any] = dict(document)
    left: list[str] = []
    if made.get("sub_kind") == "":
        del made["sub_kind"]
    for path, foreign in places:
        holder: dict[Any, Any] | None = made
        for part in path:
            value = holder.get(part) if holder is not None else None
            if holder is None or not isinstance(value, Mapping):
                holder = None
                break
            # Copied on the way: what the caller gave is his.
            holder[part] = dict(value)
            holder = holder[part]
        if holder is not None:
            left += [f"{'.'.join(path)}.{key}" for key in _drop(holder, foreign)]
    return made, left


def _drop(holder: dict[Any, Any], foreign: frozenset[str]) -> list[str]:
    gone = []
    for key in list(holder):
        if key in foreign:
            if holder[key] not in (None, "", [], {}, False):
                gone.append(key)
            del holder[key]
        elif key in _NEUTRAL and _is_one_of(holder[key], _NEUTRAL[key]):
            del holder[key]
    return gone


def _is_one_of(value: object, neutral: tuple[object, ...]) -> bool:
    # Not ``in``: 0 and False are equal there, and one of them may restrict.
    return any(type(value) is type(other) and value == other for other in neutral)
