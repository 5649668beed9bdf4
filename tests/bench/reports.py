"""Asks every report of a started demo, and prints how long the answers take."""

import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

EVENTS = int(os.environ.get("EVENTS", "10000000"))
# Requests of each report, one at a time; eight times as many are asked eight at once.
TIMES = int(os.environ.get("TIMES", "20"))
AT_ONCE = 8
REPORTS = "/api/v1/reports/"
NEEDED = {
    "funnel": {"steps": "page_view,add_to_cart,purchase"},
    "messages": {"by": "message_id,variant"},
}
PARTS = {"{id}": "welcome"}


class Server:
    """The demo, from its start until the block ends."""

    def __init__(self, folder: Path):
        binary = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release" / "touchline"
        command = [binary, "--data-dir", folder, "demo", "--events", str(EVENTS), "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = self.key = None
        for line in self.process.stdout:
            if found := re.match(r"Server\s+http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
            if found := re.match(r"Key\s+(\S+)", line):
                self.key = found[1]
                break
        if not self.key:
            raise RuntimeError("the demo has not come up")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)

    def peak_mb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024

    def ask(self, connection: http.client.HTTPConnection, address: str) -> tuple[float, int]:
        """Seconds until the whole answer is there, and its bytes."""
        started = time.perf_counter()
        connection.request("GET", address, headers={"Authorization": f"Bearer {self.key}"})
        answer = connection.getresponse()
        size = 0
        while part := answer.read(1 << 20):
            size += len(part)
        if answer.status != 200:
            raise RuntimeError(f"{address} answers {answer.status}")
        return time.perf_counter() - started, size


def main() -> int:
    kept = os.environ.get("DATA_DIR")
    folder = Path(kept or tempfile.mkdtemp(prefix="touchline-bench-"))
    try:
        print(f"a shop with about {EVENTS:,} events in {folder}", flush=True)
        with Server(folder) as server:
            measure(server)
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def measure(server: Server) -> None:
    print(f"the server took {server.peak_mb()} MB while it stored the events and ran its jobs")
    print(f"{'report':28}{'KB':>8}{'first':>9}{'p50':>9}{'p99':>9}{f'p50 of {AT_ONCE}':>10}{f'p99 of {AT_ONCE}':>10}  (ms)")
    slowest = 0.0
    for report in reports(server):
        address = address_of(report)
        connection = server.connection()
        first, size = server.ask(connection, address)
        alone = [server.ask(connection, address)[0] for _ in range(TIMES)]
        crowd = at_once(server, address)
        slowest = max(slowest, p99(alone))
        cells = (first, statistics.median(alone), p99(alone), statistics.median(crowd), p99(crowd))
        widths = (9, 9, 9, 10, 10)
        print(f"{report:28}{size / 1000:8.1f}" + "".join(f"{1000 * cell:{width}.1f}" for cell, width in zip(cells, widths)), flush=True)
    print(f"the slowest p99, one at a time: {1000 * slowest:.1f} ms")
    seconds, size = server.ask(server.connection(), f"{REPORTS}sessions.csv")
    print(f"all sessions as CSV: {size / 1e6:.1f} MB in {seconds:.2f} s, {size / 1e6 / seconds:.1f} MB/s")
    print(f"peak memory of the server: {server.peak_mb()} MB")


def reports(server: Server) -> list[str]:
    connection = server.connection()
    connection.request("GET", "/api/openapi.json")
    paths = json.loads(connection.getresponse().read())["paths"]
    return sorted(path.removeprefix(REPORTS) for path in paths if path.startswith(REPORTS))


def address_of(report: str) -> str:
    query = urllib.parse.urlencode(NEEDED.get(report, {}))
    for part, value in PARTS.items():
        report = report.replace(part, value)
    return f"{REPORTS}{report}?{query}"


def at_once(server: Server, address: str) -> list[float]:
    taken: list[float] = []

    def ask_again() -> None:
        connection = server.connection()
        for _ in range(TIMES):
            taken.append(server.ask(connection, address)[0])

    threads = [threading.Thread(target=ask_again) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def p99(taken: list[float]) -> float:
    return sorted(taken)[min(len(taken) - 1, int(0.99 * len(taken)))]


if __name__ == "__main__":
    sys.exit(main())
