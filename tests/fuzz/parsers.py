"""The parsers of what strangers send, each as ``target(data)``: it returns, or raises what is
documented, and what it gives holds together. An ``AssertionError``, or anything else, is a find.

``fire`` runs them with atheris, which follows the code that an input reaches, where that is
installed; else with inputs made at random from ``CORPUS``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

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
from chunksigner import Chain
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
    assert b"signature" not in made.rest.lower() or b"x-amz-signature" not in made.rest.lower()


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
            chunked.ChunkSigner(sigv4.signing_key(s, STAMP[:8], "us-east-1", "s3"), STAMP, SCOPE, seed)
            for s, seed in ((SECRET, "a" * 64), (OURS, "b" * 64))
        )
        return chunked.ChunkResigner(theirs, ours, trailer=False, decoded_length=None)

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
    whole, parts = _resigned(make, [data]), _resigned(make, [data[i : i + 1] for i in range(len(data))])
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
def _session() -> tuple[SessionKeys, GatewayCredentials]:
    keys = SessionKeys(b"k" * 32)
    made = mint(
        keys, user="bob", app="test", role_arn="arn:aws:iam::123456789012:role/r",
        ttl_s=3600, now=NOW, entropy=b"e" * 32,
    )  # fmt: skip
    return keys, made


def session_token(data: bytes) -> None:
    keys, made = _session()
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


def _signed_body() -> bytes:
    chain = Chain(SECRET, STAMP, "us-east-1", "a" * 64)
    return b"".join(chain.chunk(data) for data in (b"hello", b"x" * 70, b"")) + b"\r\n"


def _frames() -> bytes:
    signer = eventframes.EventSigner(SECRET, "us-east-1", "transcribe", "a" * 64)
    made, previous = b"", "a" * 64
    for payload in (b"audio", b""):
        when = datetime.fromtimestamp(NOW, UTC)
        date = b"\x05:date\x08" + (NOW * 1000).to_bytes(8, "big")
        digest = sigv4.EMPTY_SHA256 if not payload else _sha256(payload)
        signature = signer.sign(previous, when, date, digest)
        previous = signature.hex()
        headers = date + b"\x10:chunk-signature\x06\x00\x20" + signature
        made += _frame(headers, payload)
    return made


def _sha256(data: bytes) -> str:


    return hashlib.sha256(data).hexdigest()


def _frame(headers: bytes, payload: bytes) -> bytes:


    total = 16 + len(headers) + len(payload)
    prelude = total.to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    prelude += zlib.crc32(prelude).to_bytes(4, "big")
    body = prelude + headers + payload
    return body + zlib.crc32(body).to_bytes(4, "big")


_AUTH = (
    b"AWS4-HMAC-SHA256 Credential=GATEABC/20260921/us-east-1/s3/aws4_request, "
    b"SignedHeaders=host;x-amz-date, Signature=" + b"0a" * 32
)
_URL = (
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=GATEABC%2F20260921%2Fus-east-1%2Fs3%2F"
    b"aws4_request&X-Amz-Date=20260921T141320Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
    b"&X-Amz-Security-Token=t&x=y&X-Amz-Signature=" + b"0a" * 32
)
_POLICY = b"""kind: user
version: v2
metadata: {name: alice}
spec: {roles: [r]}
---
kind: role
version: v5
metadata: {name: r}
spec:
  allow: &a
    app_labels: {'*': '*'}
    aws_role_arns: ['arn:aws:iam::123456789012:role/r']
"""


@cache
def corpus(name: str) -> list[bytes]:
    """Give inputs to begin with, good ones among them."""
    return {
        "authorization": [_AUTH, _AUTH.replace(b", ", b","), b"AWS4-HMAC-SHA256 x", b"Basic eDp5"],
        "presigned-url": [_URL, _URL.replace(b"X-Amz-Date", b"x-amz-date"), b"a=b", b"%58-Amz-Date="],
        "chunk-framing": [b"5\r\nhello\r\n0\r\n\r\n", b"5;a=b\r\nhello\r\n0\r\nX: 1\r\n\r\n", b"0x5\r\n",
                          b"fffffffffffffffff\r\n", b"0\r\n\r\nGET /"],
        "request-head": [b"GET /a?b HTTP/1.1\r\nHost: h", b"PUT /a HTTP/1.1\r\nContent-Length: 5\r\nA:\r\n b",
                         b"POST http://h/ HTTP/1.1\r\nTransfer-Encoding: gzip, chunked"],
        "signed-chunks": [_signed_body(), b"5;chunk-signature=" + b"0a" * 32 + b"\r\nhello\r\n"],
        "event-stream": [_frames(), _frame(b"", b""), bytes(16)],
        "host": [b"b.s3.us-east-1.amazonaws.com", b"S3.AMAZONAWS.COM.", b"127.1", b"0x7f000001",
                 "ｓ3.amazonaws.com".encode(), b"a..b", b"xn--a.com"],
        "forwarded-host": [b"s3.amazonaws.com", b"s3.amazonaws.com:443", b"S3.amazonaws.com.", b"a,b.c"],
        "session-token": [_session()[1].session_token.encode(), b"", b"AV"],
        "proxy-authorization": [b"Basic R0FURTpwYXNz", b"basic  eDp5", b"Bearer x"],
        "policy-yaml": [_POLICY, b"a: &a [*a]", b"{", b"- !!python/object:os.system x", b"\xef\xbb\xbf---\n"],
    }[name]  # fmt: skip


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Give the input with a few bytes put in, taken out or changed."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(made))
        kind = chance.random()
        if kind < 0.4:
            made[at:at] = chance.choice(_ODD)
        elif kind < 0.6:
            del made[at : at + chance.randint(1, 8)]
        elif kind < 0.7:
            end = chance.randint(at, len(made))
            made[at:at] = made[at:end]
        elif at < len(made):
            made[at] = chance.randrange(256)
    return bytes(made[:100_000])


_ODD = (b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b",", b";", b"=", b":", b"/", b"%", b"&", b"-", b"+",
        b"_", b"0", b"f", b"A", b".", b"\xff", b"\xc3\xa9", b"'", b'"', b"*", b"!", b"{", b"[", b"9" * 20)  # fmt: skip


def fire(seed: int, minutes: float, only: str | None, keep: Path) -> bool:
    """Run the targets one after the other, each for so long. False if one found something."""
    followed = importlib.util.find_spec("atheris") is not None
    print(f"parsers: seed {seed}, {'atheris' if followed else 'at random'}, {minutes} min each")
    keep.mkdir(parents=True, exist_ok=True)
    held = True
    for name in [only] if only else TARGETS:
        if followed:
            held &= _follow(name, seed, minutes, keep)
        else:
            held &= _throw(name, seed, minutes, keep)
    return held


def _follow(name: str, seed: int, minutes: float, keep: Path) -> bool:
    """Run atheris in a process of its own: it ends the one that it runs in."""
    inputs = Path(mkdtemp(prefix="awsgate-fuzz-"))
    for number, data in enumerate(corpus(name)):
        (inputs / str(number)).write_bytes(data)
    words = [f"-max_total_time={max(1, int(minutes * 60))}", f"-seed={seed % (1 << 31) or 1}",
             f"-artifact_prefix={keep}/{name}-", "-max_len=8192", "-verbosity=0",
             "-print_final_stats=1", str(inputs)]  # fmt: skip
    command = [sys.executable, "-m", "fuzz.following", name, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    runs = [line.split()[-1] for line in done.stderr.splitlines() if "executed_units" in line]
    print(f"{name}: {runs[-1] if runs else '?'} inputs" + ("" if done.returncode == 0 else ", FAILED"))
    if done.returncode:
        print("\n".join(done.stderr.splitlines()[-25:]))
    return done.returncode == 0


def _throw(name: str, seed: int, minutes: float, keep: Path) -> bool:
    ends, count = time.monotonic() + minutes * 60, 0
    for data in _inputs(name, seed):
        count += 1
        try:
            TARGETS[name](data)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is a find
            (keep / f"{name}-{seed}").write_bytes(data)
            print(f"{name}: FAILED with {type(exc).__name__}; kept in {keep / f'{name}-{seed}'}")
            return False
        if time.monotonic() > ends:
            break
    print(f"{name}: {count} inputs")
    return True


def _inputs(name: str, seed: int) -> Iterator[bytes]:
    chance = random.Random(f"{seed}:{name}")
    pool = list(corpus(name))
    yield from pool
    while True:
        made = mutated(chance, chance.choice(pool))
        if chance.random() < 0.02 and len(pool) < 500:
            pool.append(made)
        yield made
