"""One request and its answer: head, signature, body, operation, in this order."""

from __future__ import annotations

import time
from typing import IO, TYPE_CHECKING

from aws_server import answers, objects, special, sts, websocket
from aws_server.chunks import STREAMING, Payload, check_plain, read_chunked, read_plain
from aws_server.events import EVENTS, read_events
from aws_server.forms import Form, boundary_of, read_file, read_form
from aws_server.hosts import Endpoint, expected
from aws_server.http1 import Answer, Body, read_head, write
from aws_server.model import KEPT_BYTES, S3_FAMILY, Fault, Head, Refused, Request
from aws_server.verify import UNSIGNED, Signed, claim_of, verify

if TYPE_CHECKING:
    from aws_server.server import StrictAws

_UNSIGNED_TARGETS = {
    "AWSCognitoIdentityService.GetCredentialsForIdentity",
    "AWSCognitoIdentityService.GetId",
    "AWSCognitoIdentityService.GetOpenIdToken",
}
_UNSIGNED_HOSTS = ("cognito-idp.", "oidc.", "portal.sso.")


def exchange(aws: StrictAws, rfile: IO[bytes], wfile: IO[bytes]) -> bool:
    """Answer one request. True if the connection goes on."""
    try:
        head = read_head(rfile)
    except Fault as fault:
        head = Head("?", "/", ())
        aws.requests.append(Request("?", "", (), "", fault=fault.name, detail=fault.detail))
        write(wfile, answers.error(head, "", fault, close=True), with_body=True)
        return False
    if head is None:
        return False
    record = Request(head.method, head.target, head.fields, head.host)
    aws.requests.append(record)
    answer = _Exchange(aws, head, record, rfile, wfile).answer()
    if (head.get("connection") or "").lower() == "close":
        answer.close = True
    record.status = answer.status
    write(wfile, answer, with_body=head.method != "HEAD")
    if answer.status == 101:
        websocket.echo(rfile, wfile, record)
        return False
    return not answer.close


class _Exchange:
    def __init__(
        self, aws: StrictAws, head: Head, record: Request, rfile: IO[bytes], wfile: IO[bytes]
    ) -> None:
        self._aws, self._head, self._record = aws, head, record
        self._rfile, self._wfile = rfile, wfile
        self._body: Body | None = None
        self._payload: Payload | None = None
        self._spool: IO[bytes] | None = None

    def answer(self) -> Answer:
        """Give the answer, and note in the record what was found."""
        record = self._record
        try:
            answer = self._checked()
        except Fault as fault:
            record.fault, record.detail = fault.name, fault.detail
            answer = answers.error(self._head, record.service, fault, close=self._abandon(fault))
        except Refused as refused:
            answer = answers.error(self._head, record.service, refused)
        finally:
            self._note()
        return answer

    def _note(self) -> None:
        if self._payload is not None:
            self._payload.close()
        if self._body is not None:
            self._body.close()
        if self._spool is not None and not self._record.stored:
            self._spool.close()

    def _abandon(self, fault: Fault) -> bool:
        """After a fault, take in the rest of the body if that is safe. True: close instead."""
        body = self._body
        if body is None or fault.name in ("body-truncated", "bad-request"):
            return True
        if body.untouched and not self._head.values("expect"):
            # The head was wrong: nothing in the body matters any more, but it is recorded.
            self._payload = self._payload or Payload(Head("", "", ()), self._record)
            try:
                read_plain(body, self._payload)
            except (Fault, OSError):
                return True
            return False
        return not body.untouched or body.is_chunked or bool(body.length)

    def _checked(self) -> Answer:
        head, aws, record = self._head, self._aws, self._record
        self._body = Body(self._rfile, head, record, self._continue)
        if len(head.values("host")) != 1:
            raise Fault("host-not-once")
        endpoint = expected(head.host, aws.hosts)
        if endpoint is None:
            raise Fault("host-unknown", head.host[:128])
        self._note_claim(endpoint)
        boundary = boundary_of(head)
        if boundary is not None and not head.values("authorization"):
            return self._form(boundary, endpoint, self._body)
        signed = verify(head, endpoint, aws.keys.identities, aws.clock())
        if signed is not None:
            record.session_name = signed.identity.session_name
        if websocket.is_upgrade(head):
            return self._upgrade(signed)
        if special.is_early(head):
            return special.early()
        return self._with_body(endpoint, signed, self._body)

    def _continue(self) -> None:
        if "100-continue" in (self._head.get("expect") or "").lower():
            self._wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._wfile.flush()

    def _note_claim(self, endpoint: Endpoint) -> None:
        """Note who it says it is, right or wrong."""
        record = self._record
        if len(endpoint.services) == 1:
            (record.service,) = endpoint.services
        claim = claim_of(self._head)
        if claim is not None:
            record.access_key_id, record.service = claim.access_key_id, claim.service
            record.region, record.auth, record.algorithm = (
                claim.region,
                claim.where,
                claim.algorithm,
            )
            identity = self._aws.keys.identities.get(claim.access_key_id)
            record.session_name = identity.session_name if identity else ""

    def _form(self, boundary: bytes, endpoint: Endpoint, body: Body) -> Answer:
        aws, record, head = self._aws, self._record, self._head
        record.auth = record.payload_mode = "form"
        record.service = "s3"
        self._require_length(body)
        bucket, _ = objects.locate(head, endpoint)
        keys = aws.keys.identities
        form = read_form(body, boundary, bucket, endpoint, keys, aws.clock())
        record.access_key_id = form.identity.access_key_id
        record.session_name, record.region = form.identity.session_name, form.region
        sums = tuple((n, v) for n, v in form.fields.items() if n.startswith("x-amz-checksum-"))
        self._payload = payload = Payload(Head("", "", sums), record, keep=aws.keep_bodies)
        read_file(body, boundary, form, payload)
        payload.close()
        payload.check_checksums({})
        return self._store_file(form)

    def _store_file(self, form: Form) -> Answer:
        record = self._record
        small = record.body if record.body_bytes <= KEPT_BYTES else None
        name = (form.bucket, form.fields["key"])
        stored = objects.Stored(record.body_sha256, record.body_bytes, small)
        self._aws.store.put(name, stored)
        record.stored = True
        status = form.fields.get("success_action_status", "204")
        return Answer(
            int(status) if status in ("200", "201") else 204, fields=[("ETag", stored.etag)]
        )

    def _upgrade(self, signed: Signed | None) -> Answer:
        if signed is None:
            raise Fault("authorization-missing")
        if signed.declared is None:
            signed.finish(objects.EMPTY_SHA256)
        self._record.payload_mode = "hash"
        return websocket.handshake(self._head)

    def _with_body(self, endpoint: Endpoint, signed: Signed | None, body: Body) -> Answer:
        head, record, aws = self._head, self._record, self._aws
        if signed is None and record.service in S3_FAMILY:
            self._require_anonymous(endpoint)
        if record.service in S3_FAMILY and head.method == "PUT":
            self._require_length(body)
        self._payload = payload = Payload(head, record, keep=aws.keep_bodies)
        self._spool = aws.store.spool_for(head, payload) if record.service in S3_FAMILY else None
        self._read_body(signed, body, payload)
        payload.close()
        record.arrivals = record.arrivals or [time.time()]
        if signed is None and record.service not in S3_FAMILY:
            self._require_unsigned_operation()
        return special.answer(head) or self._operation(endpoint, signed)

    def _read_body(self, signed: Signed | None, body: Body, payload: Payload) -> None:
        declared = signed.declared if signed else None
        record = self._record
        is_s3 = record.service in S3_FAMILY
        if signed and declared in STREAMING and is_s3:
            record.payload_mode = declared
            read_chunked(self._head, declared, body, payload, signed)
            return
        if signed and declared == EVENTS and not is_s3:
            record.payload_mode = declared
            read_events(body, payload, signed)
            return
        record.payload_mode = "unsigned" if declared == UNSIGNED or signed is None else "hash"
        read_plain(body, payload)
        payload.close()
        check_plain(self._head, payload, signed)

    def _require_length(self, body: Body) -> None:
        # S3 takes no body of unknown length; aws-chunked over HTTP's chunks says its length.
        if body.length is None and not self._head.values("x-amz-decoded-content-length"):
            raise Fault("length-missing")

    def _require_anonymous(self, endpoint: Endpoint) -> None:
        bucket, _ = objects.locate(self._head, endpoint)
        if bucket not in self._aws.anonymous_buckets or self._head.method not in ("GET", "HEAD"):
            raise Fault("authorization-missing")

    def _require_unsigned_operation(self) -> None:
        head, record = self._head, self._record
        if record.service in ("", "sts"):
            action = sts.parameters(head, record.body).get("Action")
            if action in sts.UNSIGNED_ACTIONS:
                record.service = "sts"
                return
        target = head.get("x-amz-target") or ""
        if target not in _UNSIGNED_TARGETS and not head.host.startswith(_UNSIGNED_HOSTS):
            raise Fault("authorization-missing")

    def _operation(self, endpoint: Endpoint, signed: Signed | None) -> Answer:
        head, record, aws = self._head, self._record, self._aws
        if record.service in S3_FAMILY:
            return aws.store.answer(head, endpoint, record, aws.keys, self._spool)
        if record.service == "sts":
            params = sts.parameters(head, record.body)
            return sts.answer(params, signed.identity if signed else None, aws.keys)
        return answers.other_service(head, record.body)
