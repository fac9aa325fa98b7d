"""What a person sees of a page: its pictures, axe's verdict, its windows and its history."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

from identity.browser import WAIT_S, Browser
from identity.provider import ROOT, TOOLS

SHOTS = ROOT / ".screenshots"
WIDE, PHONE = (1200, 800), (390, 844)
AXE = TOOLS / "node_modules" / "axe-core" / "axe.min.js"
_RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then(
  (found) => done(found.violations.map((one) => ({
    id: one.id, help: one.help, at: one.nodes.map((node) => node.html.slice(0, 200)),
  }))),
  (error) => done([{id: 'axe itself', help: String(error), at: []}]),
);
"""


def script(browser: Browser, text: str, *args: Any) -> Any:
    """Run a script in the page, past its policy; give what it returns."""
    return browser._post("execute/sync", {"script": text, "args": list(args)})


def devtools(browser: Browser, command: str, **params: Any) -> Any:
    """Ask the browser itself."""
    return browser._post("goog/cdp/execute", {"cmd": command, "params": params})


def dress(browser: Browser, *, dark: bool, size: tuple[int, int] = WIDE) -> None:
    """Set colours and size of the window."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    devtools(browser, "Emulation.setEmulatedMedia", features=[scheme])
    width, height = size
    devtools(
        browser, "Emulation.setDeviceMetricsOverride",
        width=width, height=height, deviceScaleFactor=1, mobile=size == PHONE,
    )  # fmt: skip


def picture(browser: Browser, name: str) -> Path:
    """Keep what the whole page looks like."""
    SHOTS.mkdir(exist_ok=True)
    taken = devtools(browser, "Page.captureScreenshot", captureBeyondViewport=True)
    file = SHOTS / f"{name}.png"
    file.write_bytes(base64.b64decode(taken["data"]))
    return file


def faults_by_axe(browser: Browser) -> list[dict[str, Any]]:
    """Give what axe-core finds wrong."""
    script(browser, AXE.read_text("utf-8"))
    found: list[dict[str, Any]] = browser._post("execute/async", {"script": _RUN, "args": []})
    return found


def look_at(browser: Browser, name: str) -> None:
    """Keep pictures of a page in both schemes, and on a phone; axe must find nothing in any."""
    faults: dict[str, object] = {}
    for dark in (False, True):
        for size in (WIDE, PHONE):
            dress(browser, dark=dark, size=size)
            view = f"{name}-{'phone' if size == PHONE else 'wide'}-{'dark' if dark else 'light'}"
            picture(browser, view)
            assert script(browser, FITS), f"{view} has to be scrolled sideways"
            if found := faults_by_axe(browser):
                faults[view] = found
    dress(browser, dark=False)
    assert faults == {}, json.dumps(faults, indent=1)


FITS = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth"


def windows(browser: Browser) -> list[str]:
    """Give all tabs."""
    found: list[str] = browser._get("window/handles")
    return found


def to_new_window(browser: Browser, before: list[str]) -> None:
    """Go on in the tab that has been opened since."""
    deadline = time.monotonic() + WAIT_S
    while not (new := [one for one in windows(browser) if one not in before]):
        assert time.monotonic() < deadline, f"no new tab; here is {browser.text}"
        time.sleep(0.05)
    browser._post("window", {"handle": new[0]})


def back_to(browser: Browser, window: str) -> None:
    """Close this tab, and go on in another one."""
    browser._http.delete(f"{browser._session}/window")
    browser._post("window", {"handle": window})


def history(browser: Browser) -> list[str]:
    """Give every address that the tab would go back to."""
    entries = devtools(browser, "Page.getNavigationHistory")["entries"]
    return [text for entry in entries for text in (entry["url"], entry["userTypedURL"])]


def source(browser: Browser) -> str:
    """Give the page as it is now, markup and all."""
    return str(script(browser, "return document.documentElement.outerHTML"))


def cookies(browser: Browser) -> list[dict[str, Any]]:
    """Give all cookies for the page, those that it cannot read itself included."""
    found: list[dict[str, Any]] = browser._get("cookie")
    return found
