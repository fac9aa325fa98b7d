"""``awsgate login`` and ``logout``: each way in, whom it trusts, what it keeps and what not."""

from __future__ import annotations

import io
import json
import sys
import threading
import webbrowser
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from awsgate.cli import ways
from awsgate.cli.no import No
from awsgate.connect.ways import LoginRefused
from awsgate.controlclient import ControlClient, ControlError, GatewayAway, LoginAnswer
from awsgate.loginstore import load, record_of
from commandline import Result, Run
from controlserving import Serving, at, jwt_of, serving, visit


def piped(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: bool) -> list[str]:
    asked: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        return answer

    monkeypatch.setattr(ways, "is_terminal", lambda: True)
    monkeypatch.setattr(typer, "confirm", confirm)
    return asked


# --- the ways in ------------------------------------------------------------------------


def test_a_machine_logs_in_with_the_token_of_its_platform(
    gateway: Serving, clean: Run, token: str
) -> None:
    result = clean(*at(gateway), "--id-token-file", token)

    stored = load(gateway.url)
    assert (result.code, result.out.split(", until ")[0]) == (
        0,
        f"alice (oidc/okta) at {gateway.url}",
    )
    assert stored is not None
    assert (stored.user, stored.proxy) == ("alice", "http://localhost:8443")
    assert (stored.pin, stored.id) == (gateway.pin, gateway.audit()[-1]["session"])
    assert "PRIVATE KEY" not in Path(stored.bundle_path).read_text()
    assert stored.login not in result.out + result.err


def test_the_token_may_be_in_the_environment(
    gateway: Serving, clean: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWSGATE_ID_TOKEN", jwt_of())

    result = clean(*at(gateway), "--json")

    said = json.loads(result.out)
    assert (said["user"], said["roles"], result.err) == ("alice", ["read"], "")


def test_a_user_of_the_gateways_own_gives_password_and_code(
    gateway: Serving, clean: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, "correct horse", "123456")

    result = clean(*at(gateway), "--user", "bob")

    assert (result.code, result.out.split(" at ")[0]) == (0, "bob (local)")


def test_an_invitation_ends_in_a_login(
    gateway: Serving, clean: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped(monkeypatch, "invited", "correct horse", "123456")

    result = clean(*at(gateway), "--invitation", "-")

    assert (result.code, result.out.split(" at ")[0]) == (0, "bob (local)")
    assert "otpauth://totp/awsgate:bob?secret=JBSWY3DPEHPK3PXP" in result.err


def test_a_code_is_typed_in_elsewhere(gateway: Serving, clean: Run) -> None:
    result = clean(*at(gateway), "--device")

    assert result.code == 0
    assert "WDJB-MJHT" in result.err
    assert "https://idp.example.com/device" in result.err


class Polled:
    """A gateway whose answers to polls are known: slow down or not, an error, a login."""

    def __init__(self, *answers: bool | LoginAnswer | Exception, expires_in: int = 600) -> None:
        self.answers, self.expires_in = list(answers), expires_in

    def begin_device(self, _: str) -> dict[str, object]:
        return {
            "user_code": "WDJB-MJHT",
            "verification_uri": "https://idp.example.com/device",
            "verification_uri_complete": "",
            "interval": 5,
            "expires_in": self.expires_in,
            "handle": "h",
        }

    def poll_device(self, _: str) -> bool | LoginAnswer:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


ALICE = LoginAnswer("gatelogin.x", "0" * 20, "alice", "oidc/okta", (), 2_000_000_000)


def test_polls_keep_the_interval_and_slow_down_when_told() -> None:
    waited: list[float] = []
    away = GatewayAway("for a moment")
    failed = ControlError(502, "provider-failed", "the provider does not answer")
    client: Any = Polled(False, True, away, failed, False, ALICE)

    assert ways.by_device(client, "oidc/okta", sleep=waited.append) == ALICE
    assert waited == [5, 5, 10, 10, 10, 10]


def test_a_code_that_nobody_typed_in_ends() -> None:
    waited: list[float] = []
    client: Any = Polled(*[False] * 10, expires_in=20)

    with pytest.raises(No, match="not typed in in time"):
        ways.by_device(client, "oidc/okta", sleep=waited.append)

    assert sum(waited) == 20


def test_a_machine_logs_in_with_its_certificate(
    clean: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWSGATE_LOGINS", str(tmp_path / "logins"))
    authority = certificate_authority()
    (tmp_path / "ca.pem").write_bytes(authority[0].public_bytes(Encoding.PEM))
    (tmp_path / "host.pem").write_bytes(client_certificate(authority, "build-7@example.com"))
    rows = "[{subject: '*@example.com', roles: [read]}]"
    (tmp_path / "gateway").mkdir()

    with serving(
        tmp_path / "gateway", f", client_ca: {tmp_path}/ca.pem, certificate_to_roles: {rows}"
    ) as gateway:
        good = clean(*at(gateway), "--certificate", str(tmp_path / "host.pem"))
        none = clean(*at(gateway), "--certificate", str(tmp_path / "ca.pem"))

    assert (good.code, good.out.split(" at ")[0]) == (0, "build-7@example.com (certificate)")
    assert (none.code, none.out) == (2, "")
    assert "cannot be used" in none.err


def certificate_authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "machines")])
    ca = x509.BasicConstraints(ca=True, path_length=0)
    return signed(name, name, key, key, (ca, True)), key


def client_certificate(
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey], email: str
) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.SubjectAlternativeName([x509.RFC822Name(email)])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    cert = signed(
        x509.Name([]), authority[0].subject, key, authority[1], (name, True), (usage, False)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem + cert.public_bytes(Encoding.PEM)


def signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    *extensions: tuple[x509.ExtensionType, bool],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(by, hashes.SHA256())


class FakeBrowser:
    """Logs in at the provider, and comes back to the gateway, then here."""

    def __init__(self, gateway: Serving, **changes: str) -> None:
        self.gateway, self.changes = gateway, changes
        self.pages: list[tuple[int, str]] = []
        self.threads: list[threading.Thread] = []

    def open(self, url: str) -> bool:
        thread = threading.Thread(target=self._go, args=(url,))
        self.threads.append(thread)
        thread.start()
        return True

    def _go(self, url: str) -> None:
        query = {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()}
        answer = {"state": query["state"], "code": "of-the-provider"} | self.changes
        self.pages.append(visit(query["to"], answer, self.gateway))

    def page(self) -> str:
        for thread in self.threads:
            thread.join()
        ((status, text),) = self.pages
        assert status == 200
        return text


def test_a_browser_logs_in(gateway: Serving, clean: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = FakeBrowser(gateway)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", browser.open)

    result = clean(*at(gateway))

    assert result.code == 0
    assert result.out.startswith("alice (oidc/okta) at ")
    assert "You may close this page" in browser.page()
    assert "code=" not in result.err


def test_the_browser_shows_why_not(
    gateway: Serving, clean: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = FakeBrowser(gateway)
    gateway.provider.refusal = LoginRefused("no-role", "no role for <alice>", hint="ask okta")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", browser.open)

    result = clean(*at(gateway))

    assert result.code == 1
    assert "awsgate: no: no role for <alice>: ask okta [no-role]" in result.err
    assert "no role for &lt;alice&gt;" in browser.page()
    assert load(gateway.url) is None


def test_no_browser_is_opened_where_none_is_wanted(
    gateway: Serving, clean: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = FakeBrowser(gateway)

    class Said(io.StringIO):
        def write(self, text: str) -> int:
            for line in text.splitlines():
                if line.strip().startswith("https://idp"):
                    browser.open(line.strip())
            return super().write(text)

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("a browser was opened"))
    monkeypatch.setattr(sys, "stderr", Said())

    result = clean(*at(gateway), "--no-browser")

    assert (result.code, result.out.split(" at ")[0]) == (0, "alice (oidc/okta)")
    assert "ssh -L" in sys.stderr.getvalue()  # type: ignore[attr-defined]


def test_without_a_display_a_code_is_shown(
    gateway: Serving, clean: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("a browser was opened"))

    result = clean(*at(gateway))

    assert result.code == 0
    assert "type the code  WDJB-MJHT" in result.err


DISPLAYS = {
    "nothing": ({}, sys.platform == "darwin"),
    "X": ({"DISPLAY": ":0"}, True),
    "Wayland": ({"WAYLAND_DISPLAY": "wayland-0"}, True),
    "a remote shell": ({"DISPLAY": ":0", "SSH_CONNECTION": "1 2 3 4"}, False),
    "a browser that was named": ({"BROWSER": "x", "SSH_CONNECTION": "1 2 3 4"}, True),
}


@pytest.mark.parametrize(("environment", "there"), DISPLAYS.values(), ids=DISPLAYS)
def test_where_a_browser_can_be_seen(environment: dict[str, str], there: bool) -> None:
    assert ways.has_display(environment) is there


AGAIN: dict[str, tuple[tuple[str, ...], str]] = {
    "a password": (("--user", "bob"), " --user bob"),
    "a code": (("--device",), " --device"),
    "a token in a file": (("--id-token-file", "FILE"), " --id-token-file FILE"),
}


@pytest.mark.parametrize(("words", "line"), AGAIN.values(), ids=AGAIN)
def test_how_to_log_in_again_is_known(
    gateway: Serving,
    clean: Run,
    token: str,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    line: str,
) -> None:
    piped(monkeypatch, "correct horse", "123456")

    assert clean(*at(gateway), *(token if word == "FILE" else word for word in words)).code == 0

    stored = load(gateway.url)
    assert stored is not None
    assert stored.again() == f"awsgate login --gateway {gateway.url}" + line.replace("FILE", token)


# --- whom it trusts ---------------------------------------------------------------------


def test_without_a_pin_and_a_terminal_nothing_is_sent(
    gateway: Serving, clean: Run, token: str
) -> None:
    before = len(gateway.audit())

    result = clean("login", "--gateway", gateway.url, "--id-token-file", token)

    assert (result.code, result.out) == (2, "")
    assert "--ca-pin sha256:" in result.err
    assert gateway.pin not in result.err
    assert len(gateway.audit()) == before
    assert load(gateway.url) is None


def test_on_a_terminal_the_pin_is_shown_and_asked_about(
    gateway: Serving, clean: Run, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = on_a_terminal(monkeypatch, answer=True)

    result = clean("login", "--gateway", gateway.url, "--id-token-file", token)

    assert (result.code, len(asked)) == (0, 1)
    assert gateway.pin in result.err


def test_a_gateway_that_is_not_trusted_gets_nothing(
    gateway: Serving, clean: Run, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_terminal(monkeypatch, answer=False)
    before = len(gateway.audit())

    result = clean("login", "--gateway", gateway.url, "--id-token-file", token)

    assert result.code == 1
    assert "nothing was sent to it" in result.err
    assert len(gateway.audit()) == before


def test_a_wrong_pin_is_no(gateway: Serving, clean: Run, token: str) -> None:
    wrong = "sha256:" + "0" * 64

    result = clean("login", "--gateway", gateway.url, "--ca-pin", wrong, "--id-token-file", token)

    assert (result.code, result.out) == (2, "")
    assert "does not have the pin" in result.err


def test_the_second_time_the_gateway_is_known(gateway: Serving, clean: Run, token: str) -> None:
    clean(*at(gateway), "--id-token-file", token)

    result = clean("login", "--id-token-file", token)

    assert (result.code, result.out.split(", ")[0]) == (0, f"alice (oidc/okta) at {gateway.url}")


# --- no ---------------------------------------------------------------------------------


def test_the_gateways_no_is_shown_and_nothing_is_kept(
    gateway: Serving, clean: Run, token: str
) -> None:
    gateway.provider.refusal = LoginRefused("expired", "the token has ended", hint="get another")

    result = clean(*at(gateway), "--id-token-file", token)

    assert (result.code, result.out) == (1, "")
    assert result.err == (
        "awsgate: no: the token has ended [expired]\nawsgate: hint: get another\n"
    )
    assert load(gateway.url) is None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:alert(1)", "https://a\x07"])
def test_what_is_no_url_for_a_browser_is_not_opened(
    gateway: Serving, clean: Run, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(webbrowser, "open", lambda _: pytest.fail("a browser was opened"))
    monkeypatch.setattr(ControlClient, "begin_browser", lambda *_: url)

    result = clean(*at(gateway))

    assert (result.code, result.out) == (2, "")
    assert "gave no URL that a browser could open" in result.err


@pytest.mark.parametrize(
    "said", ["", "localhost:8443", "javascript:x", "http://a\x1b[2J:1", "http://a:1\nPATH=/x"]
)
def test_what_is_no_proxy_is_not_kept_for_one(
    gateway: Serving, clean: Run, token: str, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    ping = ControlClient.ping
    monkeypatch.setattr(ControlClient, "ping", lambda self: ping(self) | {"proxy": said})

    result = clean(*at(gateway), "--id-token-file", token)

    assert (result.code, result.out) == (2, "")
    assert "does not say where its proxy is" in result.err
    assert load(gateway.url) is None


WRONG = {
    "no gateway": (("login",), "which gateway"),
    "not TLS": (("login", "--gateway", "http://gate:3081"), "does not begin with https"),
    "a password in the URL": (
        ("login", "--gateway", "https://u:hunter2@gate"),
        "more than a host",
    ),
    "no pin": (("login", "--gateway", "https://gate", "--ca-pin", "ab12"), "--ca-pin is not"),
}


@pytest.mark.parametrize(("words", "said"), WRONG.values(), ids=WRONG)
@pytest.mark.usefixtures("gateway")
def test_what_is_used_wrongly(clean: Run, words: tuple[str, ...], said: str) -> None:
    result = clean(*words)

    assert (result.code, result.out) == (2, "")
    assert said in " ".join(result.err.replace("│", " ").split())
    assert "hunter2" not in result.err


def test_a_connector_that_is_not_there(gateway: Serving, clean: Run) -> None:
    result = clean(*at(gateway), "--connector", "oidc/other")

    assert result.code == 1
    assert "no connector 'oidc/other'" in result.err
    assert "oidc/okta" in result.err


@pytest.mark.parametrize("content", ["", "  \n", "x" * 40_000, "\x80"], ids=repr)
def test_a_file_that_holds_no_token(
    gateway: Serving, clean: Run, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "empty"
    path.write_text(content)

    result = clean(*at(gateway), "--id-token-file", str(path))

    assert (result.code, result.out) == (2, "")
    assert "holds no ID token" in result.err


# --- logout -----------------------------------------------------------------------------


def left(folder: Path) -> list[Path]:
    """What clients trust is public and stays, for those that run on."""
    files = (path for path in (folder / "logins").rglob("*") if not path.is_dir())
    return [path for path in files if path.name not in ("bundle.pem", "root.pem")]


def test_logout_ends_the_login_there_and_leaves_no_secret_here(
    gateway: Serving, here: Run, tmp_path: Path
) -> None:
    stored = load(gateway.url)
    assert stored is not None
    assert here("credentials").code == 0  # one that is kept for the next command

    result = here("logout")

    assert (result.code, result.out) == (0, "")
    assert result.err == f"awsgate: logged out at {gateway.url}: no secret of it is kept here\n"
    assert left(tmp_path) == []
    assert gateway.audit()[-1]["event"] == "logout"
    assert gateway.audit()[-1]["session"] == stored.id


def test_logout_where_the_gateway_is_gone_says_so(gateway: Serving, here: Run) -> None:
    record = record_of(gateway.url)
    gone = gateway.url.rpartition(":")[0] + ":9"
    record_of(gone).write_text(record.read_text().replace(gateway.url, gone))
    record_of(gone).chmod(0o600)
    record.unlink()

    result = here("logout")

    assert result.code == 1
    assert "the gateway could not be told" in result.err
    assert "awsgate lock add --session " in result.err
    assert not record_of(gone).exists()


def test_logout_removes_what_others_may_read(gateway: Serving, here: Run, tmp_path: Path) -> None:
    record_of(gateway.url).chmod(0o644)

    result = here("logout", "--gateway", gateway.url)

    assert result.code == 1
    assert "is open to other users" in result.err
    assert left(tmp_path) == []


@pytest.mark.usefixtures("gateway")
def test_who_is_not_logged_in_cannot_log_out(clean: Run) -> None:
    assert clean("logout") == Result(1, "", "awsgate: no: nobody is logged in here\n")
