"""Where S3 takes a browser's upload: a form that is sent to its bucket, and no further.

S3 takes such a form for what its fields say, whatever the URL says besides. So a URL that
reads as another call is refused, and no call is told by it (``router``). Pure.

Source: "POST Object" and "Browser-Based Uploads Using POST", S3 API Reference: the form's
action is the URL of the bucket; the key is a field.
"""

from __future__ import annotations

import re

from awsgate.aws.endpoint import Endpoint

_TYPE = b"multipart/form-data"
_IN_PATH = re.compile(rb"/(?!\.{1,2}/?$)[A-Za-z0-9._-]{1,255}/?")


def is_upload(method: str, content_type: bytes) -> bool:
    """True if S3 may take a request for such a form, well-formed or not."""
    return method == "POST" and content_type.strip().lower().startswith(_TYPE)


def misplaced(endpoint: Endpoint, target: bytes) -> str:
    """Say what a form's target has and may not have; empty: it is a bucket's."""
    path, _, query = target.partition(b"?")
    if query:
        return "a query"
    if endpoint.kind not in ("bucket", "accesspoint"):
        return "a host that has no buckets"
    at_bucket = path == b"/" if endpoint.bucket else _IN_PATH.fullmatch(path)
    return "" if at_bucket else "a path that is not the bucket's"
