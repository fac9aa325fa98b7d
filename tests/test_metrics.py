"""What is counted, that no label grows without end, and that only /metrics is served."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse
from time import perf_counter
from types import MappingProxyType
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from awsgate.errors import Code, SetupError
from awsgate.metrics import MAX_ACTIONS, MAX_LABEL_SETS, MAX_NAMES, Metrics
from awsgate.metricsserver import start_metrics_server

REQUEST: dict[str, Any] = {
    "user": "alice",
    "role": "arn:aws:iam::123456789012:role/ReadOnly",
    "service": "s3",
    "region": "us-east-1",
    "decision": "allowed",
    "code": "200",
    "action": "s3:GetObject",
    "seconds": 0.2,
    "overhead_seconds": 0.0004,
    "bytes_in": 10,
    "bytes_out": 2000,
}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1.2.3", known_users={"alice", "bob"})


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Give all samples of one name by the values of their labels, in order of label name."""
    return {
        tuple(text for _, text in sorted(sample.labels.items())): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_a_request_is_counted_under_all_its_labels(metrics: Metrics) -> None:
    metrics.request_done(**REQUEST)
    metrics.request_done(**REQUEST)

    labels = {k: REQUEST[k] for k in ("user", "role", "service", "region", "decision", "code")}
    assert value(metrics, "awsgate_requests_total", **labels) == 2
    assert value(metrics, "awsgate_actions_total", user="alice", action="s3:GetObject") == 2
    assert value(metrics, "awsgate_bytes_total", user="alice", direction="in") == 20
    assert value(metrics, "awsgate_bytes_total", user="alice", direction="out") == 4000
    assert value(metrics, "awsgate_request_seconds_sum", service="s3") == pytest.approx(0.4)
    assert value(metrics, "awsgate_overhead_seconds_count") == 2
    assert value(metrics, "awsgate_overhead_seconds_bucket", le="0.0005") == 2
    assert value(metrics, "awsgate_overhead_seconds_bucket", le="0.00025") == 0


def test_a_request_without_an_action_counts_none(metrics: Metrics) -> None:
    metrics.request_done(**REQUEST | {"action": "", "bytes_in": 0, "bytes_out": 0})

    assert samples(metrics, "awsgate_actions_total") == {}
    assert samples(metrics, "awsgate_bytes_total") == {}


USERS = {"known": ("bob", "bob"), "unknown": ("mallory", "unknown"), "nobody": ("", "none")}


@pytest.mark.parametrize(("user", "label"), USERS.values(), ids=USERS)
def test_only_known_users_are_named(user: str, label: str, metrics: Metrics) -> None:
    metrics.request_done(**REQUEST | {"user": user})
    metrics.tunnel_opened(user=user, reason="bypass")

    assert set(samples(metrics, "awsgate_actions_total")) == {("s3:GetObject", label)}
    assert value(metrics, "awsgate_tunnels", user=label) == 1


def test_who_logged_in_by_a_connector_is_named_and_stays_so_after_a_reload(
    metrics: Metrics,
) -> None:
    metrics.know_login("dave@example.com")
    metrics.know_users({"carol"})

    for user in ("dave@example.com", "eve"):
        metrics.request_done(**REQUEST | {"user": user})

    assert {user for _, user in samples(metrics, "awsgate_actions_total")} == {
        "dave@example.com",
        "unknown",
    }


def test_only_so_many_logins_are_named(metrics: Metrics) -> None:
    for number in range(MAX_NAMES + 1):
        metrics.know_login(f"user-{number}")
    metrics.request_done(**REQUEST | {"user": f"user-{MAX_NAMES - 1}"})
    metrics.request_done(**REQUEST | {"user": f"user-{MAX_NAMES}"})

    assert {user for _, user in samples(metrics, "awsgate_actions_total")} == {
        f"user-{MAX_NAMES - 1}",
        "unknown",
    }


def test_a_reload_may_make_users_known(metrics: Metrics) -> None:
    metrics.know_users({"carol"})
    metrics.request_done(**REQUEST | {"user": "carol"})
    metrics.request_done(**REQUEST)

    assert {user for _, user in samples(metrics, "awsgate_actions_total")} == {"carol", "unknown"}


def test_the_other_events(metrics: Metrics) -> None:
    metrics.refused(Code.DENIED)
    metrics.refused("denied")
    metrics.tunnel_opened(user="alice", reason="ssm")
    metrics.tunnel_opened(user="alice", reason="ssm")
    metrics.tunnel_closed(label="alice")
    metrics.credentials_result("cached")
    metrics.sts_call(0.3)
    metrics.credential_expiry("arn:role", 1_800_000_000.0)
    metrics.policy_reload("failed")
    metrics.ca_expiry(1_900_000_000.0)

    assert value(metrics, "awsgate_refusals_total", code="denied") == 2
    assert value(metrics, "awsgate_tunnels", user="alice") == 1
    assert value(metrics, "awsgate_tunnels_total", user="alice", reason="ssm") == 2
    assert value(metrics, "awsgate_credentials_total", result="cached") == 1
    assert value(metrics, "awsgate_sts_seconds_sum") == 0.3
    assert value(metrics, "awsgate_credential_expiry_seconds", role="arn:role") == 1.8e9
    assert value(metrics, "awsgate_policy_reloads_total", result="failed") == 1
    assert value(metrics, "awsgate_ca_expiry_seconds") == 1.9e9
    assert value(metrics, "awsgate_build_info", version="1.2.3") == 1


def test_two_gateways_fit_in_one_process(metrics: Metrics) -> None:
    other = Metrics(version="1.2.3", known_users=())
    metrics.policy_reload("ok")

    assert value(other, "awsgate_policy_reloads_total", result="ok") is None


# --- bounds -------------------------------------------------------------------------------


def test_actions_beyond_the_limit_count_as_other(metrics: Metrics) -> None:
    for number in range(MAX_ACTIONS + 50):
        metrics.request_done(**REQUEST | {"action": f"s3:Get{number}"})
    metrics.request_done(**REQUEST | {"action": "s3:Get7"})
    metrics.request_done(**REQUEST | {"user": "bob", "action": "s3:New"})

    counted = samples(metrics, "awsgate_actions_total")
    assert len(counted) == MAX_ACTIONS + 2
    assert counted["other", "alice"] == 50
    assert counted["other", "bob"] == 1
    assert counted["s3:Get7", "alice"] == 2


def test_request_labels_beyond_the_limit_count_as_other(metrics: Metrics) -> None:
    for number in range(MAX_LABEL_SETS + 20):
        metrics.request_done(**REQUEST | {"role": f"role{number}", "user": f"user{number}"})

    counted = samples(metrics, "awsgate_requests_total")
    assert len(counted) == MAX_LABEL_SETS + 1
    # code, decision, region, role, service, user
    assert counted["other", "allowed", "other", "other", "other", "unknown"] == 20


def test_no_metric_grows_without_end(metrics: Metrics) -> None:
    for number in range(1500):
        text = f"x{number}"
        metrics.request_done(**REQUEST | {"service": text})
        metrics.refused(text)
        metrics.tunnel_opened(user="alice", reason=text)
        metrics.credentials_result(text)
        metrics.credential_expiry(text, 1.0)
        metrics.policy_reload(text)
        metrics.login("oidc/okta", text)

    for name in (
        "awsgate_request_seconds_count",
        "awsgate_refusals_total",
        "awsgate_tunnels_total",
        "awsgate_credentials_total",
        "awsgate_credential_expiry_seconds",
        "awsgate_policy_reloads_total",
        "awsgate_logins_total",
    ):
        assert len(samples(metrics, name)) == 1001, name


def test_threads_lose_no_counts(metrics: Metrics) -> None:
    def count() -> None:
        for number in range(200):
            metrics.request_done(**REQUEST | {"action": f"s3:A{number % 7}"})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(samples(metrics, "awsgate_actions_total").values()) == 800


def test_counting_a_request_takes_no_time_to_speak_of(metrics: Metrics) -> None:
    metrics.request_done(**REQUEST)
    began = perf_counter()
    for _ in range(1000):
        metrics.request_done(**REQUEST)

    # 6 microseconds on the machine this was written on; the bound is for a slow one.
    assert (perf_counter() - began) / 1000 < 0.0005


# --- the server ---------------------------------------------------------------------------


@pytest.fixture
def address(metrics: Metrics) -> Iterator[str]:
    server = start_metrics_server("127.0.0.1:0", metrics.registry)
    yield server.address
    server.close()


def ask(
    address: str, path: str, method: str = "GET", headers: Mapping[str, str] = MappingProxyType({})
) -> tuple[HTTPResponse, str]:
    connection = HTTPConnection(address, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def test_metrics_are_served_as_prometheus_reads_them(address: str, metrics: Metrics) -> None:
    metrics.request_done(**REQUEST | {"role": 'quo"te\n'})

    response, text = ask(address, "/metrics")

    assert response.status == 200
    assert response.headers.get_content_type() == "text/plain"
    assert "# TYPE awsgate_tunnels gauge\n" in text
    assert "# TYPE awsgate_tunnels_total counter\n" in text
    assert "_created" not in text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = [
        sample
        for sample in families["awsgate_requests"].samples
        if sample.name == "awsgate_requests_total"
    ]
    assert (sample.labels["role"], sample.value) == ('quo"te\n', 1)
    assert families["awsgate_request_seconds"].type == "histogram"


def test_the_format_is_the_same_whatever_is_asked_for(address: str) -> None:
    accepted = {"Accept": "application/openmetrics-text; version=1.0.0"}

    response, text = ask(address, "/metrics", headers=accepted)

    assert response.headers.get_content_type() == "text/plain"
    assert "# EOF" not in text


def test_a_query_does_not_change_the_path(address: str) -> None:
    assert ask(address, "/metrics?name[]=awsgate_build_info")[0].status == 200


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metrics/x", "/favicon.ico", "/../metrics"])
def test_other_paths_are_not_there(path: str, address: str) -> None:
    response, text = ask(address, path)

    assert (response.status, text) == (404, "metrics are at /metrics\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(method: str, address: str) -> None:
    response, text = ask(address, "/metrics", method)

    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert text == "use GET or HEAD\n"


@pytest.mark.parametrize(("path", "status"), [("/metrics", 200), ("/", 404)])
def test_head_gives_the_head_alone(path: str, status: int, address: str) -> None:
    head, nothing = ask(address, path, "HEAD")
    got, text = ask(address, path)

    assert (head.status, nothing) == (status, "")
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert head.headers["Content-Length"] == str(len(text))


def test_a_silent_client_does_not_hold_up_the_others(address: str) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))):
        assert ask(address, "/metrics")[0].status == 200


def test_a_client_that_hangs_up_leaves_no_trace_on_stderr(
    address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /metr")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"nonsense\r\n\r\n")
        client.recv(1000)
    ask(address, "/metrics")

    assert capfd.readouterr() == ("", "")


def test_closing_frees_the_port() -> None:
    first = start_metrics_server("127.0.0.1:0", CollectorRegistry())
    first.close()

    second = start_metrics_server(first.address, CollectorRegistry())
    second.close()

    assert second.address == first.address


def test_a_taken_port_is_a_setup_error_with_a_hint(address: str) -> None:
    with pytest.raises(SetupError, match=f"cannot serve metrics on {address}: ") as caught:
        start_metrics_server(address, CollectorRegistry())

    assert "in use" in caught.value.message
    assert "metrics_listen" in caught.value.hint


@pytest.mark.parametrize(
    "address",
    ["", "9464", ":9464", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "h:-1", "h:65536", "h:９"],
)
def test_what_is_no_address_is_a_setup_error(address: str) -> None:
    with pytest.raises(SetupError, match="is not an address to serve metrics on") as caught:
        start_metrics_server(address, CollectorRegistry())

    assert repr(address) in caught.value.message


def test_ipv6_is_written_in_brackets() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    server = start_metrics_server("[::1]:0", CollectorRegistry())
    try:
        assert server.address.startswith("[::1]:")
        assert ask(server.address, "/metrics")[0].status == 200
    finally:
        server.close()
