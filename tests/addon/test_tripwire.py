"""The tripwire: whatever the gate did not sign, as it signed it, goes nowhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mitmproxy import connection, http
from mitmproxy.proxy import server_hooks
from mitmproxy.test import taddons, tflow

from awsgate.addon import tripwire
from awsgate.addon.tripwire import (
    ISSUES,
    PENDING,
    REWRITTEN,
    ROUTED,
    Tripwire,
    is_stamped,
    stamp,
)

ADDRESS = ("sts.eu-west-1.amazonaws.com", 443)


@pytest.fixture
def wire() -> Tripwire:
    return Tripwire()


def stamped_flow() -> http.HTTPFlow:
    flow = tflow.tflow()
    flow.request.authority = ""
    stamp(flow.request)
    return flow


def set_data(name: str, value: object) -> Callable[[http.Request], None]:
    return lambda request: setattr(request.data, name, value)


# --- the stamp ------------------------------------------------------------------


def test_a_request_is_stamped_as_it_stands() -> None:
    flow = tflow.tflow()
    assert not is_stamped(flow.request)

    stamp(flow.request)

    assert is_stamped(flow.request)


CHANGES: dict[str, Callable[[http.Request], None]] = {
    "a header is added": lambda r: r.headers.add("x-amz-security-token", "t"),
    "a header is set anew": lambda r: r.headers.set_all("x-new", ["v"]),
    "a value changes": lambda r: r.headers.set_all("header", ["other"]),
    "a header is doubled": lambda r: r.headers.add("header", "qvalue"),
    "a header goes away": lambda r: r.headers.pop("header"),
    "all headers go away": lambda r: r.headers.clear(),
    "a name changes its case": set_data(
        "headers", http.Headers([(b"HEADER", b"qvalue"), (b"content-length", b"7")])
    ),
    "headers change their order": set_data(
        "headers", http.Headers([(b"content-length", b"7"), (b"header", b"qvalue")])
    ),
    "the path changes": lambda r: setattr(r, "path", "/other"),
    "a query is added": lambda r: setattr(r, "query", [("a", "b")]),
    "the raw path changes": set_data("path", b"/path/"),
    "the host changes": lambda r: setattr(r, "host", "evil.example"),
    "the raw host changes": set_data("host", "evil.example"),
    "the host changes its case": set_data("host", "ADDRESS"),
    "the port changes": lambda r: setattr(r, "port", 444),
    "the scheme changes": lambda r: setattr(r, "scheme", "https"),
    "the method changes": lambda r: setattr(r, "method", "DELETE"),
    "an authority appears": lambda r: setattr(r, "authority", "evil.example:443"),
    "the url changes": lambda r: setattr(r, "url", "http://evil.example/path"),
    "the version changes": set_data("http_version", b"HTTP/1.0"),
    "the body changes and not its length": lambda r: setattr(r, "content", b"CONTENT"),
    "the body is streamed": set_data("content", None),
    "the body changes its length": lambda r: setattr(r, "content", b"longer than before"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_of_the_head_voids_the_stamp(change: Callable[[http.Request], None]) -> None:
    flow = stamped_flow()

    change(flow.request)

    assert not is_stamped(flow.request)


def test_headers_that_are_equal_are_the_same() -> None:
    flow = stamped_flow()

    flow.request.data.headers = http.Headers(list(flow.request.data.headers.fields))

    assert is_stamped(flow.request)


def test_so_is_a_body_that_is_equal() -> None:
    flow = stamped_flow()
    content = flow.request.data.content
    assert content

    flow.request.data.content = bytes(bytearray(content))

    assert flow.request.data.content is not content
    assert is_stamped(flow.request)


def test_no_copy_carries_the_stamp() -> None:
    flow = stamped_flow()
    imported = tflow.tflow()
    imported.set_state(flow.get_state())

    assert not is_stamped(flow.copy().request)
    assert not is_stamped(flow.request.copy())
    assert not is_stamped(imported.request)


@pytest.mark.parametrize("forged", [True, "stamp", object()])
def test_only_a_stamp_is_a_stamp(forged: object) -> None:
    request = tflow.tflow().request
    setattr(request, tripwire._ATTRIBUTE, forged)

    assert not is_stamped(request)


def test_a_stamp_shows_no_headers() -> None:
    assert "qvalue" not in repr(tripwire.Stamp.of(tflow.tflow().request))


# --- connections ----------------------------------------------------------------


def connecting(
    client: connection.Client, address: tuple[str, int] | None
) -> server_hooks.ServerConnectionHookData:
    server = connection.Server(address=address)
    return server_hooks.ServerConnectionHookData(server=server, client=client)


def test_an_approved_address_is_dialled(wire: Tripwire) -> None:
    client = tflow.tclient_conn()
    wire.approve(client, ADDRESS, "name.example")
    data = connecting(client, ADDRESS)

    wire.server_connect(data)

    assert data.server.error is None
    assert wire.sni_for(client, ADDRESS) == "name.example"


@pytest.mark.parametrize(
    "address",
    [("169.254.169.254", 80), (ADDRESS[0], 80), ("amazonaws.com", 443), None],
    ids=["another host", "another port", "a parent domain", "no address"],
)
def test_any_other_address_is_not(wire: Tripwire, address: tuple[str, int] | None) -> None:
    client = tflow.tclient_conn()
    wire.approve(client, ADDRESS, "name.example")
    data = connecting(client, address)

    wire.server_connect(data)

    assert data.server.error == "awsgate: connection without the gate's approval"
    assert wire.sni_for(client, address) == ""


def test_an_approval_is_for_one_client_connection(wire: Tripwire) -> None:
    wire.approve(tflow.tclient_conn(), ADDRESS, "name.example")
    other = tflow.tclient_conn()
    other.id = "another"
    data = connecting(other, ADDRESS)

    wire.server_connect(data)

    assert data.server.error


def test_an_approval_ends_with_the_client_connection(wire: Tripwire) -> None:
    client = tflow.tclient_conn()
    wire.approve(client, ADDRESS, "")
    wire.client_disconnected(client)
    data = connecting(client, ADDRESS)

    wire.server_connect(data)

    assert data.server.error
    assert not wire._approved, "nothing is kept of a closed connection"


def test_a_second_approval_does_not_replace_the_first(wire: Tripwire) -> None:
    client = tflow.tclient_conn()
    wire.approve(client, ADDRESS, "a")
    wire.approve(client, ("other.example", 443), "b")

    assert wire.sni_for(client, ADDRESS) == "a"
    assert wire.sni_for(client, ("other.example", 443)) == "b"


# --- requests -------------------------------------------------------------------


def refused(flow: http.HTTPFlow) -> bool:
    if flow.response is None:
        return False
    return (flow.response.status_code, flow.response.headers.get("x-awsgate-code")) == (
        500,
        "gateway-fault",
    )


def head_of(*, stamped: bool, pending: bool, stream: bool) -> http.HTTPFlow:
    flow = stamped_flow() if stamped else tflow.tflow()
    flow.request.stream = stream
    if pending:
        flow.metadata[PENDING] = True
    return flow


HEADS = {
    "signed": (True, False, False, False),
    "signed, and its body streams": (True, False, True, False),
    "waits for its body": (False, True, False, False),
    "waits for its body, and lets it pass": (False, True, True, True),
    "nobody saw it": (False, False, False, True),
    "nobody saw it, and its body streams": (False, False, True, True),
}


@pytest.mark.parametrize(("stamped", "pending", "stream", "stopped"), HEADS.values(), ids=HEADS)
def test_a_head_passes_if_signed_or_waiting(
    wire: Tripwire, stamped: bool, pending: bool, stream: bool, stopped: bool
) -> None:
    flow = head_of(stamped=stamped, pending=pending, stream=stream)

    wire.requestheaders(flow)

    assert refused(flow) == stopped
    assert not (stopped and flow.request.stream), "a refused body is not streamed on"


@pytest.mark.parametrize("pending", [False, True])
def test_a_whole_request_passes_only_if_signed(wire: Tripwire, pending: bool) -> None:
    signed, unsigned = (head_of(stamped=s, pending=pending, stream=False) for s in (True, False))

    wire.request(signed)
    wire.request(unsigned)

    assert not refused(signed)
    assert refused(unsigned)


def test_what_was_streamed_was_judged_by_its_head(wire: Tripwire) -> None:
    """An answer set now would be a second one: mitmproxy raises on it."""
    flow = head_of(stamped=False, pending=False, stream=True)

    wire.request(flow)

    assert flow.response is None


# --- answers that may hold credentials --------------------------------------------


def answered(*marks: str) -> http.HTTPFlow:
    flow = tflow.tflow(resp=http.Response.make(200, b"<SecretAccessKey>canary</SecretAccessKey>"))
    flow.metadata.update(dict.fromkeys(marks, True))
    assert flow.response is not None
    flow.response.stream = True
    return flow


@pytest.mark.parametrize(("marks", "streams"), [((ISSUES,), False), ((), True)])
def test_an_answer_that_may_hold_credentials_is_held(
    wire: Tripwire, marks: tuple[str, ...], streams: bool
) -> None:
    flow = answered(*marks)

    wire.responseheaders(flow)

    assert flow.response is not None
    assert flow.response.stream is streams


def test_an_answer_that_is_none_holds_nothing(wire: Tripwire) -> None:
    flow = tflow.tflow()
    flow.metadata[ISSUES] = True

    wire.responseheaders(flow)

    assert flow.response is None


@pytest.mark.parametrize(
    ("marks", "withheld"), [((ISSUES,), True), ((ISSUES, REWRITTEN), False), ((), False)]
)
def test_one_that_nobody_rewrote_is_withheld(
    wire: Tripwire, marks: tuple[str, ...], withheld: bool
) -> None:
    flow = answered(*marks)

    wire.response(flow)

    assert refused(flow) is withheld
    assert flow.response is not None
    assert (b"canary" in flow.response.content) is not withheld


def test_an_answer_that_is_there_is_left_alone(wire: Tripwire) -> None:
    flow = tflow.tflow()
    answer = flow.response = http.Response.make(403, b"no")

    wire.requestheaders(flow)
    wire.request(flow)
    wire.http_connect(flow)

    assert flow.response is answer


def test_a_head_request_gets_no_body(wire: Tripwire) -> None:
    flow = tflow.tflow()
    flow.request.method = "HEAD"

    wire.request(flow)

    assert refused(flow)
    assert flow.response is not None
    assert flow.response.raw_content == b""


@pytest.mark.parametrize("routed", [True, False])
def test_a_connect_passes_only_if_the_gate_decided_it(wire: Tripwire, routed: bool) -> None:
    flow = tflow.tflow()
    if routed:
        flow.metadata[ROUTED] = True

    wire.http_connect(flow)

    assert refused(flow) != routed


def test_what_is_not_http_is_cut_off(wire: Tripwire) -> None:
    tcp, udp, dns = tflow.ttcpflow(), tflow.tudpflow(), tflow.tdnsflow()

    wire.tcp_start(tcp)
    wire.udp_start(udp)
    wire.dns_request(dns)

    assert all(flow.error is not None for flow in (tcp, udp, dns))
    assert tcp.server_conn.error, "mitmproxy relays a killed TCP flow, but dials no such server"


def test_bytes_of_raw_tcp_do_not_pass(wire: Tripwire) -> None:
    flow = tflow.ttcpflow()
    assert flow.messages[-1].content

    wire.tcp_message(flow)

    assert flow.messages[-1].content == b""


@pytest.mark.parametrize("stamped", [True, False])
def test_an_upgrade_passes_only_if_signed(wire: Tripwire, stamped: bool) -> None:
    flow = stamped_flow() if stamped else tflow.tflow()

    wire.websocket_start(flow)

    assert (flow.error is None) == stamped


async def test_it_hears_every_event_that_it_is_for() -> None:
    """Through mitmproxy's own dispatch: a hook with a wrong name is never called."""
    wire = Tripwire()
    with taddons.context(wire) as context:
        flow = tflow.tflow()
        await context.cycle(wire, flow)
        data = connecting(flow.client_conn, ADDRESS)
        await context.master.addons.invoke_addon(wire, server_hooks.ServerConnectHook(data))

    assert refused(flow)
    assert data.server.error
