"""Signatures and encryption of SAML answers: pysaml2's, over the program xmlsec1.

pysaml2 gives its own checks of a signature (SAML's schemas, one reference, enveloped) and
knows how xmlsec1 is to be asked. Its client is not used: it takes its own time from the
system's clock, accepts assertions without audience or end, and says what is wrong in words
alone. What an assertion must say is in ``samlassertion``.

Blocks: xmlsec1 is a process, of at most ``TIMEOUT_S``. Needs the extra ``saml``.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from saml2 import extension_elements_to_elements, saml, samlp
from saml2.sigver import CryptoBackendXmlSec1, SAMLError, SecurityContext, XmlsecError
from saml2.validate import NotValid

from awsgate.connect.samlform import Answer, refuse
from awsgate.errors import SetupError

TIMEOUT_S = 10.0
PROGRAM = "xmlsec1"
# At a signature pysaml2 says as much itself; and ``samlform`` refuses all that refers elsewhere.
_NOTHING_FETCHED = ("--enabled-cipher-reference-uris", "empty,same-doc")
_ENV = {"LC_ALL": "C"}
# It logs assertions and, at error, what xmlsec1 said of them: all of it is refused in our words.
logging.getLogger("saml2").setLevel(logging.CRITICAL + 1)


def find_program() -> str:
    """Give the path of xmlsec1. Raises ``SetupError`` if it is not there."""
    path = shutil.which(PROGRAM)
    if path is None:
        raise SetupError(
            f"a saml connector needs the program {PROGRAM}, and it is not on PATH",
            hint="install it: apt-get install xmlsec1, dnf install xmlsec1-openssl",
        )
    return path


def check_signature(
    answer: Answer, *, whole: bool, issuer: str, certificates: Sequence[str], program: str
) -> None:
    """Check the signature of the ``whole`` answer, or of its assertion. Raises ``LoginRefused``."""
    backend = _Xmlsec(program)
    context = SecurityContext(
        backend, metadata=_Keys(issuer, certificates), only_use_keys_in_metadata=True
    )
    try:
        response = samlp.response_from_string(answer.text)
        item = response if whole else _assertion_of(response)
        context.check_signature(item, f"{item.c_namespace}:{item.c_tag}", origdoc=answer.text)
    except (SAMLError, NotValid, AttributeError, ValueError, TypeError, KeyError):
        # Not from it: pysaml2's exceptions hold the document.
        pass
    else:
        return
    if backend.found_tampered:
        refuse("tampered", "the answer was changed after the provider signed it")
    refuse(
        "bad-signature",
        "the answer is not signed with a key of the identity provider",
        hint="the connector may have an old certificate of the provider",
    )


def decrypt(answer: Answer, *, key: str, program: str) -> bytes:
    """Give the answer with what was encrypted to ``key`` (PEM) in its place.

    Raises ``LoginRefused``.
    """
    context = SecurityContext(_Xmlsec(program), metadata=_Keys("", ()), enc_key_files=[])
    try:
        decrypted: str = context.decrypt_keys(answer.text.decode(), keys=[key])
    except (SAMLError, ValueError):
        refuse(
            "not-decrypted",
            "the assertion is not encrypted to the key of this connector",
            hint="give the provider the certificate of assertion_key_pair",
        )
    return decrypted.encode()


def _assertion_of(response: Any) -> Any:
    if response.assertion:
        return response.assertion[0]
    elements = response.encrypted_assertion[0].extension_elements
    found = extension_elements_to_elements(elements, [saml])
    return next(e for e in found if isinstance(e, saml.Assertion))


class _Keys:
    """As pysaml2 asks metadata: the keys of one provider."""

    def __init__(self, issuer: str, certificates: Sequence[str]) -> None:
        self._issuer = issuer
        self._certificates = certificates

    def certs(self, issuer: str, _descriptor: str, _use: str) -> list[tuple[None, str]]:
        """Give name and certificate of the keys that ``issuer`` signs with."""
        return [(None, text) for text in self._certificates] if issuer == self._issuer else []


class _Xmlsec(CryptoBackendXmlSec1):  # type: ignore[misc]  # pysaml2 is untyped
    """xmlsec1 as pysaml2 asks it, with a bound in time, and kept to the document."""

    _versions: tuple[int, ...] | None = None

    def __init__(self, program: str) -> None:
        super().__init__(program)
        self.found_tampered = False

    @property
    def version_nums(self) -> tuple[int, ...]:
        """Give xmlsec1's version, asked once: pysaml2 would ask each time."""
        if _Xmlsec._versions is None:
            _Xmlsec._versions = super().version_nums
        return _Xmlsec._versions

    def _run_xmlsec(self, com_list: list[str], extra_args: list[str]) -> tuple[str, str, bytes]:
        bounds = _NOTHING_FETCHED if com_list[1] == "--decrypt" else ()
        lax = ["--lax-key-search"] if self.version_nums >= (1, 3) else []
        with NamedTemporaryFile(suffix=".xml") as output:
            command = [*com_list, *bounds, "--output", output.name, *lax, *extra_args]
            try:
                done = subprocess.run(  # noqa: S603 - a program by its path, and our own files
                    command,
                    capture_output=True,
                    timeout=TIMEOUT_S,
                    check=False,
                    env={"LC_ALL": "C"},
                )
            except (subprocess.TimeoutExpired, OSError) as exc:
                raise XmlsecError(f"xmlsec1: {type(exc).__name__}") from None
            said = done.stderr.decode("utf-8", "replace")
            if b"Usage: xmlsec" in done.stdout:
                raise RuntimeError(f"this version of {PROGRAM} does not know an option of ours")
            if done.returncode != 0:
                self.found_tampered |= "SignedInfo References (ok/all): 0/1" in said
                raise XmlsecError("xmlsec1 said no")
            return done.stdout.decode("utf-8", "replace"), said, Path(output.name).read_bytes()
