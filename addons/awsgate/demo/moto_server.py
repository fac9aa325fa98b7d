"""The embedded AWS as a process: moto with IAM checks on, and a record of who called.

    python -m awsgate.demo.moto_server PORT RECORD

moto verifies header signatures and enforces IAM policies once it is told to. Each
request leaves one line in RECORD, as AWS would see it: never a signature or token.
"""

from __future__ import annotations

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
    run_simple("127.0.0.1", port, Recorder(app, record), threaded=True)


if __name__ == "__main__":
    main()
