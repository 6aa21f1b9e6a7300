"""A headless Chromium, told over its DevTools what to show: what a page looks like, and what it complains of."""

import asyncio
import base64
import itertools
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
COMMAND = next((found for name in NAMES if (found := shutil.which(name))), None)
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-port=0", "--force-color-profile=srgb",
]  # fmt: skip


@contextmanager
def chromium():
    """Start a browser; yields the address of its DevTools."""
    folder = tempfile.mkdtemp()
    command = [COMMAND, *OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        port = Path(folder, "DevToolsActivePort")
        until = time.monotonic() + 60
        while not (port.exists() and port.read_text().count("\n")):
            assert process.poll() is None, "the browser has ended"
            assert time.monotonic() < until, "the browser does not answer"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port.read_text().splitlines()[0]}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


class Page:
    """One tab."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)
        self.complaints = []
        self.requests = []

    async def call(self, method, **params):
        number = next(self.numbers)
        await self.socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await self.socket.receive_json(timeout=60)
            self.note(message)
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["exception"].get("description", str(params)))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(one.get("value", one)) for one in params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    async def evaluate(self, expression):
        found = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression, seconds=25):
        end = time.monotonic() + seconds
        while not (found := await self.evaluate(expression)):
            assert time.monotonic() < end, (expression, self.complaints)
            await asyncio.sleep(0.05)
        return found


async def _look(address, url, shots, ready, measure):
    async with aiohttp.ClientSession() as session, session.put(f"{address}/json/new") as answer:
        tab = await answer.json()
        async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
            page = Page(socket)
            for domain in ("Page", "Runtime", "Log", "Network"):
                await page.call(f"{domain}.enable")
            looks = {}
            for name, (width, scheme) in shots.items():
                media = [{"name": "prefers-color-scheme", "value": scheme}]
                size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
                await page.call("Emulation.setDeviceMetricsOverride", **size)
                await page.call("Emulation.setEmulatedMedia", features=media)
                await page.call("Page.navigate", url=url)
                await page.until("document.readyState == 'complete'")
                await page.until(ready.replace("SCHEME", scheme))
                height = await page.evaluate("document.documentElement.scrollHeight")
                size["height"] = min(int(height), 8000)
                await page.call("Emulation.setDeviceMetricsOverride", **size)
                await page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 100)))")
                shot = await page.call("Page.captureScreenshot", format="png")
                looks[name] = base64.b64decode(shot["data"]), await page.evaluate(measure)
            return looks, page.complaints, page.requests


def look(path, shots, *, ready="true", measure="null"):
    """Open a page at some widths and colour schemes.

    Returns the screenshot and the value of `measure` for each; what stood in the console; and
    every address that was asked for.
    """
    with chromium() as address:
        return asyncio.run(_look(address, Path(path).absolute().as_uri(), shots, ready, measure))
