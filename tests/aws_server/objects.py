"""The object store: hashes and sizes of what came with every check passed, and S3's answers.

Not S3: no ACLs, no versions, no policies; one bucket namespace; a bucket exists as soon as
it is named. ``generated/<bytes>`` is an object of that size in every bucket.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from aws_server.answers import S3_XMLNS, XML
from aws_server.chunks import Payload
from aws_server.hosts import Endpoint
from aws_server.http1 import Answer
from aws_server.model import KEPT_BYTES, Head, Refused, Request
from aws_server.sts import KeyRing, credentials_xml

BLOCK = bytes(range(256)) * 256
"""What generated objects repeat; 64 KiB."""
Cut = Callable[[int, int], Iterable[bytes]]

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_GENERATED = re.compile(r"generated/(\d{1,12})")


@dataclass(frozen=True)
class Stored:
    """An object; ``body`` is there if it is small."""

    sha256: str
    size: int
    body: bytes | None = field(default=None, repr=False)

    @property
    def etag(self) -> str:
        # Of the form that uploads in parts get: another, rclone and s3cmd take for an MD5.
        return f'"{self.sha256[:32]}-1"'


@dataclass
class _Upload:
    name: tuple[str, str]
    parts: dict[int, tuple[str, IO[bytes]]] = field(default_factory=dict)


def generated(size: int, start: int = 0) -> Iterator[bytes]:
    """Give bytes ``start`` to ``size`` of the generated object of that size."""
    while start < size:
        offset = start % len(BLOCK)
        piece = BLOCK[offset : offset + size - start]
        start += len(piece)
        yield piece


def locate(head: Head, endpoint: Endpoint) -> tuple[str, str]:
    """Give (bucket, key) of an S3 request, virtual-hosted or path style."""
    path = head.path.removeprefix("/")
    if endpoint.bucket:
        return endpoint.bucket, _text(path)
    bucket, _, key = path.partition("/")
    return _text(bucket), _text(key)


def _text(raw: str) -> str:
    return unquote(raw.encode("latin-1").decode("utf-8", "replace"))


class Objects:
    """All buckets of one server."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], Stored] = {}
        self._uploads: dict[str, _Upload] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Forget the parts of uploads that were never completed."""
        for upload in self._uploads.values():
            for _, spool in upload.parts.values():
                spool.close()

    def put(self, name: tuple[str, str], stored: Stored) -> Stored:
        """Keep an object."""
        with self._lock:
            self.stored[name] = stored
        return stored

    def spool_for(self, head: Head, payload: Payload) -> IO[bytes] | None:
        """Give the file that takes an upload's part, which only the whole object hashes."""
        if head.method != "PUT" or "uploadId" not in _query(head):
            return None
        spool = tempfile.SpooledTemporaryFile(max_size=KEPT_BYTES)  # noqa: SIM115 - kept open
        payload.spool = spool.write
        return spool

    def answer(
        self,
        head: Head,
        endpoint: Endpoint,
        record: Request,
        keys: KeyRing,
        spool: IO[bytes] | None,
    ) -> Answer:
        """Do one S3 operation; raises ``Refused``."""
        name, query = locate(head, endpoint), _query(head)
        match head.method:
            case "PUT":
                return self._put(head, name, query, record, spool)
            case "GET" | "HEAD":
                return self._get(head, name, query, keys)
            case "DELETE":
                with self._lock:
                    self.stored.pop(name, None)
                return Answer(204)
            case "POST":
                return self._post(name, query, record)
        raise Refused(405, "MethodNotAllowed", "The specified method is not allowed")

    def _put(
        self,
        head: Head,
        name: tuple[str, str],
        query: dict[str, str],
        record: Request,
        spool: IO[bytes] | None,
    ) -> Answer:
        if not name[1] or (query.keys() - {"x-id", "partNumber", "uploadId"}) & _SUBRESOURCES:
            return Answer()
        if spool is not None:
            return self._put_part(query, record, spool)
        source = head.get("x-amz-copy-source")
        if source is not None:
            bucket, _, key = _text(source).removeprefix("/").partition("/")
            copied = self.put(name, self._found((bucket, key)))
            return _xml("CopyObjectResult", f"<ETag>{escape(copied.etag)}</ETag>")
        small = record.body if record.body_bytes <= KEPT_BYTES else None
        stored = self.put(name, Stored(record.body_sha256, record.body_bytes, small))
        record.stored = True
        return Answer(fields=[("ETag", stored.etag)])

    def _put_part(self, query: dict[str, str], record: Request, spool: IO[bytes]) -> Answer:
        upload, number = self._upload(query), query.get("partNumber", "")
        if not number.isdigit() or not 1 <= int(number) <= 10000:
            raise Refused(400, "InvalidArgument", "Part number must be 1 to 10000")
        etag = f'"{record.body_sha256[:32]}"'
        with self._lock:
            replaced = upload.parts.get(int(number))
            upload.parts[int(number)] = etag, spool
        if replaced is not None:
            replaced[1].close()
        record.stored = True
        return Answer(fields=[("ETag", etag)])

    def _get(
        self, head: Head, name: tuple[str, str], query: dict[str, str], keys: KeyRing
    ) -> Answer:
        bucket, key = name
        if not key and "session" in query:
            made = keys.issue("express", seconds=300, bucket=bucket)
            return _xml("CreateSessionResult", credentials_xml(made))
        if not bucket:
            return _xml("ListAllMyBucketsResult", "<Buckets/>")
        if not key and "location" in query:
            return _xml("LocationConstraint", "")
        if not key:
            return Answer() if head.method == "HEAD" else self._list(bucket, query)
        matched = _GENERATED.fullmatch(key)
        if matched is not None:
            size = int(matched[1])
            return _ranged(
                head, size, lambda start, end: generated(end, start), f'"generated-{size}"'
            )
        stored = self._found(name)
        body = stored.body
        if body is None and head.method == "GET":
            raise Refused(501, "NotImplemented", "only the hash of a big object is kept")
        return _ranged(
            head, stored.size, lambda start, end: [(body or b"")[start:end]], stored.etag
        )

    def _found(self, name: tuple[str, str]) -> Stored:
        stored = self.stored.get(name)
        if stored is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        return stored

    def _list(self, bucket: str, query: dict[str, str]) -> Answer:
        prefix = query.get("prefix", "")
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{stored.size}</Size>"
            f"<ETag>{escape(stored.etag)}</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for (owner, key), stored in sorted(self.stored.items())
            if owner == bucket and key.startswith(prefix)
        )
        head = f"<Name>{escape(bucket)}</Name><Prefix>{escape(prefix)}</Prefix>"
        return _xml("ListBucketResult", f"{head}<IsTruncated>false</IsTruncated>{contents}")

    def _post(self, name: tuple[str, str], query: dict[str, str], record: Request) -> Answer:
        if "delete" in query:
            for key in re.findall(rb"<Key>([^<]*)</Key>", record.body or b""):
                self.stored.pop((name[0], key.decode()), None)
            return _xml("DeleteResult", "")
        place = f"<Bucket>{escape(name[0])}</Bucket><Key>{escape(name[1])}</Key>"
        if "uploads" in query:
            upload_id = secrets.token_hex(16)
            self._uploads[upload_id] = _Upload(name)
            return _xml("InitiateMultipartUploadResult", f"{place}<UploadId>{upload_id}</UploadId>")
        if "uploadId" not in query:
            raise Refused(405, "MethodNotAllowed", "no such POST")
        stored = self._complete(self._upload(query), record.body or b"")
        self._uploads.pop(query["uploadId"])
        record.stored = True
        return _xml("CompleteMultipartUploadResult", f"{place}<ETag>{escape(stored.etag)}</ETag>")

    def _complete(self, upload: _Upload, body: bytes) -> Stored:
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        if not numbers or numbers != sorted(set(numbers)):
            raise Refused(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        etags = [etag.decode() for etag in re.findall(rb"<ETag>([^<]*)</ETag>", body)]
        digest, size = hashlib.sha256(), 0
        for number, etag in zip(numbers, etags, strict=True):
            known = upload.parts.get(number)
            if known is None or etag.replace("&quot;", '"').strip('"') != known[0].strip('"'):
                raise Refused(400, "InvalidPart", "One or more of the parts could not be found.")
            known[1].seek(0)
            while piece := known[1].read(len(BLOCK)):
                digest.update(piece)
                size += len(piece)
        for _, spool in upload.parts.values():
            spool.close()
        return self.put(upload.name, Stored(digest.hexdigest(), size))

    def _upload(self, query: dict[str, str]) -> _Upload:
        upload = self._uploads.get(query.get("uploadId", ""))
        if upload is None:
            raise Refused(404, "NoSuchUpload", "The specified upload does not exist.")
        return upload


_SUBRESOURCES = {"acl", "tagging", "policy", "versioning", "retention", "legal-hold"}


def _query(head: Head) -> dict[str, str]:
    return dict(parse_qsl(head.query, keep_blank_values=True))


def _xml(element: str, inside: str) -> Answer:
    text = f'<{element} xmlns="{S3_XMLNS}">{inside}</{element}>'
    return Answer(body=b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode(), fields=[XML])


def _ranged(head: Head, size: int, cut: Cut, etag: str) -> Answer:
    fields = [("ETag", etag), ("Accept-Ranges", "bytes"), ("Content-Type", "binary/octet-stream")]
    fields.append(("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"))
    matched = re.fullmatch(r"bytes=(\d+)-(\d*)", head.get("range") or "")
    if matched is None:
        return Answer(200, cut(0, size), fields, size)
    start, end = int(matched[1]), min(int(matched[2] or size - 1) + 1, size)
    if start >= end:
        raise Refused(416, "InvalidRange", "The requested range is not satisfiable")
    fields.append(("Content-Range", f"bytes {start}-{end - 1}/{size}"))
    return Answer(206, cut(start, end), fields, end - start)
