#!/usr/bin/env python3
"""Drives headless Chromium by its own protocol over a WebSocket, without a library: see page.sh."""

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

WIDTHS = [(1280, 900), (768, 1024), (390, 844)]
VIEWS = ["/", "/miners", "/windows", "/market", "/governance", "/evidence", "/try"]


class Browser:
    """One page of a browser."""

    def __init__(self):
        self.profile = tempfile.mkdtemp()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-port=0",
                 "--no-first-run", "--disable-background-networking", f"--user-data-dir={self.profile}", "about:blank"]
        self.process = subprocess.Popen(["chromium", *flags], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        port = self.wait(lambda: open(os.path.join(self.profile, "DevToolsActivePort")).read().split()[0])
        pages = self.wait(lambda: json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json")))
        path = next(page for page in pages if page["type"] == "page")["webSocketDebuggerUrl"].split(port, 1)[1]
        self.socket = socket.create_connection(("127.0.0.1", int(port)), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.socket.sendall(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        self.bytes = b""
        while b"\r\n\r\n" not in self.bytes:
            self.bytes += self.socket.recv(65536)
        self.bytes = self.bytes.split(b"\r\n\r\n", 1)[1]
        self.number, self.events = 0, []
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def wait(self, ask):
        for _ in range(300):
            try:
                return ask()
            except (OSError, IndexError, ValueError):
                time.sleep(0.1)
        raise SystemExit("chromium does not start")

    def take(self, count):
        while len(self.bytes) < count:
            more = self.socket.recv(1 << 20)
            if not more:
                raise SystemExit("chromium ended")
            self.bytes += more
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def message(self):
        whole = b""
        while True:
            first, second = self.take(2)
            length = second & 127
            if length == 126:
                (length,) = struct.unpack(">H", self.take(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.take(8))
            whole += self.take(length)
            if first & 128:
                return json.loads(whole)

    def call(self, method, **params):
        self.number += 1
        text = json.dumps({"id": self.number, "method": method, "params": params}).encode()
        length = struct.pack(">BB", 0x81, 128 | len(text)) if len(text) < 126 else struct.pack(">BBH", 0x81, 254, len(text))
        # A client masks its frames; a mask of zeros leaves them as they are.
        self.socket.sendall(length + b"\0\0\0\0" + text)
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    raise SystemExit(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def evaluate(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def open(self, url):
        self.call("Page.navigate", url=url)
        for _ in range(100):
            time.sleep(0.1)
            if self.evaluate(f"document.readyState === 'complete' && location.href === {json.dumps(url)}"):
                return
        raise SystemExit(f"{url} does not load")

    def picture(self, path):
        # The live stream keeps the page from being idle, so this waits for the paint alone.
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        size = self.evaluate("[document.documentElement.scrollWidth, Math.min(document.documentElement.scrollHeight, 4000)]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
        return size[0]

    def faults(self):
        """What the console has to complain of, and requests that failed or left this server."""
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(params["entry"]["text"])
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"])[:400])
            if event.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
                found.append(json.dumps(params["args"])[:400])
        return found

    def hosts(self):
        urls = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return {url.split("/")[2] for url in urls if url.startswith("http")}

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=20)
        shutil.rmtree(self.profile, ignore_errors=True)


def views(url):
    """All views, and a page for a miner and for a window that are there."""
    ask = lambda path: json.load(urllib.request.urlopen(url + path))
    more = []
    miner = next((slot["uid"] for slot in ask("api/v1/miners")["slots"] if slot["is_miner"]), None)
    more += [] if miner is None else [f"/miners/{miner}"]
    finished = [line["window"] for line in ask("api/v1/windows")["windows"] if line["stage"] == "finished"]
    more += [f"/windows/{finished[0]}"] if finished else []
    return VIEWS + more


def main():
    url, out = sys.argv[1], sys.argv[2]
    browser, wrong = Browser(), []
    try:
        for scheme in ["light", "dark"]:
            browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            for width, height in WIDTHS:
                browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                             mobile=width < 700)
                for view in views(url):
                    browser.open(url.rstrip("/") + view)
                    name = view.strip("/").replace("/", "-") or "run"
                    wide = browser.picture(os.path.join(out, f"{name}-{width}-{scheme}.png"))
                    if wide > width:
                        wrong.append(f"{view} at {width} is {wide} wide")
        # Sorting and filtering in place.
        browser.open(url + "miners")
        browser.evaluate("document.querySelector('[data-sort=pay]').click()")
        if browser.evaluate("document.querySelector('[data-sort=pay]').closest('th').ariaSort") != "descending":
            wrong.append("a click does not sort")
        filtered = "(() => { const field = document.getElementById('filter'); field.value = 'nothing-has-this'; " \
                   "field.dispatchEvent(new Event('input', {bubbles: true})); " \
                   "return [...document.querySelectorAll('#table tbody tr')].filter(row => !row.hidden).length; })()"
        if browser.evaluate(filtered) != 0:
            wrong.append("typing does not filter")
        # The page follows the run: the block at its foot rises.
        browser.open(url)
        block = "document.getElementById('as-of').textContent"
        first, begun = browser.evaluate(block), time.time()
        while browser.evaluate(block) == first:
            if time.time() - begun > 30:
                wrong.append("the page does not follow the run")
                break
            time.sleep(0.5)
        wrong += browser.faults()
        own = url.split("/")[2]
        wrong += [f"a request went to {host}" for host in browser.hosts() if host != own]
    finally:
        browser.close()
    print("\n".join(wrong) or f"no fault; pictures in {out}")
    sys.exit(1 if wrong else 0)


main()
