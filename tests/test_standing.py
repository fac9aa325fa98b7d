"""Sessions of logins at the gate: their own roles, nobody else's, and no more than asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import permutations

import pytest

from awsgate import standing
from awsgate.errors import Code, Refusal
from awsgate.gate import Gate, Review
from awsgate.login import CERTIFICATE, LOCAL, LoginFacts
from awsgate.policy import User, parse_policy
from awsgate.policy.locks import LockBook
from awsgate.session import NO_BOUNDS, Bounds, GatewayCredentials, SessionOpener, mint
from awsgate.standing import policy_with
from calls import GOOD, KEYS, NOW_S, READER, Call
from calls import POLICY as LOCAL_POLICY
from signers import WHEN

OKTA = {
    "kind": "oidc",
    "version": "v3",
    "metadata": {"name": "okta"},
    "spec": {
        "issuer_url": "https://idp.example.com",
        "client_id": "awsgate",
        "claims_to_roles": [{"claim": "a", "value": "b", "roles": ["$1"]}],
    },
}
CONNECTORS = parse_policy([("okta", OKTA)]).connectors
POLICY = replace(LOCAL_POLICY, connectors=CONNECTORS)
LOGIN = LoginFacts("ab" * 10, "oidc/okta", ("read",))
GET = replace(GOOD, method="GET", target="/key", body=b"")


def credentials(
    user: str = "carol",
    login: LoginFacts | None = LOGIN,
    bounds: Bounds = NO_BOUNDS,
    seed: int = 9,
) -> GatewayCredentials:
    return mint(
        KEYS,
        user=user,
        app="console",
        role_arn=READER,
        ttl_s=3600,
        now=NOW_S,
        entropy=bytes(range(seed, seed + 32)),
        login=login,
        bounds=bounds,
    )


def gate(**more: object) -> Gate:
    return Gate(policy=POLICY, open_session=SessionOpener(KEYS), **more)  # type: ignore[arg-type]


def run(call: Call, at: Gate | None = None) -> Review:
    review = Review(call.facts())
    at = at or gate()
    at.receive(review, WHEN)
    at.authorise(review, call.body, WHEN)
    return review


def refused(call: Call, at: Gate | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        run(call, at)
    return caught.value


def test_a_user_of_a_connector_needs_no_document() -> None:
    review = run(replace(GOOD, keys=credentials()))

    assert review.decision is not None
    assert (review.decision.user, review.decision.rule) == ("carol", "role/read")
    assert review.session is not None
    assert gate().may_stay(review.session, WHEN)


def test_without_a_login_there_is_no_such_user() -> None:
    assert "the user is not known" in refused(replace(GOOD, keys=credentials(login=None))).message


def test_a_document_of_the_same_name_gives_a_connectors_user_nothing() -> None:
    nothing = replace(LOGIN, roles=())

    assert refused(replace(GOOD, keys=credentials("alice", nothing))).code is Code.DENIED


def test_roles_that_the_policy_does_not_have_give_nothing() -> None:
    gone = replace(LOGIN, roles=("gone",))

    assert refused(replace(GOOD, keys=credentials(login=gone))).code is Code.DENIED


def test_a_connector_that_was_taken_out_of_the_policy_vouches_for_nobody() -> None:
    at = Gate(policy=LOCAL_POLICY, open_session=SessionOpener(KEYS))
    call = replace(GOOD, keys=credentials())

    assert "the user is not known" in refused(call, at).message
    assert refused(replace(GOOD, keys=credentials("alice")), at).code is Code.DENIED


def test_certificates_vouch_for_nobody_once_the_policy_has_no_issuer_of_them() -> None:
    host = credentials("build", replace(LOGIN, connector=CERTIFICATE))
    control = POLICY.gateway.control.model_copy(update={"client_ca": "/etc/awsgate/clients.pem"})
    spec = POLICY.gateway.model_copy(update={"control": control})
    taken = Gate(policy=replace(POLICY, gateway=spec), open_session=SessionOpener(KEYS))

    run(replace(GOOD, keys=host), taken)

    assert "the user is not known" in refused(replace(GOOD, keys=host)).message


def test_the_policy_of_a_login_holds_nobody_else() -> None:
    """It is kept for thousands of logins, and a policy may have thousands of users."""
    assert set(policy_with(POLICY, "carol", LOGIN).users) == {"carol"}


def test_two_users_of_connectors_are_two() -> None:
    at = gate()
    run(replace(GOOD, keys=credentials("carol")), at)
    other = replace(GOOD, keys=credentials("dave", replace(LOGIN, id="cd" * 10, roles=())))

    assert refused(other, at).code is Code.DENIED
    run(replace(GOOD, keys=credentials("carol")), at)


def test_two_logins_of_one_name_are_two() -> None:
    """What was found for the one, and remembered, says nothing of the other."""
    at = gate()
    other = replace(GOOD, keys=credentials("carol", replace(LOGIN, id="cd" * 10, roles=())))
    run(replace(GOOD, keys=credentials("carol")), at)

    assert refused(other, at).code is Code.DENIED
    run(replace(GOOD, keys=credentials("carol")), at)
    assert refused(other, at).code is Code.DENIED


def test_a_local_login_has_what_the_document_says() -> None:
    local = LoginFacts("ab" * 10, LOCAL)

    run(replace(GOOD, keys=credentials("alice", local)))
    assert refused(replace(GOOD, keys=credentials("carol", local))).code is Code.DENIED


def test_a_trait_of_the_login_fills_the_roles_template() -> None:
    arn = "arn:aws:iam::123456789012:role/{{external.team}}"
    spec = {"allow": {"app_labels": {"*": "*"}, "aws_role_arns": [arn]}}
    documents = [
        ("r", {"kind": "role", "version": "v5", "metadata": {"name": "own"}, "spec": spec}),
        ("a", {"kind": "app", "version": "v3", "metadata": {"name": "console"},
               "spec": {"uri": "https://console.aws.amazon.com/"}}),
    ]  # fmt: skip
    documents.append(("okta", OKTA))
    at = Gate(policy=parse_policy(documents), open_session=SessionOpener(KEYS))
    mine = LoginFacts("ab" * 10, "oidc/okta", ("own",), (("team", ("Reader",)),))
    other = LoginFacts("ab" * 10, "oidc/okta", ("own",), (("team", ("Writer", "*")),))

    run(replace(GOOD, keys=credentials(login=mine)), at)
    assert refused(replace(GOOD, keys=credentials(login=other)), at).code is Code.DENIED


def lock(**target: str) -> LockBook:
    document = {
        "kind": "lock",
        "version": "v2",
        "metadata": {"name": "x"},
        "spec": {"target": target},
    }
    return LockBook(parse_policy([("x", document)]).locks.values())


@pytest.mark.parametrize(
    "target",
    [{"session": LOGIN.id}, {"user": "carol"}, {"role": "read"}, {"app": "console"}],
    ids=lambda target: next(iter(target)),
)
def test_a_lock_holds_a_users_sessions_by(target: dict[str, str]) -> None:
    call = replace(GOOD, keys=credentials())

    assert refused(call, gate(locks=lock(**target))).code is Code.LOCKED


def test_a_lock_on_one_login_leaves_another_of_the_same_user_alone() -> None:
    other = replace(GOOD, keys=credentials(login=replace(LOGIN, id="cd" * 10)))

    run(other, gate(locks=lock(session=LOGIN.id)))


READ_ONLY = Bounds(read_only=True)


def test_credentials_for_reading_alone_read() -> None:
    run(replace(GET, keys=credentials(bounds=READ_ONLY)))


@pytest.mark.parametrize(
    "call",
    [
        GOOD,
        replace(GET, method="DELETE"),
        Call(
            method="POST",
            host="sts.eu-central-1.amazonaws.com",
            service="sts",
            target="/",
            headers=(("Content-Type", "application/x-www-form-urlencoded"),),
            body=b"Action=AssumeRole&Version=2011-06-15&RoleSessionName=carol"
            b"&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2FAdmin",
        ),
        replace(GET, host="sqs.eu-central-1.amazonaws.com", service="sqs", target="/?Action=No"),
        Call(
            method="POST",
            host="api.ecr.eu-central-1.amazonaws.com",
            service="ecr",
            target="/",
            headers=(
                ("Content-Type", "application/x-amz-json-1.1"),
                ("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"),
            ),
            body=b"{}",
        ),
        Call(
            method="POST",
            host="codeartifact.eu-central-1.amazonaws.com",
            service="codeartifact",
            target="/v1/authorization-token?domain=corp",
        ),
    ],
    ids=["put", "delete", "assume a role", "what nobody knows", "pass of ECR", "of CodeArtifact"],
)
def test_credentials_for_reading_alone_do_nothing_else(call: Call) -> None:
    found = refused(replace(call, keys=credentials(bounds=READ_ONLY)))

    assert (found.code, found.detail) == (Code.DENIED, "session/read-only")
    assert found.hint == "ask for others without --read-only"


def test_credentials_for_a_number_of_requests_end_with_it() -> None:
    made = {"n": 0}

    def tally(_session: str) -> int:
        made["n"] += 1
        return made["n"]

    at = gate(tally=tally)
    call = replace(GET, keys=credentials(bounds=Bounds(max_requests=2)))
    run(call, at)
    run(call, at)

    found = refused(call, at)
    assert (found.code, found.detail) == (Code.DENIED, "session/max-requests")


def test_bounds_hold_in_report_mode() -> None:
    report = replace(POLICY, gateway=POLICY.gateway.model_copy(update={"mode": "report"}))
    at = Gate(policy=report, open_session=SessionOpener(KEYS))

    assert refused(replace(GOOD, keys=credentials(bounds=READ_ONLY)), at).code is Code.DENIED


# --- what is remembered ---------------------------------------------------------------


class Many(Mapping[str, User]):
    """A policy's users, of whom there are so many that nobody should go over all of them."""

    def __getitem__(self, name: str) -> User:
        return LOCAL_POLICY.users[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all users were gone over")

    def __len__(self) -> int:
        raise AssertionError("all users were gone over")


def test_a_login_costs_no_copy_of_all_users() -> None:
    """Each login has a policy of its own, and the gate remembers thousands of them."""
    found = run(replace(GET, keys=credentials()), Gate(
        policy=replace(POLICY, users=Many()), open_session=SessionOpener(KEYS),
    ))  # fmt: skip

    assert found.decision is not None
    assert found.decision.allowed


def test_what_aws_is_told_of_one_login_is_not_told_of_another_of_the_same_name() -> None:
    """One gate, in every order: the policy's alice, and two of a connector."""
    role = LOCAL_POLICY.roles["read"]
    options = role.spec.options.model_copy(
        update={"aws_session_tags": {"team": "{{internal.team}}"}}
    )
    tagged = role.model_copy(update={"spec": role.spec.model_copy(update={"options": options})})
    user = standing.user_of("alice", replace(LOGIN, traits=(("team", ("ops",)),)))
    policy = replace(POLICY, roles={**POLICY.roles, "read": tagged}, users={"alice": user})
    logins = {
        "ops": None,
        "red": replace(LOGIN, traits=(("team", ("red",)),)),
        "blue": replace(LOGIN, id="cd" * 10, traits=(("team", ("blue",)),)),
    }
    for order in permutations(logins):
        at = Gate(policy=policy, open_session=SessionOpener(KEYS))
        for _ in range(2):
            for team in order:
                keys = credentials("alice", logins[team], seed=9 + list(logins).index(team))
                review = Review(replace(GET, keys=keys).facts())
                at.receive(review, WHEN)
                plan = at.authorise(review, b"", WHEN)
                assert plan.handoff.tags == (("team", team),)
