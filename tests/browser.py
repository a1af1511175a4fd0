"""A headless browser without a network, driven over the DevTools protocol by its pipe; None where there is none."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60.0  # seconds that a page may take to draw


def find_browser() -> str | None:
    """The path of a Chromium, if the machine has one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """One headless Chromium with one page. `complaints` are console messages, exceptions and requests that left."""

    def __init__(self, executable: str, profile: Path) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        taken = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (to_read, to_write)]  # clear of 3 and 4
        self._process = subprocess.Popen(
            [
                "sh", "-c", f'exec "$@" 3</dev/fd/{taken[0]} 4>/dev/fd/{taken[1]}', "sh", executable,
                "--headless", "--no-sandbox",
                "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={profile}",
                "--remote-debugging-pipe", "about:blank",
            ],
            pass_fds=taken, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in (to_read, to_write, *taken):
            os.close(end)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def close(self) -> None:
        """Ends the browser."""
        self._process.terminate()
        self._process.wait(timeout=PATIENCE)
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a DevTools command; what the page complains of meanwhile is kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]  # type: ignore[no-any-return]
            self._note(answer)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page; promises are awaited."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def open(self, page: Path, width: int, height: int = 900) -> None:
        """Opens a report at this width and waits until all its charts are drawn."""
        self.complaints.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.evaluate(
            "new Promise((done, failed) => { const end = Date.now() + 1000 * "
            f"{PATIENCE}; const look = () => document.readyState === 'complete' && (!document.querySelector('.chart') "
            "|| document.body.dataset.drawn) ? done(true) : Date.now() > end ? failed('not drawn') : "
            "setTimeout(look, 50); look(); })"
        )

    def hover(self, selector: str) -> str | None:
        """The tooltip's text when the mouse is over the first element of the selector."""
        place = self.evaluate(
            f"(() => {{ const mark = document.querySelector({json.dumps(selector)}); "
            "mark.scrollIntoView({block: 'center'}); const box = mark.getBoundingClientRect(); "
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for attempt in range(20):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0] + attempt % 2, y=place[1])
            said = self.evaluate(
                "new Promise(done => setTimeout(() => { const tip = document.querySelector('#vg-tooltip-element"
                ".visible'); done(tip && tip.innerText); }, 100))"
            )
            if said:
                return str(said)
        return None

    def screenshot(self, path: Path, selector: str = "body") -> None:
        """Writes what the element shows as PNG."""
        box = self.evaluate(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); return "
            "{x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height, scale: 1}; })()"
        )
        shot = self.call("Page.captureScreenshot", clip=box, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise AssertionError("the browser has ended")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)  # type: ignore[no-any-return]

    def _note(self, event: dict[str, Any]) -> None:
        method, about = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.complaints.append(f"{about['type']}: {[part.get('value') for part in about['args']]}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(about["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.complaints.append(str(about["entry"].get("text")))
        elif method == "Network.requestWillBeSent":
            url = about["request"]["url"]
            if not url.startswith(("file:", "data:", "blob:")):
                self.complaints.append(f"request to {url}")
