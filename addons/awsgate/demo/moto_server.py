"""The embedded AWS as a process: moto with IAM checks on, and a record of who called.

    python -m awsgate.demo.moto_server PORT RECORD

moto verifies header signatures and enforces IAM policies once it is told to. Each
request leaves one line in RECORD, as AWS would see it: never a signature or token.
"""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

from awsgate.aws.endpoint import resolve_endpoint
from awsgate.aws.faults import protocol_of

_CODE = re.compile(rb"<Code>([A-Za-z0-9.]+)</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]*)</Message>")
_KEY_ID = re.compile(r"Credential=([A-Za-z0-9]+)/([^,/]*)/([^,/]*)/([^,/]*)/")

Environ = dict[str, Any]


class Recorder:
    """A WSGI layer that writes one line a request."""

    def __init__(self, app: Callable[..., Iterable[bytes]], path: Path) -> None:
        self._app = app
        self._path = path
        self._lock = Lock()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Note the request, and pass it on."""
        if not environ["PATH_INFO"].startswith("/moto-api"):
            with self._lock, self._path.open("a") as file:
                file.write(json.dumps(_facts(environ)) + "\n")
        return self._app(environ, start_response)


class Translator:
    """A WSGI layer that gives moto's refusals in the protocol of the call.

    moto's IAM says no in XML to every service, which clients that speak JSON cannot read.
    """

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Pass the request on, and its answer or what stands for it."""
        protocol, version = _protocol(environ)
        if protocol not in ("json", "rest-json") or environ["PATH_INFO"].startswith("/moto-api"):
            return self._app(environ, start_response)
        said: list[Any] = []

        def note(status: str, headers: list[tuple[str, str]], *_: Any) -> Callable[[bytes], None]:
            said[:] = [status, headers]
            return lambda _: None

        answer = self._app(environ, note)
        status, headers = said
        if not status.startswith("4"):
            start_response(status, headers)
            return answer
        body = b"".join(answer)
        code, message = _CODE.search(body), _MESSAGE.search(body)
        if body.lstrip().startswith(b"<") and code:
            name = code[1].decode()
            # The JSON protocols have another name for it.
            name = "AccessDeniedException" if name == "AccessDenied" else name
            text = html.unescape(message[1].decode()) if message else ""
            body = json.dumps({"__type": name, "message": text}).encode()
            kind = f"application/x-amz-json-{version}" if version else "application/json"
            own = ("content-type", "content-length", "x-amzn-errortype", "x-amz-crc32")
            headers = [
                *((k, v) for k, v in headers if k.lower() not in own),
                ("Content-Type", kind),
                ("Content-Length", str(len(body))),
                ("x-amzn-ErrorType", name),
            ]
            status = "400 Bad Request" if protocol == "json" else status
        start_response(status, headers)
        return [body]


def _protocol(environ: Environ) -> tuple[str, str]:
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_") or name == "CONTENT_TYPE"
    }
    found = resolve_endpoint(environ.get("HTTP_HOST", ""))
    return protocol_of(service_protocol=found.protocol if found else None, headers=headers)


def _facts(environ: Environ) -> dict[str, Any]:
    matched = _KEY_ID.search(environ.get("HTTP_AUTHORIZATION", ""))
    form = _form(environ)
    return {
        "host": environ.get("HTTP_HOST", ""),
        "method": environ["REQUEST_METHOD"],
        "path": str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0],
        "access_key_id": matched[1] if matched else "",
        "region": matched[3] if matched else "",
        "service": matched[4] if matched else "",
        "has_token": "HTTP_X_AMZ_SECURITY_TOKEN" in environ,
        "forwarded": [name for name in environ if name.startswith("HTTP_X_FORWARDED")],
        "action": form.get("Action", environ.get("HTTP_X_AMZ_TARGET", "")),
        "session_name": form.get("RoleSessionName", ""),
    }


def _form(environ: Environ) -> dict[str, str]:
    """Read a form body, and leave it to be read again."""
    if "x-www-form-urlencoded" not in environ.get("CONTENT_TYPE", ""):
        return {}
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    return {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}


def main() -> None:
    """Serve until killed."""
    port, record = int(sys.argv[1]), Path(sys.argv[2])
    app = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", port, Recorder(Translator(app), record), threaded=True)


if __name__ == "__main__":
    main()
