"""Every fault of the documents, each with its place and what was meant, at once."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from awsgate.errors import SetupError
from awsgate.policy import Policy, parse_policy
from awsgate.policy.templates import SUPPORTED

ARN = "arn:aws:iam::123456789012:role/Read"


def role(**spec: Any) -> dict[str, Any]:
    return {"kind": "role", "version": "v5", "metadata": {"name": "r"}, "spec": spec}


def allow(**allow: Any) -> dict[str, Any]:
    return role(allow=allow)


def user(**spec: Any) -> dict[str, Any]:
    return {"kind": "user", "version": "v2", "metadata": {"name": "u"}, "spec": spec}


def app(labels: Any = None, **spec: Any) -> dict[str, Any]:
    spec.setdefault("uri", "https://console.aws.amazon.com/")
    metadata = {"name": "a", "labels": labels or {}}
    return {"kind": "app", "version": "v3", "metadata": metadata, "spec": spec}


def gateway(**spec: Any) -> dict[str, Any]:
    return {"kind": "gateway", "version": "v1", "metadata": {"name": "g"}, "spec": spec}


def faults_of(*documents: object) -> tuple[str, ...]:
    with pytest.raises(SetupError) as caught:
        parse_policy([(f"doc{n}", d) for n, d in enumerate(documents, 1)])
    return caught.value.faults


NOT_A_ROLE = "is not a role ARN (arn:aws:iam::<account>:role/<name>)"

# document -> the one fault
KINDS = "role, user, app, lock, oidc, github, saml, gateway"
FAULTS: dict[str, tuple[object, str]] = {
    "text": ("hello", "is not a resource: expected kind, version, metadata and spec"),
    "list": ([], "is not a resource: expected kind, version, metadata and spec"),
    "no kind": (
        {},
        f"kind: is missing, expected one of {KINDS}",
    ),
    "misspelt kind": (
        {"kind": "rolle"},
        f"kind: 'rolle' is not one of {KINDS}, did you mean 'role'",
    ),
    "kind is a number": (
        {"kind": 5},
        f"kind: 5 is not one of {KINDS}",
    ),
    "kind is a long number": (
        {"kind": 16**9000},
        f"kind: a very long number is not one of {KINDS}",
    ),
    "no version": ({**role(), "version": None}, "version: None is not a string: quote it"),
    "version is no version": (
        {**role(), "version": "5"},
        "version: '5' is not a version like 'v5'",
    ),
    "version that nobody has": (
        {**role(), "version": "v9"},
        "version: 'v9' is not one of the versions v1 to v8",
    ),
    "version nought": (
        {**app(), "version": "v0"},
        "version: 'v0' is not one of the versions v1 to v8",
    ),
    "no metadata": (
        {"kind": "role", "version": "v5", "spec": {}},
        "metadata: is missing",
    ),
    "no name": ({**role(), "metadata": {}}, "metadata.name: is missing"),
    "name is a number": (
        {**role(), "metadata": {"name": 5}},
        "metadata.name: 5 is not a string: quote it",
    ),
    "empty name": (
        {**role(), "metadata": {"name": ""}},
        "metadata.name: '' is not a name: 1 to 255 characters",
    ),
    "name with a newline inside": (
        {**role(), "metadata": {"name": "a\nb"}},
        "metadata.name: 'a\\nb' holds control characters",
    ),
    "name with what cannot be seen": (
        {**role(), "metadata": {"name": "admin\u3164"}},
        "metadata.name: 'admin\\u3164' holds characters that cannot be seen",
    ),
    "no spec": (
        {"kind": "role", "version": "v5", "metadata": {"name": "r"}},
        "spec: is missing",
    ),
    "spec is a list": ({**role(), "spec": []}, "spec: is not a mapping of names to values"),
    "spec is empty": ({**role(), "spec": None}, "spec: is not a mapping of names to values"),
    "unknown key, misspelt": (
        allow(app_label={}),
        "spec.allow.app_label: unknown key, did you mean 'app_labels'",
    ),
    "unknown key, nothing near": (
        user(zzz=1),
        "spec.zzz: unknown key, expected roles, traits",
    ),
    "unknown key, alias is suggested": (
        role(options={"max_session_tl": "8h"}),
        "spec.options.max_session_tl: unknown key, did you mean 'max_session_ttl'",
    ),
    "the name of the attribute is no key": (
        role(options={"max_session_ttl_s": 5}),
        "spec.options.max_session_ttl_s: unknown key, did you mean 'max_session_ttl'",
    ),
    "unknown key in a list": (
        gateway(bypass=[{"hosts": ["a"], "reason": "b", "reson": "c"}]),
        "spec.bypass[0].reson: unknown key, did you mean 'reason'",
    ),
    "unknown key under a free key": (
        gateway(base_credentials={"*": {"profile": "p", "profil": "q"}}),
        "spec.base_credentials.*.profil: unknown key, did you mean 'profile'",
    ),
    "key of another service": (
        allow(apps_label={"*": "*"}),
        "spec.allow.apps_label: unknown key, did you mean 'app_labels'",
    ),
    "tenant endpoints in deny": (
        role(deny={"aws_tenant_endpoints": ["es"]}),
        "spec.deny.aws_tenant_endpoints: unknown key, expected aws_actions, aws_resources, "
        "aws_regions, aws_services, aws_access_levels, source_networks, hours, app_labels, "
        "aws_role_arns, request, review_requests",
    ),
    "action without a service": (
        allow(aws_actions=["GetObject"]),
        "spec.allow.aws_actions[0]: 'GetObject' is not an action like 's3:GetObject', "
        "'s3:Get*' or '*:Describe*'",
    ),
    "action with a template, which nobody would fill in": (
        role(deny={"aws_actions": ["kms:{{internal.banned}}"]}),
        "spec.deny.aws_actions[0]: 'kms:{{internal.banned}}': an action takes no template; "
        "put it into aws_services or aws_resources, or write a role for each",
    ),
    "no action at all": (
        allow(aws_actions=[]),
        "spec.allow.aws_actions: is empty, which would restrict nothing: leave it out",
    ),
    "resource that is no arn": (
        role(deny={"aws_resources": ["my-bucket"]}),
        "spec.deny.aws_resources[0]: 'my-bucket' is not an ARN with globs like "
        "'arn:aws:s3:::reports/*', or '*'",
    ),
    "region in words": (
        allow(aws_regions=["Ireland"]),
        "spec.allow.aws_regions[0]: 'Ireland' is not a region like 'eu-west-1' or 'eu-*'",
    ),
    "access level that nobody has": (
        allow(aws_access_levels=["read"]),
        "spec.allow.aws_access_levels[0]: 'read' is not one of 'Read', 'List', 'Write', "
        "'Tagging' or 'Permissions management'",
    ),
    "network with host bits": (
        allow(source_networks=["10.0.0.1/8"]),
        "spec.allow.source_networks[0]: '10.0.0.1/8' is not a network like '10.0.0.0/8': "
        "10.0.0.1/8 has host bits set",
    ),
    "network of ipv4 in the clothes of ipv6": (
        allow(source_networks=["::ffff:10.0.0.0/104"]),
        "spec.allow.source_networks[0]: '::ffff:10.0.0.0/104' is IPv4: write '10.0.0.0/8'",
    ),
    "time of day that yaml reads as a number": (
        allow(hours=[{"from": 480, "to": "18:00"}]),
        "spec.allow.hours[0].from: YAML reads this time as the number 480: quote it",
    ),
    "time zone that nobody has": (
        allow(hours=[{"timezone": "Europe/Nowhere"}]),
        "spec.allow.hours[0].timezone: 'Europe/Nowhere' is not a time zone like 'UTC' or "
        "'Europe/Berlin'",
    ),
    "session policy of nothing": (
        role(options={"aws_session_policy": {}}),
        "spec.options.aws_session_policy: is neither 'computed' nor has inline or policy_arns",
    ),
    "session policy without a statement": (
        role(options={"aws_session_policy": {"inline": "{}"}}),
        "spec.options.aws_session_policy.inline: is not an IAM policy document: "
        "it has no Statement",
    ),
    "lock on nobody": (
        {"kind": "lock", "version": "v2", "metadata": {"name": "l"}, "spec": {"target": {}}},
        "spec.target: names nobody: give user, role, app, session or aws_role_arn",
    ),
    "lock that ends nowhere in the world": (
        {
            "kind": "lock",
            "version": "v2",
            "metadata": {"name": "l"},
            "spec": {"target": {"user": "x"}, "expires": "2026-11-24T18:00:00"},
        },
        "spec.expires: '2026-11-24T18:00:00' has no time zone: end it with Z or +01:00",
    ),
    "arn is a word": (
        allow(aws_role_arns=[ARN, "read"]),
        f"spec.allow.aws_role_arns[1]: 'read' {NOT_A_ROLE}",
    ),
    "arn of a user": (
        allow(aws_role_arns=["arn:aws:iam::123456789012:user/x"]),
        f"spec.allow.aws_role_arns[0]: 'arn:aws:iam::123456789012:user/x' {NOT_A_ROLE}",
    ),
    "arn of a short account": (
        allow(aws_role_arns=["arn:aws:iam::1234:role/x"]),
        f"spec.allow.aws_role_arns[0]: 'arn:aws:iam::1234:role/x' {NOT_A_ROLE}",
    ),
    "arn without a name": (
        allow(aws_role_arns=["arn:aws:iam::123456789012:role/x/"]),
        f"spec.allow.aws_role_arns[0]: 'arn:aws:iam::123456789012:role/x/' {NOT_A_ROLE}",
    ),
    "arn that is a star": (
        allow(aws_role_arns=["*"]),
        f"spec.allow.aws_role_arns[0]: '*' {NOT_A_ROLE}",
    ),
    "arns are no list": (allow(aws_role_arns=ARN), "spec.allow.aws_role_arns: is not a list"),
    "template of another namespace": (
        allow(aws_role_arns=["{{traits.x}}"]),
        "spec.allow.aws_role_arns[0]: '{{traits.x}}' is not a supported template: " + SUPPORTED,
    ),
    "template with an unknown function": (
        allow(app_labels={"a": "{{email.domain(external.email)}}"}),
        "spec.allow.app_labels.a[0]: '{{email.domain(external.email)}}' is not a supported "
        f"template: {SUPPORTED}",
    ),
    "two templates": (
        allow(app_labels={"a": "{{internal.x}}-{{internal.y}}"}),
        "spec.allow.app_labels.a[0]: '{{internal.x}}-{{internal.y}}' is not a supported "
        f"template: {SUPPORTED}",
    ),
    "star label with a value": (
        allow(app_labels={"*": "prod"}),
        "spec.allow.app_labels: '*' as a label goes with '*' as its one value: \"'*': '*'\"",
    ),
    "star in a label": (
        allow(app_labels={"en*": "*"}),
        "spec.allow.app_labels: '*' as a label goes with '*' as its one value: \"'*': '*'\"",
    ),
    "template as a label": (
        allow(app_labels={"{{internal.x}}": "*"}),
        "spec.allow.app_labels: '{{internal.x}}' is not a label",
    ),
    "label with no values": (
        allow(app_labels={"env": []}),
        "spec.allow.app_labels.env: is empty",
    ),
    "bad regular expression": (
        allow(app_labels={"env": "^(a$"}),
        "spec.allow.app_labels.env[0]: '^(a$' is not a regular expression: "
        "missing ), unterminated subpattern at position 1",
    ),
    "absurd regular expression": (
        allow(app_labels={"env": "^a{99999999999}$"}),
        "spec.allow.app_labels.env[0]: '^a{99999999999}$' is not a regular expression: "
        "the repetition number is too large",
    ),
    "label that yaml made a bool": (
        allow(app_labels={"env": False}),
        "spec.allow.app_labels.env[0]: YAML reads it as False: quote it",
    ),
    "label that yaml made nothing": (
        app({"env": None}),
        "metadata.labels.env: YAML reads it as None: quote it",
    ),
    "label that is a list": (
        app({"env": []}),
        "metadata.labels.env: a list is not a string: quote it",
    ),
    "account that lost its zeros": (
        app({"aws_account_id": 1234567012}),
        "metadata.labels.aws_account_id: 1234567012 is a number, "
        "and YAML drops leading zeros: quote it",
    ),
    "account with letters": (
        app({"aws_account_id": "prod"}),
        "metadata.labels.aws_account_id: 'prod' is not a 12-digit account id",
    ),
    "account with spaces, in spec": (
        app() | {"spec": {"uri": "https://api.aws/", "labels": {"aws_account_id": " 1"}}},
        "spec.labels.aws_account_id: ' 1' is not a 12-digit account id",
    ),
    "labels that differ": (
        app({"env": "a"})
        | {"spec": {"uri": "https://console.aws.amazon.com", "labels": {"env": "b"}}},
        "spec.labels.env: differs from metadata.labels.env",
    ),
    "bad tenant service": (
        allow(aws_tenant_endpoints=["Execute API"]),
        "spec.allow.aws_tenant_endpoints[0]: 'Execute API' is not a service like 'execute-api', "
        "or '*'",
    ),
    "duration without unit": (
        role(options={"max_session_ttl": 8}),
        "spec.options.max_session_ttl: '8' is not a duration like '8h' or '1h30m'",
    ),
    "duration in days": (
        role(options={"max_session_ttl": "1d"}),
        "spec.options.max_session_ttl: '1d' is not a duration like '8h' or '1h30m'",
    ),
    "empty duration": (
        role(options={"max_session_ttl": ""}),
        "spec.options.max_session_ttl: '' is not a duration like '8h' or '1h30m'",
    ),
    "no duration at all": (
        role(options={"max_session_ttl": "0h"}),
        "spec.options.max_session_ttl: '0h' is no time at all",
    ),
    "user of no such role": (user(roles=["reader"]), "spec.roles[0]: there is no role 'reader'"),
    "trait is text": (user(traits={"team": "a"}), "spec.traits.team: is not a list"),
    "trait value is a number": (
        user(traits={"id": [7]}),
        "spec.traits.id[0]: 7 is a number, and YAML drops leading zeros: quote it",
    ),
    "no uri": (
        {"kind": "app", "version": "v3", "metadata": {"name": "a"}, "spec": {}},
        "spec.uri: is missing",
    ),
    "uri without tls": (
        app(uri="http://console.aws.amazon.com/"),
        "spec.uri: not a URL that starts with https://",
    ),
    "uri of somebody else": (
        app(uri="https://console.aws.amazon.com.evil.example/"),
        "spec.uri: 'https://console.aws.amazon.com.evil.example/' is not the console or "
        "another AWS URL (https://console.aws.amazon.com/)",
    ),
    "uri with a look-alike suffix": (
        app(uri="https://evilamazonaws.com/"),
        "spec.uri: 'https://evilamazonaws.com/' is not the console or "
        "another AWS URL (https://console.aws.amazon.com/)",
    ),
    "uri with a port": (
        app(uri="https://console.aws.amazon.com:8443/"),
        "spec.uri: 'https://console.aws.amazon.com:8443/' is not the console or "
        "another AWS URL (https://console.aws.amazon.com/)",
    ),
    "uri with a user": (
        app(uri="https://console.aws.amazon.com@evil.example/"),
        "spec.uri: a URL here may not hold a user or password",
    ),
    "uri with a backslash": (
        app(uri="https://evil.example\\.amazonaws.com/"),
        "spec.uri: not a URL: it holds characters that must be percent-encoded",
    ),
    "uri with a bad port": (
        app(uri="https://console.aws.amazon.com:x/"),
        "spec.uri: not a URL: Port could not be cast to integer value as 'x'",
    ),
    "external id": (
        app(aws={"external_id": "a b"}),
        "spec.aws.external_id: not an external id: 2 to 1224 letters, digits and _+=,.@:/-",
    ),
    "listen without port": (
        gateway(listen="localhost"),
        "spec.listen: 'localhost' is not 'host:port'",
    ),
    "listen with a large port": (
        gateway(listen="[::1]:65536"),
        "spec.listen: '[::1]:65536' is not 'host:port'",
    ),
    "listen nowhere": (gateway(listen=""), "spec.listen: '' is not 'host:port'"),
    "metrics as a url": (
        gateway(metrics_listen="http://localhost:9464"),
        "spec.metrics_listen: 'http://localhost:9464' is not 'host:port'",
    ),
    "non_aws": (
        gateway(non_aws="deny"),
        "spec.non_aws: 'deny' is not one of 'tunnel' or 'refuse'",
    ),
    "audit": (
        gateway(audit={"on_failure": True}),
        "spec.audit.on_failure: True is not one of 'refuse' or 'continue'",
    ),
    "bypass without hosts": (
        gateway(bypass=[{"hosts": [], "reason": "x"}]),
        "spec.bypass[0].hosts: is empty",
    ),
    "bypass without reason": (
        gateway(bypass=[{"hosts": ["a"], "reason": ""}]),
        "spec.bypass[0].reason: is empty",
    ),
    "bypass of a sentence": (
        gateway(bypass=[{"hosts": ["a, b"], "reason": "x"}]),
        "spec.bypass[0].hosts[0]: 'a, b' is not a host or a pattern of hosts",
    ),
    "upstream with a path": (
        gateway(upstreams=[{"hosts": ["a"], "url": "http://localhost:5000/x"}]),
        "spec.upstreams[0].url: 'http://localhost:5000/x' must be scheme, host and port alone",
    ),
    "upstream without scheme": (
        gateway(upstreams=[{"hosts": ["a"], "url": "localhost:5000"}]),
        "spec.upstreams[0].url: not a URL that starts with http:// or https://",
    ),
    "sts with a word for true": (
        gateway(sts={"regional": "yes"}),
        "spec.sts.regional: 'yes' is not true or false",
    ),
    "credentials of no account": (
        gateway(base_credentials={"prod": {"profile": "p"}}),
        "spec.base_credentials.prod: 'prod' is not a 12-digit account id, or '*'",
    ),
    "limit is text": (
        gateway(limits={"max_body_bytes": "1M"}),
        "spec.limits.max_body_bytes: '1M' is not a whole number",
    ),
    "limit is zero": (
        gateway(limits={"max_header_bytes": 0}),
        "spec.limits.max_header_bytes: 0: input should be greater than 0",
    ),
    "all bodies smaller than one": (
        gateway(limits={"max_body_bytes": 2, "max_buffered_bytes": 1}),
        "spec.limits: max_buffered_bytes 1 is less than max_body_bytes 2",
    ),
    "timeout is not a number": (
        gateway(limits={"connect_timeout_s": float("nan")}),
        "spec.limits.connect_timeout_s: nan: input should be less than or equal to 300",
    ),
    "default longer than max": (
        gateway(session={"default_ttl": "2h", "max_ttl": "1h"}),
        "spec.session: default_ttl (7200 s) is more than max_ttl (3600 s)",
    ),
}


@pytest.mark.parametrize(("document", "fault"), FAULTS.values(), ids=FAULTS)
def test_fault(document: object, fault: str) -> None:
    assert faults_of(document) == (f"doc1: {fault}",)


def test_every_fault_is_reported_at_once() -> None:
    with pytest.raises(SetupError, match=r"^4 faults in policy$") as caught:
        parse_policy(
            [
                ("policy/roles.yaml document 1", allow(aws_role_arns=["read", "write"])),
                ("policy/roles.yaml document 2", {"kind": "rôle"}),
                ("policy/users.yaml document 1", user(rolls=[])),
            ]
        )

    assert [fault.partition(": ")[0] for fault in caught.value.faults] == [
        "policy/roles.yaml document 1",
        "policy/roles.yaml document 1",
        "policy/roles.yaml document 2",
        "policy/users.yaml document 1",
    ]


def test_one_fault_is_counted_as_one() -> None:
    with pytest.raises(SetupError, match=r"^1 fault in policy$"):
        parse_policy([("x", 5)])


def test_a_name_may_be_used_once_a_kind() -> None:
    same = {**user(), "metadata": {"name": "r"}}

    assert faults_of(role(), same, role()) == ("doc3: role 'r' is already in doc1",)


def test_there_is_one_gateway_whatever_it_is_called() -> None:
    other = {**gateway(), "metadata": {"name": "other"}}

    assert faults_of(gateway(), other) == ("doc2: a gateway document is already in doc1",)


def test_a_misspelt_role_is_told_the_near_one() -> None:
    document = {**role(), "metadata": {"name": "reader"}}

    assert faults_of(document, user(roles=["reader", "raeder"])) == (
        "doc2: spec.roles[1]: there is no role 'raeder', did you mean 'reader'",
    )


def test_a_broken_role_is_not_also_reported_as_absent() -> None:
    faults = faults_of(allow(aws_role_arns=["read"]), user(roles=["r"]))

    assert faults == (f"doc1: spec.allow.aws_role_arns[0]: 'read' {NOT_A_ROLE}",)


ABSENT = "spec.roles[0]: there is no role 'x'"

# documents -> whether the role x of the last one is known not to be there
WITH_OTHER_FAULTS: dict[str, tuple[list[object], bool]] = {
    "in the user": ([role(), {**user(roles=["x", 5]), "version": "v99"}], True),
    "in a role": ([role(options={"max_session_ttl": "x"}), user(roles=["x"])], True),
    "in a document of no kind": (
        [{"kind": "rolle", "metadata": {"name": "long"}}, user(roles=["x"])],
        True,
    ),
    "in what is no document": ([5, user(roles=["x"])], True),
    "misspelt kind, that name": (
        [{"kind": "rolle", "metadata": {"name": "x"}}, user(roles=["x"])],
        False,
    ),
    "no kind, that name": ([{"metadata": {"name": "x"}}, user(roles=["x"])], False),
    "a role without a name": (
        [{"kind": "role", "metadata": {"nam": "x"}}, user(roles=["x"])],
        False,
    ),
    "an app of that name": ([{**app(uri=""), "metadata": {"name": "x"}}, user(roles=["x"])], True),
}


@pytest.mark.parametrize(("documents", "absent"), WITH_OTHER_FAULTS.values(), ids=WITH_OTHER_FAULTS)
def test_other_faults_hide_no_unknown_role(documents: list[object], absent: bool) -> None:
    faults = faults_of(*documents)

    assert [fault for fault in faults if ABSENT not in fault]
    assert (f"doc{len(documents)}: {ABSENT}" in faults) is absent


def test_a_role_that_is_no_name_is_one_fault() -> None:
    assert faults_of(role(), user(roles=["a\nb"])) == (
        "doc2: spec.roles[0]: 'a\\nb' holds control characters",
    )


@pytest.mark.parametrize("complete", [True, False])
def test_faults_of_reading_come_first_and_what_was_not_read_excuses_what_is_absent(
    complete: bool,
) -> None:
    with pytest.raises(SetupError) as caught:
        parse_policy(
            [("users", user(roles=["x"])), ("y", 5)],
            faults=["roles.yaml:1:1: broken"],
            complete=complete,
            hint="try this",
        )

    assert caught.value.hint == "try this"
    assert caught.value.faults == (
        "roles.yaml:1:1: broken",
        "y: is not a resource: expected kind, version, metadata and spec",
        *([f"users: {ABSENT}"] if complete else []),
    )


@pytest.mark.parametrize(
    "document",
    [
        gateway(sts={"endpoint_url": "https://me:canary@localhost"}),
        gateway(upstreams=[{"hosts": ["a"], "url": "http://canary:canary@localhost"}]),
        app(uri="https://canary@console.aws.amazon.com/"),
        app(aws={"external_id": "canary canary"}),
    ],
)
def test_what_may_be_a_secret_is_not_repeated(document: dict[str, Any]) -> None:
    assert not any("canary" in fault for fault in faults_of(document))


def test_a_document_that_contains_itself_is_a_fault() -> None:
    spec: dict[str, Any] = {}
    spec["allow"] = spec

    assert faults_of({**role(), "spec": spec})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(
                st.text(max_size=5)
                | st.integers()
                | st.sampled_from(
                    ["kind", "version", "metadata", "name", "spec", "allow", "labels"]
                ),
                children | st.sampled_from(["role", "user", "app", "gateway", "v1"]),
                max_size=4,
            )
        ),
    )
)
def test_any_document_is_a_policy_or_faults(document: object) -> None:
    try:
        parse_policy([("x", document)])
        faults: tuple[str, ...] = ("x: ",)
    except SetupError as exc:
        faults = exc.faults

    assert faults
    assert all(fault.startswith("x: ") and "\n" not in fault for fault in faults)


# --- what is accepted ------------------------------------------------------------


def test_nothing_is_a_policy_with_the_defaults() -> None:
    policy = parse_policy([("empty", None)])

    assert policy == Policy()
    spec = policy.gateway
    assert (spec.listen, spec.non_aws, spec.metrics_listen) == (
        "127.0.0.1:8080",
        "tunnel",
        "127.0.0.1:9464",
    )
    assert spec.limits.model_dump() == {
        "max_body_bytes": 134217728,
        "max_buffered_bytes": 536870912,
        "max_header_bytes": 65536,
        "connect_timeout_s": 10.0,
        "max_connections": 10000,
        "head_timeout_s": 30.0,
        "idle_timeout_s": 600.0,
        "max_requests_per_user": 1000,
        "max_tunnels_per_user": 100,
        "failures_per_minute": 60,
    }
    assert (spec.session.default_ttl_s, spec.session.max_ttl_s) == (3600, 43200)
    assert (spec.sts.endpoint_url, spec.sts.regional, spec.audit.on_failure) == ("", True, "refuse")
    assert (spec.bypass, spec.upstreams, dict(spec.base_credentials)) == ((), (), {})


def test_a_full_gateway_document() -> None:
    spec = parse_policy(
        [
            (
                "g",
                gateway(
                    listen="[::1]:0",
                    metrics_listen="",
                    non_aws="refuse",
                    bypass=[{"hosts": ["*.example.com", "10.0.0.0/8"], "reason": "ours"}],
                    upstreams=[{"hosts": ["s3.*.amazonaws.com"], "url": "http://127.0.0.1:5000"}],
                    sts={"endpoint_url": "http://127.0.0.1:5000", "regional": False},
                    base_credentials={123456789012: {"profile": "p"}, "*": {"profile": "q"}},
                    limits={"connect_timeout_s": 3},
                    session={"default_ttl": "1h30m", "max_ttl": "12h0m0s"},
                    audit={"on_failure": "continue"},
                ),
            )
        ]
    ).gateway

    assert (spec.listen, spec.metrics_listen, spec.non_aws) == ("[::1]:0", "", "refuse")
    assert (spec.bypass[0].hosts, spec.bypass[0].reason) == (
        ("*.example.com", "10.0.0.0/8"),
        "ours",
    )
    assert spec.upstreams[0].url == "http://127.0.0.1:5000"
    assert spec.sts.endpoint_url == "http://127.0.0.1:5000"
    assert not spec.sts.regional
    assert {k: v.profile for k, v in spec.base_credentials.items()} == {
        "123456789012": "p",
        "*": "q",
    }
    assert spec.limits.connect_timeout_s == 3
    assert (spec.session.default_ttl_s, spec.session.max_ttl_s) == (5400, 43200)
    assert spec.audit.on_failure == "continue"


@pytest.mark.parametrize("account", ["012345678901", "123456789012", 123456789012])
def test_an_account_is_text_or_a_number_of_twelve_digits(account: object) -> None:
    policy = parse_policy([("a", app({"aws_account_id": account}))])

    assert policy.apps["a"].labels["aws_account_id"] == str(account)


@pytest.mark.parametrize(
    "arn",
    [
        ARN,
        "arn:aws-us-gov:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_x_1",
        "arn:aws-iso-b:iam::123456789012:role/a+b=c,d.e@f-g_h",
        f"arn:aws-eusc:iam::123456789012:role/{'x' * 64}",
        "arn:aws:iam::{{external.account}}:role/Read",
        "{{ internal.aws_role_arns }}",
    ],
)
def test_role_arns_that_are_accepted(arn: str) -> None:
    policy = parse_policy([("r", allow(aws_role_arns=[arn]))])

    assert policy.roles["r"].spec.allow.aws_role_arns == (arn,)


@pytest.mark.parametrize(
    "uri",
    [
        "https://console.aws.amazon.com/ec2/v2/home",
        "https://us-west-2.console.aws.amazon.com:443/s3/?region=us-west-2#x",
        "https://console.amazonaws.cn",
        "https://console.amazonaws-us-gov.com/",
        "https://ec2.us-east-1.amazonaws.com/",
        "https://ec2.us-east-1.api.aws/",
    ],
)
def test_uris_that_are_accepted(uri: str) -> None:
    assert parse_policy([("a", app(uri=uri))]).apps["a"].spec.uri == uri


def test_a_policy_cannot_be_changed() -> None:
    policy = parse_policy([("a", app({"env": "x"})), ("r", allow(app_labels={"env": "x"}))])

    with pytest.raises(FrozenInstanceError):
        policy.apps = {}  # type: ignore[misc]
    with pytest.raises(TypeError):
        policy.apps["b"] = policy.apps["a"]  # type: ignore[index]
    with pytest.raises(TypeError):
        policy.apps["a"].metadata.labels["env"] = "y"  # type: ignore[index]
    with pytest.raises(TypeError):
        policy.roles["r"].spec.allow.app_labels["*"] = ("*",)  # type: ignore[index]
    with pytest.raises(ValidationError, match="frozen"):
        policy.roles["r"].spec.allow.aws_role_arns = (ARN,)
