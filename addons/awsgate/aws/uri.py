"""The canonical URI of a signature: what a path is signed as, by AWS's rules and clients' habits.

Source: "Create a signed AWS API request", IAM User Guide; for S3 also "Signature
Calculations for the Authorization Header", S3 API Reference. Pure.
"""

from __future__ import annotations

import re
from urllib.parse import quote_from_bytes

# "Each path segment must be URI-encoded twice (except for Amazon S3 which only
# gets URI-encoded once)", and S3 alone does not normalise: `a//b` is a key.
EXACT_PATH_SERVICES = frozenset({"s3", "s3express", "s3-object-lambda", "s3-outposts"})


def normalise_path(path: bytes) -> bytes:
    """Remove dot segments and empty segments, as AWS does for all but S3.

    RFC 3986, section 5.2.4, and "AWS services require consecutive slashes to be
    removed" (botocore). A trailing slash stays.
    """
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment not in (b"", b"."):
            kept.append(segment)
    if not kept:
        return b"/"
    return b"/" + b"/".join(kept) + (b"/" if path.endswith(b"/") else b"")


def canonical_path(path: bytes, service: str, *, normalise: bool = True) -> bytes:
    """Give the canonical URI of a wire path (without the query).

    S3: the bytes of the wire, untouched. Others: normalised unless ``normalise`` is
    false (Go signs without), and every byte that is not unreserved encoded once
    more, so ``%3A`` on the wire is ``%253A`` here.
    """
    if service in EXACT_PATH_SERVICES:
        return path or b"/"
    if normalise:
        path = normalise_path(path)
    return quote_from_bytes(path or b"/", safe="/~").encode()


# A "+" stays: S3 reads it as itself in a path, older clients as a space.
_TO_ENCODE = re.compile(rb"[^A-Za-z0-9._~/%+-]")


def encoded_path(path: bytes) -> bytes:
    """Give S3's path with every byte encoded that ought to be and is not.

    It names the same object: ``/it's`` is ``/it%27s``. OpenDAL and aws4fetch send the one
    and sign the other, and S3 takes that, since it signs what it has decoded.
    """
    return _TO_ENCODE.sub(lambda byte: b"%%%02X" % byte[0][0], path)


def signed_paths(path: bytes, service: str) -> set[bytes]:
    """Give each canonical URI that some client signs for a wire path."""
    paths = {canonical_path(path, service, normalise=n) for n in (True, False)}
    if service in EXACT_PATH_SERVICES:
        paths.add(encoded_path(path or b"/"))
    return paths
