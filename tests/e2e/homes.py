"""Machines that people log in from with a token of a platform: the key is the tests' own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import ECKey

from awsgate.demo.processes import GatewayProcess, clean_env

ISSUER = "https://ci.example.com"
NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


def published_key(folder: Path) -> tuple[ECKey, Path]:
    """Make a key that signs tokens, and the file that a gateway knows it by."""
    key = ECKey.generate_key("P-256", parameters={"kid": "1", "use": "sig", "alg": "ES256"})
    file = folder / "jwks.json"
    file.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    return key, file


@dataclass
class Stage:
    """A gateway with logins, and the key of those who come with a token."""

    gateway: GatewayProcess
    url: str
    key: ECKey
    pin: str

    def token(self, home: Path, ref: str = "refs/heads/main", **changes: object) -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": "https://gate.example.com",
            "iat": now,
            "exp": now + 300,
            "sub": "repo:acme/app",
            "repository": "acme/app",
            "ref": ref,
            **changes,
        }
        path = home / "token.jwt"
        path.write_text(jwt.encode({"alg": "ES256", "kid": "1"}, claims, self.key))
        return str(path)


def pin_of(gateway: GatewayProcess) -> str:
    """Give what the operator reads to the user."""
    places = ("--certs", str(gateway.certs), "--policy", str(gateway.policy))
    shown = subprocess.run(
        [sys.executable, "-m", "awsgate", "ca", "show", "--json", *places],
        capture_output=True, check=True,
    )  # fmt: skip
    pin: str = json.loads(shown.stdout)["pin"]
    return pin


class Home:
    """A machine with nothing on it but awsgate."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage, self.folder = stage, folder
        self.environment = clean_env(folder, NO_KEYRING)

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "awsgate", *words],
            env={**self.environment, **more},
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words, **more)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def login(self, **how: object) -> subprocess.CompletedProcess[str]:
        file = self.stage.token(self.folder, **how)  # type: ignore[arg-type]
        trust = ("--gateway", self.stage.url, "--ca-pin", self.stage.pin)
        return self.run("login", *trust, "--id-token-file", file)

    def python(self, code: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("exec", *words, "--", sys.executable, "-c", code)

    def secrets(self) -> list[Path]:
        return [p for p in (self.folder / ".config").rglob("*") if p.is_file()]
