"""Signatures and encryption of SAML answers: pysaml2's, over the program xmlsec1.

pysaml2 checks a signature against SAML's schemas and profile of XML Signature, and asks
xmlsec1 if it holds. Its client is not used: it takes its own time from the system's clock,
accepts assertions without audience or end, and says what is wrong in words alone. What an
assertion must say is in ``samlassertion``. How xmlsec1 is run is ours too: with a bound in
time, and its files in a folder that is gone afterwards.

Blocks: xmlsec1 is a process, of at most ``TIMEOUT_S``. Needs the extra ``saml``.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from saml2 import SAMLError, extension_elements_to_elements, saml, samlp
from saml2.sigver import CryptoBackend, SecurityContext, XmlsecError
from saml2.validate import NotValid

from awsgate.connect.samlform import Answer, refuse
from awsgate.errors import SetupError

TIMEOUT_S = 10.0
PROGRAM = "xmlsec1"
_ENV = {"LC_ALL": "C"}
_VERIFIED = frozenset({"OK", "Verification status: OK"})  # until 1.2, and from 1.3 on
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
    with TemporaryDirectory(prefix="awsgate-saml-") as folder:
        keys = _Keys(issuer, [_File(_pem(Path(folder), text)) for text in certificates])
        context = SecurityContext(backend, metadata=keys, only_use_keys_in_metadata=True)
        try:
            response = samlp.response_from_string(answer.text)
            item = response if whole else _assertion_of(response)
            context.check_signature(item, f"{item.c_namespace}:{item.c_tag}", origdoc=answer.text)
        except (SAMLError, NotValid, AttributeError, ValueError, TypeError, LookupError):
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
    try:
        return _Xmlsec(program).decrypt(answer.text, key)
    except XmlsecError:
        refuse(
            "not-decrypted",
            "the assertion is not encrypted to the key of this connector",
            hint="give the provider the certificate of assertion_key_pair",
        )


def _assertion_of(response: Any) -> Any:
    if response.assertion:
        return response.assertion[0]
    elements = response.encrypted_assertion[0].extension_elements
    found = extension_elements_to_elements(elements, [saml])
    return next(e for e in found if isinstance(e, saml.Assertion))


def _pem(folder: Path, text: str) -> str:
    path = folder / f"{len(list(folder.iterdir()))}.pem"
    path.write_text(f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    return str(path)


@dataclass(frozen=True, slots=True)
class _File:
    """A file, as far as pysaml2 asks."""

    name: str


class _Keys:
    """As pysaml2 asks metadata: the keys of one provider."""

    def __init__(self, issuer: str, files: list[_File]) -> None:
        self._issuer = issuer
        self._files = files

    def certs(self, issuer: str, _descriptor: str, _use: str) -> list[tuple[None, _File]]:
        """Give name and certificate of the keys that ``issuer`` signs with."""
        return [(None, file) for file in self._files] if issuer == self._issuer else []


class _Xmlsec(CryptoBackend):  # type: ignore[misc]  # pysaml2 is untyped
    """xmlsec1, as pysaml2 asks it."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program
        self.found_tampered = False

    def validate_signature(
        self, signedtext: bytes, cert_file: str, cert_type: str, node_name: str, node_id: str
    ) -> bool:
        """Give True if the signature in the node holds. Raises ``XmlsecError`` if not."""
        arguments = [
            *("--verify", "--enabled-reference-uris", "same-doc"),
            # The key of the certificate that is given, and none that lies by the signature.
            *("--enabled-key-data", "raw-x509-cert", f"--pubkey-cert-{cert_type}", cert_file),
            *("--id-attr:ID", node_name, "--node-id", node_id),
        ]
        with TemporaryDirectory(prefix="awsgate-saml-") as folder:
            done = self._run(arguments, signedtext, Path(folder))
        said = done.stderr.decode("utf-8", "replace")
        if done.returncode == 0 and _VERIFIED.intersection(said.splitlines()):
            return True
        self.found_tampered |= "References (ok/all): 0/1" in said
        raise XmlsecError("the signature does not hold")

    def decrypt(self, enctext: bytes, key: str) -> bytes:
        """Give the document with what is encrypted opened. Raises ``XmlsecError`` if it is not."""
        with TemporaryDirectory(prefix="awsgate-saml-") as name:
            folder = Path(name)
            (folder / "key.pem").touch(mode=0o600)
            (folder / "key.pem").write_text(key)
            arguments = [
                *("--decrypt", "--enabled-cipher-reference-uris", "same-doc"),
                *("--privkey-pem", str(folder / "key.pem"), "--id-attr:Id", "EncryptedKey"),
            ]
            done = self._run(arguments, enctext, folder)
            if done.returncode != 0:
                raise XmlsecError("it is not encrypted to this key")
            return (folder / "out.xml").read_bytes()

    def _run(
        self, arguments: list[str], text: bytes, folder: Path
    ) -> subprocess.CompletedProcess[bytes]:
        source = folder / "in.xml"
        source.write_bytes(text)
        lax = ["--lax-key-search"] if _version(self._program) >= (1, 3) else []
        command = [self._program, *arguments, *lax, "--output", str(folder / "out.xml")]
        try:
            done = subprocess.run(  # noqa: S603 - a program by its path, and our own files
                [*command, str(source)],
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
                env=_ENV,
            )
        except (subprocess.TimeoutExpired, OSError) as exc:
            raise XmlsecError(f"{PROGRAM}: {type(exc).__name__}") from None
        if b"Usage: xmlsec" in done.stdout:
            raise RuntimeError(f"this version of {PROGRAM} does not know an option of ours")
        return done


@cache
def _version(program: str) -> tuple[int, ...]:
    """Give the version that ``xmlsec1 --version`` says: ``xmlsec1 1.2.37 (openssl)``."""
    done = subprocess.run(  # noqa: S603 - a program by its path
        [program, "--version"], capture_output=True, timeout=TIMEOUT_S, check=False, env=_ENV
    )
    words = done.stdout.decode("ascii", "replace").split()
    numbers = words[1].split(".") if len(words) > 1 else []
    return tuple(int(number) for number in numbers if number.isdigit())
