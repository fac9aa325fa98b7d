"""TLS over memory: the client's side with leaf certificates of ours, the servers' verified.

The leaf's key is that of the issuing CA, as mitmproxy has it, so the one file that holds
it is read where it lies, and no key is written anywhere.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import certifi
from cachetools import LRUCache
from mitmproxy.certs import CertStore

from awsgate.server.certificates import STORE_CAP, covering_name, leaf_for
from awsgate.server.nameless import nameless, path_of

MAX_CONTEXTS = 500
"""A host name has a context of its own, about 60 KB. Those not used for longest go."""
MAX_SESSIONS = 2_000
MAX_HANDSHAKE_BYTES = 64 * 1024
"""Of what a client sends before it has proved to speak TLS."""
_PIECE = 16 * 1024  # a record holds no more


class _Asked(ssl.SSLObject):
    """Knows the server name that the client asked for."""

    name: str | None = None


class Tls:
    """One end of a TLS connection. Whatever raises ``ssl.SSLError`` is the end of it."""

    __slots__ = ("_in", "_out", "ended", "established", "object", "seen")

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._in, self._out, server_side, name, session)
        self.established = False
        self.ended = False
        """The other side has said that no more comes."""
        self.seen = 0
        """Bytes of the handshake."""

    def receive(self, data: bytes) -> bytes:
        """Take what came; give what it says. ``unsent`` may hold an answer afterwards."""
        self._in.write(data)
        if not self.established:
            self.seen += len(data)
            if not self.handshake():
                if self.seen > MAX_HANDSHAKE_BYTES:
                    raise ssl.SSLError("the handshake is too long")
                return b""
        read, left, held = self.object.read, self._in, self.object.pending
        pieces: list[bytes] = []
        try:
            while piece := read(_PIECE):
                pieces.append(piece)
                if not left.pending and not held():  # to be told so would cost an exception
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def handshake(self) -> bool:
        """Go on with the handshake; True once it is complete."""
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def send(self, data: bytes) -> bytes:
        """Give what to write for ``data``, and for all that is unsent."""
        sent, view = self.object.write(data), memoryview(data)
        while sent < len(data):
            sent += self.object.write(view[sent:])
        return self._out.read()

    def unsent(self) -> bytes:
        """Give what TLS itself has to say."""
        return self._out.read() if self._out.pending else b""

    def goodbye(self) -> bytes:
        """Give what to write at the end, so that the other side knows it is one."""
        if not self.established:
            return self.unsent()
        with suppress(ssl.SSLError, ValueError):  # it has not said so itself, and need not
            self.object.unwrap()
        return self.unsent()


class Leaves:
    """The client's side: a context for each name, made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._key = folder / "mitmproxy-ca.pem"
        # Not from_store(): that makes an unconstrained CA where there is none.
        self._store = CertStore.from_files(self._key, folder / "mitmproxy-dhparam.pem")
        self._store.STORE_CAP = STORE_CAP
        self._contexts: LRUCache[str, ssl.SSLContext] = LRUCache(maxsize=MAX_CONTEXTS)

    def begin(self, host: str) -> Tls:
        """Wait for a ClientHello; ``host`` is whom the client most likely asks for."""
        return Tls(self._context(host), server_side=True)

    def _context(self, host: str) -> ssl.SSLContext:
        covering = covering_name(host)
        context: ssl.SSLContext | None = self._contexts.get(covering)
        if context is None:
            context = self._contexts[covering] = self._made(covering)
        return context

    def _made(self, covering: str) -> ssl.SSLContext:
        entry = leaf_for(self._store, covering)
        chain = "".join(c.to_pem().decode("ascii") for c in (entry.cert, *entry.chain_certs))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 1
        context.set_alpn_protocols(["http/1.1"])
        context.sslobject_class = _Asked
        handle = nameless(chain.encode("ascii"))
        try:
            context.load_cert_chain(path_of(handle), self._key)
        finally:
            os.close(handle)

        def asked(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            tls.name = name  # type: ignore[attr-defined]
            if name and covering_name(name.lower()) != covering:
                tls.context = self._context(name.lower())

        context.sni_callback = asked
        return context


def asked_name(tls: Tls) -> str | None:
    """Give the server name that a client asked for, or None."""
    return getattr(tls.object, "name", None)


class Trust:
    """The servers' side: whom we believe, and sessions to go on with."""

    def __init__(self, trusted: Callable[[], str | None] = lambda: None) -> None:
        """``trusted`` gives a file of certificates, or none for the public roots.

        Asked anew for each connection: another login brings another file.
        """
        self._trusted = trusted
        self._of = ""
        self._forget(trusted() or "")

    def _forget(self, trusted: str) -> None:
        """Begin anew: what was proved by other roots is not proved by these."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if trusted != os.devnull:  # nothing at all is trusted
            context.load_verify_locations(trusted or certifi.where())
        context.set_alpn_protocols(["http/1.1"])
        self._context, self._of = context, trusted
        self._sessions: LRUCache[tuple[str, int, str], ssl.SSLSession] = LRUCache(MAX_SESSIONS)

    def begin(self, key: tuple[str, int, str]) -> Tls:
        """Begin a connection to ``(host, port, name)``: the name is what must be proved."""
        trusted = self._trusted() or ""
        if trusted != self._of:
            self._forget(trusted)
        name = key[2] or key[0]
        # A session holds good for the name it was proved for: the key has it.
        return Tls(self._context, server_side=False, name=name, session=self._sessions.get(key))

    def keep(self, key: tuple[str, int, str], tls: Tls) -> None:
        """Keep the session of a connection that has worked."""
        session = tls.object.session
        if tls.object.context is not self._context:
            return
        if session is not None and session.has_ticket:
            self._sessions[key] = session
