"""A headless Chromium, driven by its DevTools protocol over a pipe: it needs nothing but the browser itself."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # the pages are ours, and a container has no other sandbox to offer
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
)
PATIENCE = 60.0
"""Seconds that the browser may take to answer."""


def find_browser() -> str | None:
    """Return the path of an installed Chromium or Chrome, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((found for name in names if (found := shutil.which(name))), None)


class Browser:
    """A running browser with one page, which records what its pages log and ask of the network."""

    def __init__(self, program: str, profile: Path):
        to_read, to_write = os.pipe(), os.pipe()
        # Above 3 and 4, onto which the child puts them: that is where the browser expects its pipe.
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_read[0], to_write[1])]
        self._out, self._in = to_read[1], to_write[0]
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}', "bash", program, *FLAGS,
             f"--user-data-dir={profile}"],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in (*theirs, to_read[0], to_write[1]):
            os.close(fd)
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters or {}}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, url: str, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        """Load a page into a window of that size; what was recorded before is forgotten."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.events.clear()
        self.call("Page.navigate", {"url": url})
        limit = time.monotonic() + PATIENCE
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            if time.monotonic() > limit:
                raise TimeoutError(f"{url} was not loaded within {PATIENCE} s")
            self.events.append(self._next())
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, promises awaited."""
        answer = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key, named as in JavaScript's `event.key`."""
        stroke: dict[str, Any] = {"key": key, "code": key, "modifiers": 8 if shift else 0}
        if key == "Tab":
            stroke["windowsVirtualKeyCode"] = 9
        if len(key) == 1:
            stroke["text"] = key
        self.call("Input.dispatchKeyEvent", stroke | {"type": "keyDown"})
        self.call("Input.dispatchKeyEvent", stroke | {"type": "keyUp"})

    def mouse(self, kind: str, x: float, y: float, *, delta: float = 0.0, ctrl: bool = False) -> None:
        """Send mouseMoved, mousePressed, mouseReleased or mouseWheel at a place of the window."""
        event: dict[str, Any] = {"type": kind, "x": x, "y": y, "modifiers": 2 if ctrl else 0}
        if kind == "mouseWheel":
            event |= {"deltaX": 0, "deltaY": delta}
        elif kind != "mouseMoved":
            event |= {"button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", event)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Save the page as PNG."""
        shot = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """Print the page."""
        return base64.b64decode(
            self.call("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})["data"]
        )

    @property
    def complaints(self) -> list[str]:
        """What the page logged, or failed with, since it was opened."""
        texts = []
        for event in self.events:
            parameters = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                texts.append(parameters["exceptionDetails"].get("exception", {}).get("description", "exception"))
            elif event["method"] == "Runtime.consoleAPICalled":
                texts.append(str([argument.get("value") for argument in parameters["args"]]))
            elif event["method"] == "Log.entryAdded":
                texts.append(parameters["entry"]["text"])
        return texts

    @property
    def requests(self) -> list[str]:
        """The addresses that the page asked for since it was opened, but for what it holds itself."""
        sent = [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in sent if not url.startswith("data:")]

    def close(self) -> None:
        """End the browser."""
        os.write(self._out, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def _next(self) -> dict[str, Any]:
        """Return the next message of the browser."""
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], PATIENCE)[0]:
                raise TimeoutError(f"the browser did not answer within {PATIENCE} s")
            received = os.read(self._in, 2**20)
            if not received:
                raise RuntimeError("the browser has ended")
            self._buffer += received
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)
