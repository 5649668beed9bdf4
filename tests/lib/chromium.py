"""A Chromium without a window, driven over its DevTools pipe: https://chromedevtools.github.io/devtools-protocol/"""

import json
import os
import shutil
import subprocess
import tempfile
import threading
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path

from touchline import wait_until

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
ANSWER_TIMEOUT_S = 30
LOAD_TIMEOUT_S = 30


class BrowserError(Exception):
    """What the browser says that it cannot do, or what a page's expression threw."""


class Chromium:
    """A browser with an empty profile. As a context: started, and at the end closed and its profile removed."""

    def __init__(self, executable: str, *flags: str):
        self.command = [executable, *FLAGS, *flags]
        self.answers: dict[int, Future] = {}
        self.sent = 0
        self.pages: dict[str, "Page"] = {}

    def __enter__(self) -> "Chromium":
        self.profile = Path(tempfile.mkdtemp(prefix="touchline-chromium-"))
        for_browser, self.out = os.pipe()
        self.into, from_browser = os.pipe()
        # The browser reads from descriptor 3 and writes to 4.
        redirect = f'exec "$@" 3<&{for_browser} 4>&{from_browser}'
        command = ["bash", "-c", redirect, "bash", *self.command, f"--user-data-dir={self.profile}"]
        with (self.profile / "log").open("wb") as log:
            self.process = subprocess.Popen(command, pass_fds=(for_browser, from_browser), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(self.profile)})
        os.close(for_browser)
        os.close(from_browser)
        threading.Thread(target=self.read, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self.call("Browser.close")
            self.process.wait(ANSWER_TIMEOUT_S)
        except (BrowserError, CancelledError, TimeoutError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def read(self) -> None:
        with os.fdopen(self.into, "rb") as pipe:
            rest = b""
            while part := pipe.read1():
                *messages, rest = (rest + part).split(b"\0")
                for message in messages:
                    self.take(json.loads(message))
        for answer in list(self.answers.values()):
            answer.cancel()

    def take(self, message: dict) -> None:
        if "id" in message:
            self.answers.pop(message["id"]).set_result(message)
        elif message["method"] == "Runtime.exceptionThrown" and message["sessionId"] in self.pages:
            self.pages[message["sessionId"]].thrown.append(message["params"]["exceptionDetails"])

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict:
        self.sent += 1
        number, answer = self.sent, Future()
        self.answers[number] = answer
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self.out, json.dumps(message).encode() + b"\0")
        said = answer.result(ANSWER_TIMEOUT_S)
        if "error" in said:
            raise BrowserError(f"{method}: {said['error']['message']}")
        return said["result"]

    def person(self) -> "Person":
        """Somebody with storage, cookies and cache of their own."""
        return Person(self, self.call("Target.createBrowserContext")["browserContextId"])


@dataclass
class Person:
    browser: Chromium
    context: str

    def unwatched(self, url: str) -> str:
        """`url` in a tab that nobody drives; returns its id. What is watched cannot be prerendered, for one."""
        return self.browser.call("Target.createTarget", url=url, browserContextId=self.context)["targetId"]

    def page(self, url: str = "about:blank", before: str = "") -> "Page":
        """A new tab, in which the script `before` runs before those of each page."""
        call = self.browser.call
        target = self.unwatched("about:blank")
        session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, self.browser, target, session)
        self.browser.pages[page.session] = page
        page.call("Page.enable")
        page.call("Runtime.enable")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        if url != "about:blank":
            page.go(url)
        return page


@dataclass
class Page:
    person: Person
    browser: Chromium
    target: str
    session: str
    # What was thrown, and caught by nobody.
    thrown: list[dict] = field(default_factory=list)

    def call(self, method: str, **parameters: object) -> dict:
        return self.browser.call(method, self.session, **parameters)

    def go(self, url: str) -> None:
        """Goes to `url` as if it had been typed, and waits until it is there."""
        self.call("Page.navigate", url=url)
        self.wait(f"location.href == {json.dumps(url)} && document.readyState == 'complete'")

    def reload(self) -> None:
        self.run("window.isOld = true")
        self.call("Page.reload")
        self.wait("!window.isOld && document.readyState == 'complete'")

    def run(self, expression: str) -> object:
        """The value of a JavaScript expression, or of what it promises."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True,
                           userGesture=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, expression: str, timeout_s: float = LOAD_TIMEOUT_S) -> None:
        """Waits until `expression` holds, across navigations."""
        def holds() -> bool:
            try:
                return bool(self.run(expression))
            except BrowserError:
                # The page that was asked is gone.
                return False
        wait_until(f"{expression} in the browser", holds, timeout_s)

    def close(self) -> None:
        """Closes the tab, as a person does."""
        self.browser.call("Target.closeTarget", targetId=self.target)
