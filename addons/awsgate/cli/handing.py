"""Hands a URL that is worth a session to the browser, past the arguments of processes.

Every user of a machine reads the arguments of every process, so what the browser is started
with is no secret but the place of a page that sends it on:

    a visit  http://127.0.0.1:<port>/<random>, good once, on Linux
    a file   in a folder that its owner alone may enter, elsewhere

A visit works with any browser, and a file does not: one in a snap, as Ubuntu's is, reads
neither /tmp nor the hidden folders of its user. But whoever reads the arguments is there
before a browser has started. So the kernel is asked whose connection it is, and others get
nothing and use nothing up; Linux alone says that. A file that a crash leaves behind holds a
URL that AWS takes for 15 minutes, and goes with the next call.
"""

from __future__ import annotations

import hmac
import html
import ipaddress
import json
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock

from awsgate.cli.loopback import LocalHandler, LocalServer, page

VISIT_S = 60.0
"""How long a browser may take to start and come."""
FILE_S = 10.0
"""How long the file stays: nobody says when a browser has read it."""
STALE_S = 60.0
SOCKETS = Path("/proc/net")
_PREFIX = "awsgate-console-"
_ESTABLISHED = "01"
"""A socket in another state need not have an owner any more, and root's uid stands there."""


def hand_to_browser(url: str) -> bool:
    """Open ``url`` in the user's browser. False: none came for it."""
    return by_visit(url) if (SOCKETS / "tcp").exists() else by_file(url)


def _opened(place: str) -> bool:
    with suppress(webbrowser.Error, OSError):
        return webbrowser.open(place)
    return False


# --- a visit ------------------------------------------------------------------------------


def by_visit(url: str, wait_s: float = VISIT_S) -> bool:
    """Send the first visitor who is the user on to ``url``. False: none came in time."""
    came = Event()
    path = f"/{secrets.token_urlsafe(32)}"
    server = _server(path, url, came)
    with server.serving():
        opened = _opened(f"http://127.0.0.1:{server.server_port}{path}")
        if opened and not came.is_set():
            sys.stderr.write("awsgate: waiting for the browser (--print prints the URL instead)\n")
            came.wait(wait_s)
        return came.is_set()


def _server(path: str, url: str, came: Event) -> LocalServer:
    told: set[int | None] = set()
    taken = Lock()

    class Handler(LocalHandler):
        def do_GET(self) -> None:
            named = server.is_named(self.headers.get("Host", ""))
            if not named or not hmac.compare_digest(self.path.encode(), path.encode()):
                self.say(404, page("Nothing here", "This is a page of awsgate, good once."))
                return
            owner = owner_of(self.client_address, server.server_port)
            if owner not in trusted():
                self.say(403, page("Not for you", "This page is another user's."))
                if owner not in told:
                    told.add(owner)
                    sys.stderr.write(_refused(owner))
            elif not taken.acquire(blocking=False):
                again = "awsgate console --print prints the URL for a browser of your choice."
                self.say(410, page("Opened already", f"This page is good once. {again}"))
            else:
                self.say(303, page("AWS", "On to the console."), location=url)
                came.set()

    server = LocalServer(Handler)
    return server


def _refused(owner: int | None) -> str:
    who = "somebody whom the kernel does not name" if owner is None else f"uid {owner}"
    return (
        f"awsgate: warning: {who} asked for your way into the console, and got nothing\n"
        "awsgate: hint: if that is your own browser: awsgate console --print\n"
    )


def trusted() -> frozenset[int]:
    """Give the uids that the user's own browser can have."""
    # A browser of Windows comes through WSL's relay, which is root's.
    return frozenset({os.getuid()} | ({0} if "WSL_DISTRO_NAME" in os.environ else set()))


def owner_of(peer: tuple[str, int], port: int) -> int | None:
    """Give the uid that a connection to ``port`` came from. None: the kernel does not say."""
    here = {f"{form}:{port:04X}" for form in _forms("127.0.0.1")}
    there = {f"{form}:{peer[1]:04X}" for form in _forms(peer[0])}
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (SOCKETS / name).read_text("ascii").splitlines()[1:]:
                _, local, remote, status, *rest = line.split()
                if local in there and remote in here and status == _ESTABLISHED:
                    return int(rest[3])
    return None


def _forms(address: str) -> tuple[str, str]:
    """Give an IPv4 address as the kernel writes it, for a socket of IPv4 and one of IPv6."""
    four = ipaddress.IPv4Address(address).packed
    six = bytes(10) + b"\xff\xff" + four
    words = (six[i : i + 4] for i in range(0, 16, 4))
    # Each word is printed as a number of this machine's byte order.
    hexed = [f"{int.from_bytes(word, sys.byteorder):08X}" for word in words]
    return hexed[3], "".join(hexed)


# --- a file -------------------------------------------------------------------------------


def by_file(url: str) -> bool:
    """Open a file that leads on to ``url``, and take it away. False: no browser was started."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        file = folder / "console.html"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
            made.write(leading_on(url))
        if not _opened(file.as_uri()):
            return False
        time.sleep(FILE_S)
        return True
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def leading_on(url: str) -> bytes:
    """Give a page that leads on to ``url``, and says nothing of itself there."""
    # Within a script "<" could end it, whatever the quotes.
    script = json.dumps(url).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>awsgate</title>
<meta name="referrer" content="no-referrer">
<script>location.replace({script})</script>
<meta http-equiv="refresh" content="0; url={html.escape(url)}">
</head><body></body></html>
""".encode()


def _sweep() -> None:
    """Take away what a call left that did not get to its end."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if mine and time.time() - found.st_mtime > STALE_S:
                shutil.rmtree(folder, ignore_errors=True)
