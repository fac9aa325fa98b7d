# ruff: noqa: PT017 - what an error says is part of what holds
"""The parsers of what strangers send, each as ``target(data)``.

It returns, or the parser raises what it documents, and what it gives holds together. An
``AssertionError``, or anything else, is a find. ``throwing`` runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import unquote_to_bytes

from awsgate.aws import chunked, eventframes, presign, sigv4
from awsgate.aws.endpoint import normalise_host, resolve_endpoint
from awsgate.errors import Code, Refusal, SetupError
from awsgate.forwarded import parse_forwarded_host
from awsgate.policyfile import load_policy
from awsgate.sealing import SessionKeys
from awsgate.server.core.framing import Broken, Chunks
from awsgate.server.core.head import Unreadable, read_request, write_request
from awsgate.session import GatewayCredentials, mint, open_session
from awsgate.tunnelpass import read_basic
from fuzz.reading import readings

NOW = 1_790_000_000
SECRET, OURS = "client-secret", "our-secret"
STAMP, SCOPE = "20260921T141320Z", "20260921/us-east-1/s3/aws4_request"


def authorization(data: bytes) -> None:
    try:
        made = sigv4.parse_authorization(data)
    except sigv4.SignatureSyntaxError as exc:
        assert len(data) < 24 or data.decode("latin-1") not in str(exc)
        return
    names = ";".join(made.signed_headers)
    scope = f"{made.access_key_id}/{made.day}/{made.region}/{made.service}/aws4_request"
    text = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={made.signature}"
    assert sigv4.parse_authorization(text.encode()) == made
    assert made.signature not in repr(made)


def presigned_url(data: bytes) -> None:
    try:
        made = presign.parse(data)
    except sigv4.SignatureSyntaxError:
        return
    assert set(made.rest.split(b"&")) <= set(data.split(b"&")) | {b""}
    assert made.authorization.signature not in repr(made)
    names = {unquote_to_bytes(item.partition(b"=")[0]) for item in made.rest.split(b"&")}
    assert b"x-amz-signature" not in {name.lower() for name in names}


def chunk_framing(data: bytes) -> None:
    whole = _read_chunks(data, [data])
    assert _read_chunks(data, [data[i : i + 1] for i in range(len(data))]) == whole
    if whole is not None and whole[1]:
        content, _, rest = whole
        head = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        read = readings(head + data, lenient=False)[0][0]
        assert read.body == content
        assert data[read.end - len(head) :] == rest


def _read_chunks(data: bytes, pieces: list[bytes]) -> tuple[bytes, bool, bytes] | None:
    """Give content, whether it is whole, and what is after it; None: it is broken."""
    reader = Chunks(drop_trailers=False)
    content, at = b"", 0
    try:
        for piece in pieces:
            at += len(piece)
            more, rest = reader.feed(piece)
            content += more
            if reader.done:
                return content, True, rest + data[at:]
    except Broken:
        return None
    assert len(content) <= len(data)
    return content, False, b""


def request_head(data: bytes) -> None:
    try:
        head = read_request(data)
    except Unreadable:
        return
    if head.fault or head.authority or any(b"\n" in v or b"\r" in v for _, v in head.fields):
        return
    try:
        raw = write_request(head.method, head.target, head.fields)
    except ValueError:
        return
    again = read_request(raw.removesuffix(b"\r\n\r\n"))
    assert (again.method, again.target, again.fields) == (head.method, head.target, head.fields)
    assert head.version != b"HTTP/1.1" or again.body == head.body


def signed_chunks(data: bytes) -> None:
    def resigner() -> chunked.ChunkResigner:
        theirs, ours = (
            chunked.ChunkSigner(
                sigv4.signing_key(s, STAMP[:8], "us-east-1", "s3"), STAMP, SCOPE, seed
            )
            for s, seed in ((SECRET, "a" * 64), (OURS, "b" * 64))
        )
        return chunked.ChunkResigner(theirs, ours, trailer=False, decoded_length=None, length=None)

    _same_in_any_pieces(resigner, data)


def event_stream(data: bytes) -> None:
    def resigner() -> eventframes.EventResigner:
        theirs, ours = (
            eventframes.EventSigner(s, "us-east-1", "transcribe", seed)
            for s, seed in ((SECRET, "a" * 64), (OURS, "b" * 64))
        )
        return eventframes.EventResigner(theirs, ours)

    _same_in_any_pieces(resigner, data)


def _same_in_any_pieces(make: Callable[[], object], data: bytes) -> None:
    whole, parts = (
        _resigned(make, [data]),
        _resigned(make, [data[i : i + 1] for i in range(len(data))]),
    )
    assert len(whole[0]) <= len(data)
    assert whole[1] == parts[1]
    # In one piece, what was proved before the fault is held back with it.
    assert parts[0].startswith(whole[0]) if whole[1] else parts[0] == whole[0]


def _resigned(make: Callable[[], object], pieces: list[bytes]) -> tuple[bytes, bool]:
    """Give what went on, and whether the body broke its promise."""
    resigner, out = make(), b""
    try:
        for piece in pieces:
            out += resigner.feed(piece)  # type: ignore[attr-defined]
        out += resigner.finish()  # type: ignore[attr-defined]
    except chunked.ChunkError:
        return out, True
    return out, False


def host(data: bytes) -> None:
    try:
        name = normalise_host(data.decode("utf-8", "surrogateescape"))
    except ValueError:
        return
    assert name.isascii()
    assert normalise_host(name) == name
    assert not set(name) & set("/@:?# %\\")
    found = resolve_endpoint(name)
    assert found is None or found.host == name


def forwarded_host(data: bytes) -> None:
    try:
        name = parse_forwarded_host([data])
    except Refusal as exc:
        assert exc.code is Code.BAD_FORWARDED_HOST
        return
    assert name == data.decode("ascii").lower().removesuffix(":443").removesuffix(".")
    try:
        parse_forwarded_host([data, data])
    except Refusal:
        return
    raise AssertionError("two of them were taken")


@cache
def session() -> tuple[SessionKeys, GatewayCredentials]:
    keys = SessionKeys(b"k" * 32)
    made = mint(
        keys, user="bob", app="test", role_arn="arn:aws:iam::123456789012:role/r",
        ttl_s=3600, now=NOW, entropy=b"e" * 32,
    )  # fmt: skip
    return keys, made


def session_token(data: bytes) -> None:
    keys, made = session()
    token = data.decode("latin-1")
    try:
        opened = open_session(keys, access_key_id=made.access_key_id, session_token=token, now=NOW)
    except Refusal:
        assert token != made.session_token
        return
    assert token == made.session_token, "another text opens as the same session"
    assert opened.session.user == "bob"


def proxy_authorization(data: bytes) -> None:
    try:
        key_id, password = read_basic(data.decode("latin-1"))
    except Refusal as exc:
        assert len(data) < 24 or data.decode("latin-1") not in str(exc)
        return
    assert ":" not in key_id
    assert (key_id + password).isascii()


@cache
def _policy_file() -> Path:
    return Path(mkdtemp(prefix="awsgate-fuzz-")) / "policy.yaml"


def policy_yaml(data: bytes) -> None:
    _policy_file().write_bytes(data)
    try:
        load_policy(_policy_file())
    except SetupError as exc:
        assert exc.faults


TARGETS: dict[str, Callable[[bytes], None]] = {
    "authorization": authorization,
    "presigned-url": presigned_url,
    "chunk-framing": chunk_framing,
    "request-head": request_head,
    "signed-chunks": signed_chunks,
    "event-stream": event_stream,
    "host": host,
    "forwarded-host": forwarded_host,
    "session-token": session_token,
    "proxy-authorization": proxy_authorization,
    "policy-yaml": policy_yaml,
}
