"""What S3's DeleteObjects deletes: the keys in its body.

Only the plainest XML is read: no other encoding, no entity of the document's own, no
comment, nothing in which two readers could differ. Total and pure.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

_MEMBERS = frozenset({"Key", "VersionId", "ETag", "LastModifiedTime", "Size"})
MAX_BYTES = 2 * 1024 * 1024  # a thousand keys of a kilobyte, and their markup
_PROLOGUES = (b'<?xml version="1.0" encoding="UTF-8"?>', b"<?xml version='1.0' encoding='UTF-8'?>")


def deletions(body: bytes | None) -> list[tuple[str, bool]] | None:
    """Give the key of each object, and whether one version of it is named; None: unclear."""
    if not body or len(body) > MAX_BYTES:
        return None
    text = body
    for prologue in _PROLOGUES:
        text = text.removeprefix(prologue)
    if b"<!" in text or b"<?" in text or b"\0" in text:
        return None
    try:
        root = ET.fromstring(text.decode("utf-8"))  # noqa: S314 - no DTD, see above
    except (ET.ParseError, UnicodeDecodeError):
        return None
    found = []
    for child in root:
        if _tag(child) == "Quiet" and not len(child):
            continue
        names = [_tag(part) for part in child]
        if _tag(child) != "Object" or names.count("Key") != 1 or not _MEMBERS.issuperset(names):
            return None
        if any(len(part) for part in child):
            return None
        key = next(part.text or "" for part in child if _tag(part) == "Key")
        found.append((key, not {"Key"}.issuperset(names)))
    return found if found and _tag(root) == "Delete" else None


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
