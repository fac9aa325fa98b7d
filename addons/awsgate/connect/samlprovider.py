"""Where a connector's identity provider is known from: its metadata, or the document itself.

Metadata at a URL is fetched when the first login needs it, anew when it is old, and at once
when an answer has a signature that no known key made: providers change their keys. A file
is read anew too. A gateway starts without its providers, and not without its files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx

from awsgate.connect.fetching import Remembered, TooMuch, answering, body_of
from awsgate.connect.samlmetadata import (
    MAX_METADATA_BYTES,
    Provider,
    provider_by_hand,
    read_metadata,
)
from awsgate.connect.ways import LoginRefused
from awsgate.errors import SetupError
from awsgate.policy.connectors import SamlSpec

_FILE = "file://"


class ProviderSource:
    """Gives the provider of one connector, as it is now."""

    def __init__(
        self, spec: SamlSpec, *, http: httpx.AsyncClient, clock: Callable[[], float]
    ) -> None:
        """Raise ``SetupError`` if what the document itself says cannot be used."""
        self._spec = spec
        self._http = http
        self._clock = clock
        self._by_hand = None if spec.entity_descriptor_url else self._of_document()
        self._remembered = Remembered(self._load, clock)

    async def get(self, *, newer: bool = False) -> Provider:
        """Give the provider. Raises ``LoginRefused`` (provider-failed)."""
        if self._by_hand is not None and not self._spec.entity_descriptor.startswith(_FILE):
            return self._by_hand
        return await self._remembered.get(newer=newer)

    def _of_document(self) -> Provider:
        text = self._spec.entity_descriptor
        if not text:
            return provider_by_hand(self._spec)
        try:
            return self._read(_file(text) if text.startswith(_FILE) else text.encode())
        except (ValueError, OSError) as exc:
            said = (exc.strerror if isinstance(exc, OSError) else str(exc)) or type(exc).__name__
            raise SetupError(
                f"entity_descriptor of a saml connector: {said}",
                hint="it is the provider's metadata in XML, or file:///path of it",
            ) from None

    async def _load(self) -> Provider:
        try:
            if self._spec.entity_descriptor_url:
                return self._read(await self._fetch(self._spec.entity_descriptor_url))
            return self._read(await asyncio.to_thread(_file, self._spec.entity_descriptor))
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as exc:
            raise _failed(f"cannot be read ({type(exc).__name__})") from exc
        except ValueError as exc:
            raise _failed(f"cannot be used: {exc}") from None

    def _read(self, text: bytes) -> Provider:
        return read_metadata(text, issuer=self._spec.issuer, now=self._clock())

    async def _fetch(self, url: str) -> bytes:
        headers = {"accept-encoding": "identity"}
        try:
            async with answering(self._http, "GET", url, headers) as answer:
                if answer.status_code != 200:
                    raise ValueError(f"its URL answered with status {answer.status_code}")
                return await body_of(answer, MAX_METADATA_BYTES)
        except TooMuch:
            raise ValueError(f"it is longer than {MAX_METADATA_BYTES} bytes") from None


def _file(text: str) -> bytes:
    path = Path(text.removeprefix(_FILE))
    if not path.is_absolute():
        raise ValueError("file:// is followed by the whole path, with a third slash")
    with path.open("rb") as file:
        return file.read(MAX_METADATA_BYTES + 1)


def _failed(what: str) -> LoginRefused:
    return LoginRefused(
        "provider-failed",
        f"the metadata of the identity provider {what}",
        hint="try again; if it stays so, the gateway's operator has to look",
    )
