"""pysaml2's own identity provider, as a process of its own, with a form to log in.

    python samlidp.py FOLDER PORT ENCRYPT

FOLDER has idp.key, idp.crt and the metadata of the service provider, sp.xml. ENCRYPT is
empty, ``cbc`` or ``gcm``. Serves /metadata, /sso and /login on 127.0.0.1.
"""

from __future__ import annotations

import functools
import html
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from samlforge import BLOCK, pair

PASSWORD = "right"
PEOPLE: dict[str, dict[str, list[str]]] = {
    "ann": {"mail": ["ann@example.com"], "groups": ["admins", "staff"]},
    "bob": {"mail": ["bob@example.com"], "groups": ["staff"]},
    "eve": {"mail": ["eve@example.com"], "groups": ["visitors"]},
}
SESSION_S = 1800
FORM = """<!DOCTYPE html><title>log in</title>
<form method="post" action="/login">
<input name="login"><input name="password" type="password">
<input type="hidden" name="SAMLRequest" value="{request}">
<input type="hidden" name="RelayState" value="{state}">
<button id="go">log in</button></form><p>{said}</p>"""


class Provider:
    """The running provider, as tests see it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.metadata = url + "/metadata"


@contextmanager
def saml_provider(folder: Path, sp_metadata: bytes, port: int, encrypt: str) -> Iterator[Provider]:
    """Run it for one service provider."""
    folder.mkdir()
    (folder / "idp.key").write_text(pair("saml-idp").key)
    (folder / "idp.crt").write_text(pair("saml-idp").cert)
    (folder / "sp.xml").write_bytes(sp_metadata)
    program = [sys.executable, __file__, str(folder), str(port), encrypt]
    with (folder / "log").open("wb") as log:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        process = subprocess.Popen(program, stdout=log, stderr=log, env=environment)
        try:
            made = Provider(f"http://127.0.0.1:{port}")
            _wait(made, process, folder / "log")
            yield made
        finally:
            process.terminate()
            process.wait(20)


def _wait(provider: Provider, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(provider.metadata, trust_env=False).raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the provider did not start: {log.read_text()}")


# -- the process ------------------------------------------------------------------


def make_server(folder: Path, url: str, encrypt: str) -> Any:
    """Give pysaml2's provider for the one service provider."""
    import saml2.entity
    from saml2 import BINDING_HTTP_REDIRECT
    from saml2.config import IdPConfig
    from saml2.saml import NAME_FORMAT_BASIC, NAMEID_FORMAT_EMAILADDRESS
    from saml2.server import Server

    config = IdPConfig().load(
        {
            "entityid": url + "/metadata",
            "xmlsec_binary": shutil.which("xmlsec1"),
            "key_file": str(folder / "idp.key"),
            "cert_file": str(folder / "idp.crt"),
            "metadata": {"local": [str(folder / "sp.xml")]},
            "service": {
                "idp": {
                    "endpoints": {
                        "single_sign_on_service": [(url + "/sso", BINDING_HTTP_REDIRECT)]
                    },
                    "name_id_format": [NAMEID_FORMAT_EMAILADDRESS],
                    "policy": {
                        "default": {
                            "lifetime": {"minutes": 5},
                            "attribute_restrictions": None,
                            "name_form": NAME_FORMAT_BASIC,
                        }
                    },
                    # As metadata of the service provider has it.
                    "want_authn_requests_signed": b'AuthnRequestsSigned="true"'
                    in (folder / "sp.xml").read_bytes(),
                }
            },
        }
    )
    server = Server(config=config)
    if encrypt:
        # By default it encrypts with 3DES, which the gateway refuses.
        saml2.entity.pre_encryption_part = functools.partial(
            saml2.entity.pre_encryption_part, msg_enc=BLOCK[encrypt]
        )
        server.sec.encrypt_assertion = functools.partial(
            server.sec.encrypt_assertion, key_type="aes-256"
        )
    return server


def answer_of(server: Any, query: dict[str, str], login: str, encrypt: str) -> str:
    """Give the page that posts the answer to the service provider."""
    from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
    from saml2.authn_context import PASSWORD as BY_PASSWORD
    from saml2.saml import NAMEID_FORMAT_EMAILADDRESS, NameID
    from saml2.time_util import in_a_while
    from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

    asked = server.parse_authn_request(query["SAMLRequest"], BINDING_HTTP_REDIRECT)
    arguments = server.response_args(asked.message, [BINDING_HTTP_POST])
    arguments.pop("name_id_policy", None)
    binding, destination = arguments.pop("binding"), arguments["destination"]
    person = PEOPLE[login]
    text = server.create_authn_response(
        {"mail": person["mail"], "groups": person["groups"]},
        name_id=NameID(format=NAMEID_FORMAT_EMAILADDRESS, text=person["mail"][0]),
        authn={"class_ref": BY_PASSWORD, "authn_auth": server.config.entityid},
        sign_assertion=True,
        sign_response=False,
        sign_alg=SIG_RSA_SHA256,  # by default it signs with SHA-1, which the gateway refuses
        digest_alg=DIGEST_SHA256,
        encrypt_assertion=bool(encrypt),
        session_not_on_or_after=in_a_while(seconds=SESSION_S),
        **arguments,
    )
    made = server.apply_binding(binding, str(text), destination, query["RelayState"], response=True)
    return str(made["data"])


def check_request(server: Any, query: dict[str, str]) -> None:
    """Raise if a request must be signed and is not, or not rightly."""
    from saml2 import BINDING_HTTP_REDIRECT

    server.parse_authn_request(
        query["SAMLRequest"],
        BINDING_HTTP_REDIRECT,
        relay_state=query.get("RelayState"),
        sigalg=query.get("SigAlg"),
        signature=query.get("Signature"),
    )


def main() -> None:
    """Serve until it is ended."""
    folder, port, encrypt = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    from saml2.metadata import entity_descriptor

    server = make_server(folder, f"http://127.0.0.1:{port}", encrypt)
    metadata = str(entity_descriptor(server.config))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            if parts.path == "/metadata":
                self._say(metadata, "application/samlmetadata+xml")
            elif parts.path == "/sso":
                check_request(server, query)
                self._form(query, "")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            query = dict(parse_qsl(body))
            if query.get("login") not in PEOPLE or query.get("password") != PASSWORD:
                self._form(query, "wrong password")
                return
            # The signature was checked at /sso.
            server.config.setattr("idp", "want_authn_requests_signed", False)
            self._say(answer_of(server, query, query["login"], encrypt))

        def _form(self, query: dict[str, str], said: str) -> None:
            request, state = (html.escape(query[n]) for n in ("SAMLRequest", "RelayState"))
            self._say(FORM.format(request=request, state=state, said=said))

        def _say(self, text: str, kind: str = "text/html") -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.end_headers()
            self.wfile.write(text.encode())

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main()
