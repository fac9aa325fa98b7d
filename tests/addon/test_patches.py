"""The patches of mitmproxy's inside: what each changes, and what stays without it."""

from __future__ import annotations

import re
from importlib.metadata import version
from time import perf_counter

import pytest
from h11 import _readers
from mitmproxy import http
from mitmproxy.addonmanager import AddonManager
from mitmproxy.proxy.layers.http import HttpStream

from awsgate.addon import patched_bounds, patches
from awsgate.addon.patched import MAX_HEADS_AHEAD
from awsgate.addon.speaker import seat
from httpwire import HttpWire

HEAD = b"PUT /bucket/key HTTP/1.1\r\nHost: s3.amazonaws.com\r\n"
GET = b"GET / HTTP/1.1\r\nHost: s3.amazonaws.com\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMIT = 1000


class FakeSpeaker:
    """The addon, as the patches see it."""

    max_header_bytes = LIMIT

    def __init__(self) -> None:
        self.signed = True
        self.continues = False
        self.ours = True
        self.failures: list[str] = []
        self.most_buffered = 0
        self.relayed_bytes: list[tuple[int, bool]] = []

    def upstream_failed(self, flow: http.HTTPFlow, message: str) -> bool:
        self.failures.append(message)
        if self.ours:
            flow.response = http.Response.make(502, b"in AWS's words")
        return self.ours

    def body_exceeds(self, flow: http.HTTPFlow, buffered: int) -> bool:
        self.most_buffered = max(self.most_buffered, buffered)
        if buffered > LIMIT:
            flow.response = http.Response.make(413, b"too large")
        return buffered > LIMIT

    def owes_continue(self, flow: http.HTTPFlow) -> bool:
        return self.continues and flow.response is None

    def may_send(self, _request: http.Request) -> bool:
        return self.signed

    def body_refused(self, flow: http.HTTPFlow, exc: Exception) -> bool:
        if self.ours:
            flow.response = http.Response.make(403, str(exc).encode())
        return self.ours

    def relays(self, flow: http.HTTPFlow) -> bool:
        return self.ours and flow.response is not None and flow.response.status_code == 101

    def relayed(self, _flow: http.HTTPFlow, size: int, *, to_client: bool) -> None:
        self.relayed_bytes.append((size, to_client))


@pytest.fixture
def stock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mitmproxy as it came; whatever is patched is put back at the end."""
    for owner, method, _ in patches._PATCHES:
        found = getattr(owner, method)
        assert not hasattr(found, "awsgate_patch"), "another test left its patches behind"
        monkeypatch.setattr(owner, method, found)
    monkeypatch.setattr(seat, "speaker", None)


@pytest.fixture
def speaker(request: pytest.FixtureRequest) -> FakeSpeaker:
    """The addon behind all patches."""
    request.getfixturevalue("stock")
    made = FakeSpeaker()
    assert patches.install(made) == []
    return made


def refuse(flow: http.HTTPFlow) -> None:
    flow.response = http.Response.make(403, b"not allowed")


def status(wire: HttpWire) -> int:
    """Give the status of the one answer; 0 if there is none yet."""
    line = wire.to_client.partition(b"\r\n")[0].split(b" ")
    return int(line[1]) if len(line) > 1 else 0


# --- installing -----------------------------------------------------------------


@pytest.mark.usefixtures("stock")
@pytest.mark.parametrize(
    ("owner", "method"),
    [(owner, method) for owner, method, _ in patches._PATCHES],
    ids=[patches.name_of(owner, method) for owner, method, _ in patches._PATCHES],
)
def test_the_installed_mitmproxy_is_one_that_was_read(owner: type, method: str) -> None:
    name, found = patches.name_of(owner, method), patches.fingerprint(owner, method)

    assert found in patches.KNOWN[name], (
        f"mitmproxy {version('mitmproxy')} has another {name}: read what changed there, see that "
        f"the patch still fits, run this file, and add {found} to patches.KNOWN"
    )


def test_every_patch_has_its_fingerprint() -> None:
    assert {patches.name_of(owner, method) for owner, method, _ in patches._PATCHES} == set(
        patches.KNOWN
    )


@pytest.mark.usefixtures("stock")
def test_a_method_that_nobody_read_stays_and_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(patches.KNOWN, "HttpStream.check_killed", frozenset({"0" * 64}))
    before = HttpStream.check_killed

    assert patches.install(FakeSpeaker()) == ["HttpStream.check_killed"]

    assert HttpStream.check_killed is before
    assert hasattr(HttpStream.check_body_size, "awsgate_patch"), "the others are in place"


@pytest.mark.usefixtures("stock")
def test_a_method_that_is_gone_is_reported_and_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(HttpStream, "check_killed")
    monkeypatch.setattr(patches, "NEEDED", frozenset({"HttpStream.check_killed"}))

    assert patches.unknown() == patches.unknown(patches.NEEDED) == ["HttpStream.check_killed"]
    assert patches.install(FakeSpeaker()) == ["HttpStream.check_killed"]
    assert not hasattr(HttpStream, "check_killed")


@pytest.mark.usefixtures("stock")
def test_a_method_that_is_gone_is_missed_where_it_was_read_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(AddonManager, "_iter_hooks")

    assert patches.unknown() == ["mode_servers.ProxyConnectionHandler"]


def test_what_is_in_place_is_not_missed(speaker: FakeSpeaker) -> None:
    assert speaker is seat.speaker
    assert patches.unknown() == []


@pytest.mark.usefixtures("stock")
def test_without_sources_nothing_is_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_source(*_: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(patches, "fingerprint", no_source)

    assert set(patches.install(FakeSpeaker())) == set(patches.KNOWN)
    assert not any(
        hasattr(getattr(owner, method), "awsgate_patch") for owner, method, _ in patches._PATCHES
    )


def test_installing_again_replaces_the_speaker_alone(speaker: FakeSpeaker) -> None:
    before = [getattr(owner, method) for owner, method, _ in patches._PATCHES]
    other = FakeSpeaker()

    assert patches.install(other) == []

    assert [getattr(owner, method) for owner, method, _ in patches._PATCHES] == before
    assert seat.speaker is other is not speaker


def exchange(wire: HttpWire) -> None:
    """Send one whole request and its answer."""
    wire.send(HEAD + b"Content-Length: 4\r\n\r\nbody")
    wire.answer(OK)


@pytest.mark.usefixtures("stock")
def test_an_ordinary_request_is_the_same_with_and_without() -> None:
    plain = HttpWire()
    exchange(plain)
    assert patches.install(FakeSpeaker()) == []
    patched = HttpWire()
    exchange(patched)

    assert plain.to_server == patched.to_server == HEAD + b"Content-Length: 4\r\n\r\nbody"
    assert plain.to_client == patched.to_client == OK
    assert plain.fired == patched.fired


# --- respond_early --------------------------------------------------------------

UPLOAD = HEAD + b"Content-Length: 9000000\r\n\r\n"


@pytest.mark.usefixtures("stock")
def test_stock_reads_all_of_a_refused_upload() -> None:
    wire = HttpWire(requestheaders=refuse)
    wire.send(UPLOAD + b"x" * 1000)

    assert wire.to_client == b""


@pytest.mark.usefixtures("speaker")
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 9000000", b"Transfer-Encoding: chunked"], ids=repr
)
def test_a_refused_upload_is_answered_at_once(framing: bytes) -> None:
    wire = HttpWire(requestheaders=refuse)
    wire.send(HEAD + framing + b"\r\n\r\n")

    assert status(wire) == 403
    assert wire.to_client.endswith(b"not allowed")
    assert not wire.client_is_closed
    assert wire.dialled == 0
    assert wire.fired == ["requestheaders", "responseheaders", "response"]


@pytest.mark.usefixtures("speaker")
def test_the_rest_of_it_is_read_and_the_connection_serves_on() -> None:
    wire = HttpWire(requestheaders=lambda f: refuse(f) if f.request.method == "PUT" else None)
    wire.send(HEAD + b"Content-Length: 4000\r\n\r\n" + b"x" * 1000)
    wire.send(b"x" * 3000)
    assert wire.to_client.count(b"HTTP/1.1") == 1
    wire.send(GET)
    wire.answer(OK)

    assert wire.to_client.endswith(OK)
    assert b"xxx" not in wire.to_server
    assert [flow.live for flow in wire.flows] == [False, False]


@pytest.mark.usefixtures("speaker")
def test_but_not_for_ever() -> None:
    wire = HttpWire(requestheaders=refuse)
    wire.send(UPLOAD)
    wire.send(b"x" * patches.DRAIN_BYTES)
    assert not wire.client_is_closed

    wire.send(b"x")

    assert wire.client_is_closed
    assert wire.to_client.count(b"HTTP/1.1") == 1


@pytest.mark.usefixtures("speaker")
def test_a_client_that_waits_for_our_word_gets_it_and_may_go() -> None:
    wire = HttpWire(requestheaders=refuse)
    wire.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 9000000\r\n\r\n")

    assert status(wire) == 403
    assert b"connection: close\r\n" in wire.to_client.lower()
    assert wire.client_is_closed


@pytest.mark.usefixtures("speaker")
def test_a_refusal_without_a_body_goes_the_usual_way() -> None:
    wire = HttpWire(requestheaders=refuse)
    wire.send(GET)
    wire.send(GET)

    assert wire.to_client.count(b"HTTP/1.1 403") == 2
    assert wire.fired == ["requestheaders", "request", "responseheaders", "response"] * 2


def stream_body(flow: http.HTTPFlow) -> None:
    flow.request.stream = True


@pytest.mark.parametrize("owed", [True, False])
def test_a_client_that_is_owed_a_100_gets_it_before_anything_else(
    speaker: FakeSpeaker, owed: bool
) -> None:
    speaker.continues = owed
    wire = HttpWire(requestheaders=stream_body)
    wire.send(HEAD + b"Content-Length: 4\r\n\r\n")
    early = wire.to_client
    wire.send(b"body")
    wire.answer(OK)

    assert early == (b"HTTP/1.1 100 Continue\r\n\r\n" if owed else b"")
    assert wire.to_client == early + OK


# --- bound_buffered_body --------------------------------------------------------

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"258\r\n" + b"x" * 600 + b"\r\n"


@pytest.mark.usefixtures("stock")
def test_stock_holds_a_chunked_body_of_any_size() -> None:
    wire = HttpWire()
    wire.send(CHUNKED)
    for _ in range(10):
        wire.send(CHUNK)

    assert wire.to_client == b""


def test_a_chunked_body_stops_at_the_limit(speaker: FakeSpeaker) -> None:
    wire = HttpWire()
    wire.send(CHUNKED)
    wire.send(CHUNK)
    assert wire.to_client == b""

    wire.send(CHUNK)
    for _ in range(10):
        wire.send(CHUNK)

    assert status(wire) == 413
    assert wire.to_client.count(b"HTTP/1.1") == 1
    assert speaker.most_buffered == 1200, "what comes after the answer is not kept"
    assert wire.dialled == 0
    wire.send(b"0\r\n\r\n")
    assert not wire.client_is_closed


# --- speak_aws ------------------------------------------------------------------


@pytest.mark.usefixtures("stock")
def test_stock_answers_a_failed_connection_with_a_page_of_its_own() -> None:
    wire = HttpWire(connect_error="Connection refused")
    wire.send(GET)

    assert status(wire) == 502
    assert b"<html>" in wire.to_client


def test_a_failed_connection_is_answered_by_the_gate(speaker: FakeSpeaker) -> None:
    wire = HttpWire(connect_error="Connection refused")
    wire.send(GET)
    wire.send(GET)

    assert wire.to_client.count(b"HTTP/1.1 502") == 2, "the connection serves on"
    assert wire.to_client.endswith(b"in AWS's words")
    assert "Connection refused" in speaker.failures[0]
    assert wire.fired.count("error") == 2, "each is told of, once"
    assert "response" not in wire.fired


def test_a_server_that_is_no_http_is_answered_for(speaker: FakeSpeaker) -> None:
    wire = HttpWire()
    wire.send(GET)
    wire.answer(b"SSH-2.0-OpenSSH\r\n\r\n")

    assert status(wire) == 502
    assert wire.to_client.endswith(b"in AWS's words")
    assert len(speaker.failures) == 1


def test_a_flow_that_is_not_the_gates_is_answered_as_ever(speaker: FakeSpeaker) -> None:
    speaker.ours = False
    wire = HttpWire(connect_error="Connection refused")
    wire.send(GET)

    assert b"<html>" in wire.to_client


def test_an_answer_that_began_is_not_begun_again(speaker: FakeSpeaker) -> None:
    def stream(flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.stream = True

    wire = HttpWire(responseheaders=stream)
    wire.send(GET)
    wire.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n")

    assert wire.to_client.count(b"HTTP/1.1") == 1
    assert not speaker.failures
    assert wire.client_is_closed


def test_an_upload_whose_server_is_gone_is_answered_and_closed(speaker: FakeSpeaker) -> None:
    wire = HttpWire(connect_error="Connection refused", requestheaders=stream_body)
    wire.send(UPLOAD + b"x")

    assert status(wire) == 502
    assert b"connection: close\r\n" in wire.to_client.lower()
    assert wire.client_is_closed
    assert len(speaker.failures) == 1


# --- bound_request_head ---------------------------------------------------------

ENDLESS = b"GET / HTTP/1.1\r\nHost: s3.amazonaws.com\r\nX-A: " + b"a" * 3 * LIMIT


@pytest.mark.usefixtures("stock")
def test_stock_waits_for_the_end_of_a_head_of_any_size() -> None:
    wire = HttpWire()
    wire.send(ENDLESS)

    assert wire.to_client == b""
    assert not wire.client_is_closed


@pytest.mark.usefixtures("speaker")
def test_a_head_that_does_not_end_is_cut_off() -> None:
    wire = HttpWire()
    wire.send(ENDLESS)

    assert status(wire) == 431
    assert b"x-awsgate-code: unsupported" in wire.to_client
    assert wire.client_is_closed
    assert wire.fired == []


@pytest.mark.usefixtures("speaker")
@pytest.mark.parametrize(
    ("size", "body"), [(LIMIT // 2, b""), (2 * LIMIT - 100, b""), (10, b"x" * 5 * LIMIT)]
)
def test_a_head_that_ends_is_the_gates_to_judge(size: int, body: bytes) -> None:
    wire = HttpWire(requestheaders=refuse)
    wire.send(HEAD + b"X-A: " + b"a" * size + b"\r\nContent-Length: 5000\r\n\r\n" + body)

    assert status(wire) == 403


HIDDEN = [b"X-A: b\x0b", b"X-A:\x0bb", b"X-A: \x0c b", b"X-A: b\r", b"X-A: \rb", b"X-A: b\x0c \t",
          b"X-A: b\r\r", b"X-A: b\r \x0b"]  # fmt: skip


@pytest.mark.usefixtures("stock")
@pytest.mark.parametrize("line", HIDDEN)
def test_stock_takes_control_characters_away(line: bytes) -> None:
    wire = HttpWire(requestheaders=refuse)
    wire.send(HEAD + line + b"\r\n\r\n")

    assert wire.flows[0].request.headers["x-a"] == "b"


@pytest.mark.usefixtures("speaker")
@pytest.mark.parametrize("line", HIDDEN)
def test_a_control_character_at_the_end_of_a_value_is_malformed(line: bytes) -> None:
    wire = HttpWire(requestheaders=refuse)
    wire.send(HEAD + line + b"\r\n\r\n")

    assert status(wire) == 400
    assert wire.client_is_closed
    assert wire.fired == []


@pytest.mark.usefixtures("speaker")
@pytest.mark.parametrize("line", [b"X-A:", b"X-A: ", b"X-A: b\x0bc", b"X-A:\tb\t", b"X-A: b\rc"])
def test_what_the_gate_can_see_is_the_gates_to_judge(line: bytes) -> None:
    wire = HttpWire(requestheaders=refuse)
    wire.send(HEAD + line + b"\r\n\r\n")

    assert status(wire) == 403


@pytest.mark.usefixtures("speaker")
@pytest.mark.parametrize("more", [False, True])
def test_a_packet_holds_so_many_requests_and_no_more(more: bool) -> None:
    """Each is answered before anybody else has a turn."""
    wire = HttpWire(requestheaders=refuse)
    for _ in range(2):
        wire.send(GET * MAX_HEADS_AHEAD)

    assert wire.to_client.count(b"HTTP/1.1 403 ") == 2 * MAX_HEADS_AHEAD
    assert not wire.client_is_closed

    wire.send(GET * (MAX_HEADS_AHEAD + more))

    assert wire.to_client.count(b"HTTP/1.1 403 ") == 3 * MAX_HEADS_AHEAD
    assert wire.client_is_closed is more


# --- take_chunked_alone ---------------------------------------------------------

COMPRESSED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


@pytest.mark.usefixtures("stock")
def test_stock_passes_on_what_is_compressed_on_its_way() -> None:
    wire = HttpWire()
    wire.send(GET)
    wire.answer(COMPRESSED)

    assert wire.to_client == COMPRESSED


@pytest.mark.usefixtures("speaker")
@pytest.mark.parametrize("coding", [b"gzip, chunked", b"deflate,chunked", b"gzip", b"identity"])
def test_of_answers_no_transfer_coding_is_taken_but_chunked(coding: bytes) -> None:
    wire = HttpWire()
    wire.send(GET)
    wire.answer(COMPRESSED.replace(b"gzip, chunked", coding))

    assert b"\r\nok" not in wire.to_client
    assert b"responseheaders" not in wire.fired
    assert status(wire) == 502


@pytest.mark.usefixtures("speaker")
def test_chunked_is_taken_in_whatever_case() -> None:
    wire = HttpWire()
    wire.send(GET)
    wire.answer(COMPRESSED.replace(b"gzip, chunked", b"Chunked"))

    assert wire.to_client.startswith(b"HTTP/1.1 200 OK")


# --- bound_coding, bound_chunk_header -------------------------------------------------

BLANKS = b" " * 60_000


@pytest.mark.usefixtures("speaker")
def test_a_coding_of_many_blanks_is_refused_at_once() -> None:
    """Stock mitmproxy takes half a minute for it, and all others wait."""
    wire, before = HttpWire(), perf_counter()
    wire.send(HEAD + b"Transfer-Encoding: x" + BLANKS + b"x\r\n\r\n")

    assert status(wire) == 400
    assert wire.to_server == b""
    assert perf_counter() - before < 3


@pytest.mark.usefixtures("speaker")
def test_a_line_of_blanks_before_a_chunk_is_refused_at_once() -> None:
    """As above: stock h11 looks at them anew from each."""
    wire, before = HttpWire(requestheaders=refuse), perf_counter()
    wire.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    wire.send(b"1;" + BLANKS + b"\n\r\n")

    assert wire.client_is_closed
    assert perf_counter() - before < 3


def test_blanks_before_a_chunk_are_read_once_however_many() -> None:
    """More than a wire lets through: so h11's own pattern would take far longer than allowed."""
    read, before = patched_bounds.bound_chunk_header(re.fullmatch), perf_counter()

    assert read(_readers.chunk_header_re, b"1;" + 2 * BLANKS + b"\n\r\n") is None
    assert perf_counter() - before < 3
    assert read("another", "another") is not None


@pytest.mark.parametrize(
    "line",
    [b"5\r\n", b"5  \r\n", b"5;a=b\r\n", b"5; a \t\r\n", b"5;\xff\r\n", b"05 ;a\r\n", b";\r\n"],
)
def test_a_line_before_a_chunk_means_what_it_meant(line: bytes) -> None:
    ours = patched_bounds._CHUNK_HEADER.fullmatch(line)
    stock = _readers.chunk_header_re.fullmatch(line)

    assert (ours and ours["chunk_size"]) == (stock and stock["chunk_size"])


@pytest.mark.parametrize("line", [b"5;a\rb\r\n", b"5;\r\r\n"])
def test_a_cr_in_the_line_before_a_chunk_is_none_of_it(line: bytes) -> None:
    """Another server could end the line there; h11 takes it for any other character."""
    assert _readers.chunk_header_re.fullmatch(line) is not None
    assert patched_bounds._CHUNK_HEADER.fullmatch(line) is None


# --- guard_upstream_head --------------------------------------------------------


@pytest.mark.usefixtures("stock")
def test_stock_sends_whatever_it_was_told_to() -> None:
    wire = HttpWire()
    wire.send(GET)

    assert wire.to_server == GET


def test_a_head_that_was_not_signed_is_not_written_to_a_server(speaker: FakeSpeaker) -> None:
    speaker.signed = False
    wire = HttpWire()
    wire.send(GET)

    assert wire.to_server == b""
    assert "server" in wire.closed
    assert status(wire) == 502
    assert speaker.failures == ["awsgate: request without the gate's stamp"]


QUOTED = {
    "a line without a colon": b"GET / HTTP/1.1\r\nHost: a\r\nkanarienvogel\r\n\r\n",
    "a name with a blank": b"GET / HTTP/1.1\r\nHost: a\r\nX-kanarienvogel : 1\r\n\r\n",
    "a length": b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: kanarienvogel\r\n\r\n",
    "a request line": b"kanarienvogel\r\n\r\n",
}


@pytest.mark.parametrize("raw", QUOTED.values(), ids=QUOTED)
def test_what_is_no_http_is_not_quoted(speaker: FakeSpeaker, raw: bytes) -> None:
    assert speaker is seat.speaker
    wire = HttpWire()
    wire.send(raw)

    head, _, body = wire.to_client.partition(b"\r\n\r\n")
    assert status(wire) == 400
    assert b"x-awsgate-code: unsupported" in head
    assert body == b"awsgate: unsupported: this is no HTTP request\n"
    assert f"Content-Length: {len(body)}".encode() in head
    assert wire.client_is_closed


@pytest.mark.usefixtures("stock")
@pytest.mark.parametrize("raw", QUOTED.values(), ids=QUOTED)
def test_stock_mitmproxy_quotes_it(raw: bytes) -> None:
    wire = HttpWire()
    wire.send(raw)

    assert b"kanarienvogel" in wire.to_client
