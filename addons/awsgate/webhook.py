"""Tells a webhook of access requests: Slack's JSON, by POST, beside the work of the gateway.

A message waits in a bounded queue and is tried a few times; then it is lost. Nothing
depends on it. The first of several failures is logged, without the URL: that is a secret.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

import httpx

from awsgate.connect.secrets import secret_text
from awsgate.errors import SetupError
from awsgate.policy.settings import WebhookSpec

TRIES_AFTER_S = (0.0, 1.0, 5.0)
TIMEOUT_S = 5.0
MAX_WAITING = 100

log = logging.getLogger("awsgate")


class Webhook:
    """One URL. Any thread may tell it something."""

    def __init__(
        self,
        spec: WebhookSpec | None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._spec, self._sleep, self._transport = spec, sleep, transport
        self._waiting: queue.Queue[str] = queue.Queue(MAX_WAITING)
        self._failing = False
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        for name in ("httpx", "httpcore"):  # the URL stands in what they log
            logging.getLogger(name).setLevel(logging.WARNING)

    def tell(self, text: str) -> None:
        """Send a text, later. Does not wait, and does not raise."""
        if self._spec is None:
            return
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            self._failed("too many messages wait")
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="awsgate-webhook", daemon=True
                )
                self._thread.start()

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was told has been sent or given up, but not for longer."""
        ends = time.monotonic() + timeout_s
        while self._waiting.unfinished_tasks and time.monotonic() < ends:
            time.sleep(0.02)

    def _run(self) -> None:
        while True:
            text = self._waiting.get()
            try:
                self._send(text)
            except Exception as exc:  # noqa: BLE001 - the thread must live
                self._failed(type(exc).__name__)
            finally:
                self._waiting.task_done()

    def _send(self, text: str) -> None:
        why = ""
        for wait_s in TRIES_AFTER_S:
            self._sleep(wait_s)
            why, again = self._try(text)
            if not why:
                self._failing = False
                return
            if not again:
                break
        self._failed(why)

    def _try(self, text: str) -> tuple[str, bool]:
        """Give what went wrong, empty if nothing; and whether it may go better next time."""
        try:
            url = secret_text(self._spec.url if self._spec is not None else None)
        except SetupError as exc:
            return exc.message, False
        try:
            # A stream, so that the answer's body, which may have no end, is not read.
            with (
                httpx.Client(
                    timeout=TIMEOUT_S, transport=self._transport, follow_redirects=False
                ) as http,
                http.stream("POST", url, json={"text": text}) as answer,
            ):
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            return type(exc).__name__, isinstance(exc, httpx.TransportError)
        if status < 300:
            return "", False
        return f"HTTP {status}", status == 429 or status >= 500

    def _failed(self, why: str) -> None:
        if not self._failing:
            log.warning("the webhook of access requests was not told (%s)", why)
        self._failing = True
