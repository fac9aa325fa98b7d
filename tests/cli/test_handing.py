"""A URL that is worth a session reaches the browser, and stands in no process's arguments."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
import time
import webbrowser
from collections.abc import Callable
from html.parser import HTMLParser
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

from awsgate.cli import handing
from awsgate.cli.console import _give, _Way

URL = "https://eu-west-1.signin.aws.amazon.com/federation?Action=login&SigninToken=CANARY%2B"
NOBODY = 65534
ON_LINUX = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="asks Linux's kernel")

A_BROWSER = f"""#!{sys.executable}
import http.client, os, sys, urllib.parse
at = urllib.parse.urlsplit(sys.argv[1])
asked = http.client.HTTPConnection(at.netloc)
asked.request("GET", at.path)
answer = asked.getresponse()
with open(os.environ["SEEN"], "w") as seen:
    seen.write("\\0".join([open("/proc/self/cmdline").read(), str(answer.getheader("Location"))]))
"""
AS_ANOTHER = """
import encodings.idna, http.client, os, sys
os.setuid(int(sys.argv[3]))
asked = http.client.HTTPConnection(sys.argv[1])
asked.request("GET", sys.argv[2])
answer = asked.getresponse()
print(answer.status, answer.getheader("Location"))
"""


class Visitor:
    """Comes to the page as a browser does, and others before it."""

    def __init__(self, *before: Callable[[str], None]) -> None:
        self.before = before
        self.place = ""
        self.answers: list[tuple[int, str | None]] = []

    def open(self, place: str) -> bool:
        self.place = place
        for visit in self.before:
            visit(place)
        thread = Thread(target=lambda: self.answers.append(seen(ask(place))))
        thread.start()
        thread.join()
        return True


def ask(place: str, path: str = "", host: str = "") -> HTTPResponse:
    at = urlsplit(place)
    asked = HTTPConnection(at.netloc, timeout=5)
    asked.request("GET", path or at.path, headers={"Host": host} if host else {})
    answer = asked.getresponse()
    answer.read()
    asked.close()
    return answer


def seen(answer: HTTPResponse) -> tuple[int, str | None]:
    return answer.status, answer.getheader("Location")


def opening(monkeypatch: pytest.MonkeyPatch, visitor: Visitor) -> None:
    monkeypatch.setattr(webbrowser, "open", visitor.open)


# --- a visit ------------------------------------------------------------------------------


@ON_LINUX
def test_a_browser_in_a_process_of_its_own_gets_there_and_its_arguments_tell_nothing(
    tmp_path: Path,
) -> None:
    browser, saw = tmp_path / "browser", tmp_path / "saw"
    browser.write_text(A_BROWSER)
    browser.chmod(0o700)
    program = (
        "import sys; from awsgate.cli.handing import hand_to_browser; "
        "sys.exit(not hand_to_browser(sys.stdin.read()))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "BROWSER": f"{browser} %s", "SEEN": str(saw)},
        input=URL.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )

    *arguments, location = saw.read_text().split("\0")
    assert done.returncode == 0, done.stderr
    assert location == URL
    assert "http://127.0.0.1:" in " ".join(arguments)
    assert "CANARY" not in " ".join(arguments)
    assert b"CANARY" not in done.stdout + done.stderr


@ON_LINUX
def test_it_is_good_once_and_under_its_own_name_and_path(monkeypatch: pytest.MonkeyPatch) -> None:
    early: list[tuple[int, str | None]] = []

    def stray(place: str) -> None:
        early.append(seen(ask(place, "/")))
        early.append(seen(ask(place, host="evil.example")))

    visitor = Visitor(stray)
    late: list[tuple[int, str | None]] = []

    def twice(place: str) -> bool:
        done = visitor.open(place)
        late.append(seen(ask(place)))
        return done

    monkeypatch.setattr(webbrowser, "open", twice)

    assert handing.by_visit(URL)
    assert (early, visitor.answers, late) == ([(404, None)] * 2, [(303, URL)], [(410, None)])


@ON_LINUX
def test_nothing_of_it_is_kept_or_told_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[HTTPResponse] = []

    def visit(place: str) -> bool:
        answers.append(ask(place))
        return True

    monkeypatch.setattr(webbrowser, "open", visit)

    assert handing.by_visit(URL)
    assert answers[0].getheader("Cache-Control") == "no-store"
    assert answers[0].getheader("Referrer-Policy") == "no-referrer"


@ON_LINUX
@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_another_user_who_is_first_gets_nothing_and_uses_nothing_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    got: list[str] = []

    def thief(place: str) -> None:
        at = urlsplit(place)
        command = [sys.executable, "-c", AS_ANOTHER, at.netloc, at.path, str(NOBODY)]
        got.extend(subprocess.check_output(command, text=True).strip() for _ in range(2))

    visitor = Visitor(thief)
    opening(monkeypatch, visitor)

    assert handing.by_visit(URL)
    assert (got, visitor.answers) == (["403 None"] * 2, [(303, URL)])
    assert capsys.readouterr().err.count(f"uid {NOBODY} asked for your way into the console") == 1


@ON_LINUX
def test_who_is_not_the_user_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    visitor = Visitor()
    opening(monkeypatch, visitor)
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    monkeypatch.delenv("WSL_DISTRO_NAME", raising=False)

    assert not handing.by_visit(URL, wait_s=0.1)
    assert visitor.answers == [(403, None)]
    assert "got nothing\nawsgate: hint: if that is your own browser" in capsys.readouterr().err


@ON_LINUX
def test_a_browser_that_cannot_be_started_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(_: str) -> bool:
        raise webbrowser.Error("there is none")

    monkeypatch.setattr(webbrowser, "open", none)
    began = time.monotonic()

    assert not handing.by_visit(URL)
    assert time.monotonic() - began < 5


def four(number: int) -> str:
    """127.0.0.1 and a port, as the kernel writes them."""
    return f"{int.from_bytes(bytes((127, 0, 0, 1)), sys.byteorder):08X}:{number:04X}"


def six(number: int) -> str:
    mapped = int.from_bytes(b"\x00\x00\xff\xff", sys.byteorder)
    return f"{'0' * 16}{mapped:08X}{four(number)}"


def row(local: str, remote: str, state: str, uid: int) -> str:
    return f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid} 0 1\n"


SOCKETS = {
    "of IPv4": ("tcp", row(four(5000), four(80), "01", 7), 7),
    "of IPv6, to an address of IPv4": ("tcp6", row(six(5000), six(80), "01", 7), 7),
    "our own end of it": ("tcp", row(four(80), four(5000), "01", 7), None),
    "to another port": ("tcp", row(four(5000), four(81), "01", 7), None),
    "from another port": ("tcp", row(four(5001), four(80), "01", 7), None),
    # The kernel says 0 for those that nobody has any more.
    "one that is over": ("tcp", row(four(5000), four(80), "06", 0), None),
    "none": ("tcp", "", None),
}


@pytest.mark.parametrize(("name", "rows", "owner"), SOCKETS.values(), ids=SOCKETS)
def test_the_owner_of_a_connection(
    name: str, rows: str, owner: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text(f"  sl  local_address rem_address\n{rows}")
    monkeypatch.setattr(handing, "SOCKETS", tmp_path)

    assert handing.owner_of(("127.0.0.1", 5000), 80) == owner


def test_under_wsl_the_browser_comes_through_a_relay_of_roots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.delenv("WSL_DISTRO_NAME", raising=False)
    assert handing.trusted() == {1000}

    monkeypatch.setenv("WSL_DISTRO_NAME", "Debian")
    assert handing.trusted() == {0, 1000}


# --- a file -------------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(handing, "SOCKETS", tmp_path / "no such system")
    monkeypatch.setattr(handing, "FILE_S", 0.0)
    return tmp_path


class Page(HTMLParser):
    """Where a page leads to, as a browser without scripts reads it, and its script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.metas: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "meta":
            self.metas.append(dict(attrs))


def test_elsewhere_a_file_leads_on_that_its_owner_alone_can_read(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, str, list[int]]] = []

    def browser(place: str) -> bool:
        file = Path(unquote(urlsplit(place).path))
        modes = [stat.S_IMODE(one.stat().st_mode) for one in (file, file.parent)]
        opened.append((place, file.read_text("utf-8"), modes))
        return True

    monkeypatch.setattr(webbrowser, "open", browser)

    assert handing.hand_to_browser(URL)
    ((place, text, modes),) = opened
    page = Page(text)
    assert place.startswith("file:///")
    assert "CANARY" not in place
    assert modes == [0o600, 0o700]
    assert {"http-equiv": "refresh", "content": f"0; url={URL}"} in page.metas
    assert {"name": "referrer", "content": "no-referrer"} in page.metas
    assert not list(temporary.iterdir())


def test_a_url_ends_neither_its_attribute_nor_its_script() -> None:
    url = "https://a/?\"'</script><img src=x>&amp;b"
    text = handing.leading_on(url).decode()

    page = Page(text)
    assert page.tags == ["html", "head", "meta", "title", "meta", "script", "meta", "body"]
    assert page.metas[-1]["content"] == f"0; url={url}"
    found = re.search(r"location\.replace\((.*)\)</script>", text)
    assert found is not None
    assert "<" not in found[1]


def test_where_no_browser_starts_no_file_is_left(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: False)

    assert not handing.hand_to_browser(URL)
    assert not list(temporary.iterdir())


def test_what_a_crash_left_goes_with_the_next_call(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, others = (temporary / f"awsgate-console-{name}" for name in ("old", "new", "link"))
    elsewhere = temporary / "elsewhere"
    for folder in (old, new, elsewhere):
        folder.mkdir()
        (folder / "console.html").touch()
    others.symlink_to(elsewhere)
    for folder in (old, elsewhere):
        os.utime(folder, (0, 0))
    monkeypatch.setattr(webbrowser, "open", lambda _: False)

    handing.hand_to_browser(URL)

    assert not old.exists()
    assert (new / "console.html").exists()
    assert (elsewhere / "console.html").exists()


# --- the command --------------------------------------------------------------------------


@pytest.mark.parametrize("came", [True, False])
def test_the_console_is_opened_so_and_printed_if_no_browser_came(
    came: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handed: list[str] = []

    def hand(url: str) -> bool:
        handed.append(url)
        return came

    monkeypatch.setattr("awsgate.cli.console.hand_to_browser", hand)
    role = "arn:aws:iam::123456789012:role/Admin"
    way = _Way("alice", role, URL, "", "", 3600, "", "", "")

    _give(way, switch=False, show=False, as_json=False)

    captured = capsys.readouterr()
    assert handed == [URL]
    assert captured.out == ("" if came else f"{URL}\n")
    assert "CANARY" not in captured.err
