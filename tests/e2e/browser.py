# SPDX-License-Identifier: MIT
"""A real browser for tests of pages: Chromium without a window, spoken to in its own DevTools protocol over two pipes, so
that nothing but Debian's package is needed. A page has a width and a colour scheme, runs JavaScript, and remembers what
it fetched and what went wrong on it. Where there is no Chromium the tests skip (`tools/setup.sh browser` installs it).

    with Browser() as browser:
        page = browser.page(width=390, dark=True)
        page.open(path.as_uri())
        assert page.run("document.title") == "..." and not page.errors
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from support import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_browser():
    """The program, or a skip that says how to get it."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if not path:
        pytest.skip("no Chromium: tools/setup.sh browser installs it")
    return path


def high(fd):
    """The same file under a number that is out of the way of 3 and 4."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(fd)
    return copy


class Page:
    """One tab. `requests` are the addresses it fetched, `errors` what its console and its scripts complained of."""

    def __init__(self, browser, session):
        self.browser, self.session = browser, session
        self.requests, self.errors, self.loaded = [], [], False

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def on_event(self, method, params):
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))

    def look(self, width, height=800, dark=False):
        """The size of the window in CSS pixels, and the colours that the reader prefers."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url, seconds=PATIENCE):
        """Goes there and waits until everything is loaded."""
        self.loaded = False
        answer = self.call("Page.navigate", url=url)
        assert not answer.get("errorText"), f"{url}: {answer['errorText']}"
        self.browser.wait(lambda: self.loaded, seconds, f"loading {url}")

    def run(self, expression):
        """The value of a JavaScript expression, a promise's once it is kept, as JSON carries it."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        failed = answer.get("exceptionDetails")
        assert not failed, f"{expression}: {failed.get('exception', {}).get('description') or failed['text']}"
        return answer["result"].get("value")

    def until(self, expression, seconds=PATIENCE):
        """Waits until a JavaScript expression is true; returns its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(expression)):
            assert time.monotonic() < deadline, f"{expression} did not come true"
            time.sleep(0.02)
        return value

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector, text):
        """Text as if typed, into the field with that selector."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def screenshot(self, path):
        """The whole page, also what lies below the window, as PNG; for eyes."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(answer["data"]))


class Browser:
    """The program. It leaves nothing behind: its profile is a folder that goes with it."""

    def __init__(self, *args):
        program = find_browser()
        self.profile = tempfile.TemporaryDirectory(prefix="slm-browser-", ignore_cleanup_errors=True)
        command = [program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}",
                   "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                   "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
                   *args, "about:blank"]
        (theirs_in, ours_out), (ours_in, theirs_out) = [map(high, os.pipe()) for _ in range(2)]
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        # The protocol's pipes are 3 and 4. A group of its own, since it starts many processes.
        moves = [(os.POSIX_SPAWN_DUP2, old, new) for old, new in
                 ((null, 0), (null, 1), (null, 2), (theirs_in, 3), (theirs_out, 4))]
        self.pid = os.posix_spawn(program, command, os.environ, file_actions=moves, setpgroup=0)
        for fd in (theirs_in, theirs_out, null):
            os.close(fd)
        self.fd_in, self.fd_out, self.rest = ours_in, ours_out, b""
        self.n_calls, self.answers, self.pages = 0, {}, {}

    def read(self, seconds):
        """Takes in what has come: answers by their number, events to their page."""
        if not select.select([self.fd_in], [], [], seconds)[0]:
            return
        data = os.read(self.fd_in, 1 << 20)
        assert data, "the browser ended"
        *messages, self.rest = (self.rest + data).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.answers[message["id"]] = message
            elif message.get("sessionId") in self.pages:
                self.pages[message["sessionId"]].on_event(message["method"], message["params"])

    def wait(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what} took longer than {seconds} s"
            self.read(0.1)

    def call(self, method, session=None, **params):
        self.n_calls += 1
        number = self.n_calls
        message = {"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.fd_out, data):]
        self.wait(lambda: number in self.answers, PATIENCE, method)
        answer = self.answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def page(self, width=1024, height=800, dark=False):
        """A new tab that looks like this."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Network", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.look(width, height, dark)
        return page

    def close(self):
        os.close(self.fd_in)
        os.close(self.fd_out)
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.profile.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
