"""Whom the core believes when another login brings another root."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from awsgate.server.core.tls import Tls, Trust
from awsgate.servercert import ServerCertificate, ensure_server_certificate
from signers import WHEN

KEY = ("localhost", 8443, "localhost")


@dataclass
class Trusted:
    """The file that is trusted now."""

    path: str

    def __call__(self) -> str:
        return self.path


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> list[ServerCertificate]:
    return [
        ensure_server_certificate(tmp_path_factory.mktemp(name), ["localhost"], None, now=WHEN)
        for name in ("one", "two")
    ]


def root_of(made: ServerCertificate) -> str:
    return str(made.cert.parent / "gateway-root.pem")


def meet(trust: Trust, made: ServerCertificate) -> Tls:
    """Shake hands in memory. Raises ``ssl.SSLError``."""
    near, far = trust.begin(KEY), Tls(_serving(made), server_side=True)
    near.handshake()
    for _ in range(8):
        if near.established and far.established:
            break
        for one, other in ((near, far), (far, near)):
            if data := one.unsent():
                other.receive(data)
    near.receive(far.send(b"x"))  # the tickets come with it
    trust.keep(KEY, near)
    return near


def _serving(made: ServerCertificate) -> ssl.SSLContext:
    found = _CONTEXTS.get(made.cert)
    if found is None:
        found = _CONTEXTS[made.cert] = made.context()
    return found


_CONTEXTS: dict[Path, ssl.SSLContext] = {}


def test_another_file_is_believed_from_the_next_connection_on(
    servers: list[ServerCertificate],
) -> None:
    one, two = servers
    trusted = Trusted(root_of(one))
    trust = Trust(trusted)
    meet(trust, one)
    with pytest.raises(ssl.SSLCertVerificationError):
        meet(trust, two)

    trusted.path = root_of(two)

    meet(trust, two)
    with pytest.raises(ssl.SSLCertVerificationError):
        meet(trust, one)


def test_a_session_that_other_roots_proved_is_not_gone_on_with(
    servers: list[ServerCertificate],
) -> None:
    """A resumed session is not verified again, so it must not outlive what proved it."""
    one, two = servers
    trusted = Trusted(root_of(one))
    trust = Trust(trusted)
    meet(trust, one)
    assert meet(trust, one).object.session_reused

    trusted.path = root_of(two)

    with pytest.raises(ssl.SSLCertVerificationError):
        meet(trust, one)


def test_a_session_that_ends_after_its_roots_have_changed_is_not_kept(
    servers: list[ServerCertificate],
) -> None:
    """The handshake was of the roots before, and its tickets came with the answer."""
    one, two = servers
    trusted = Trusted(root_of(one))
    trust = Trust(trusted)
    before = meet(trust, one)
    trusted.path = root_of(two)
    trust.begin(("other", 443, "other"))

    trust.keep(KEY, before)

    assert not meet(trust, two).object.session_reused


def test_without_a_root_nobody_is_believed(servers: list[ServerCertificate]) -> None:
    trust = Trust(Trusted(os.devnull))

    with pytest.raises(ssl.SSLCertVerificationError):
        meet(trust, servers[0])
