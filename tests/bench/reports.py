"""How long the answers to reports and statements take over a month of a shop's traffic: computed, and kept."""

import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

EVENTS = int(os.environ.get("EVENTS", "10000000"))
# Requests of each report, one at a time; as many again by each of those that ask at once.
TIMES = int(os.environ.get("TIMES", "10"))
AT_ONCE = 8
REPORTS = "/api/v1/reports/"
SQL = "/api/v1/sql"
NEEDED = {
    "funnel": {"steps": "page_view,add_to_cart,purchase"},
    "messages": {"by": "message_id,variant"},
}
PARTS = {"{id}": "welcome"}
KEPT_NOTHING = {"TOUCHLINE_QUERY__KEPT_ANSWERS_BYTES": "0"}
# Room for all events in one answer.
LARGE_ANSWERS = {
    "TOUCHLINE_SQL__MAX_ROWS": str(2 * EVENTS),
    "TOUCHLINE_SQL__MAX_ANSWER_BYTES": "17179869184",
    "TOUCHLINE_SQL__TIMEOUT_S": "3600",
}
ALL_EVENTS = "SELECT event_id, occurred_at, event_type, visitor_id, path, utm_source, revenue FROM events"
BINARY = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release" / "touchline"


class Server:
    """The installation, served with some settings until the block ends."""

    def __init__(self, folder: Path, settings: dict[str, str]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [BINARY, "--data-dir", folder, "serve", "--listen", f"127.0.0.1:{self.port}"]
        # No job may change what is asked about.
        settings = {**os.environ, **settings, "TOUCHLINE_JOBS__ENABLED": "false"}
        self.process = subprocess.Popen(command, env=settings, stderr=subprocess.DEVNULL)
        self.key = (folder / "bench.key").read_text()
        while self.process.poll() is None:
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"the server ended with {self.process.returncode}")

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)

    def ask(self, method: str, address: str, body: object = None, connection=None) -> tuple[int, bytes]:
        connection = connection or self.connection()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        connection.request(method, address, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def seconds(self, address: str, statement: str | None = None, connection=None) -> tuple[float, int]:
        """Seconds until the whole answer is there, and its bytes."""
        started = time.perf_counter()
        method, body = ("POST", {"sql": statement}) if statement else ("GET", None)
        status, text = self.ask(method, address, body, connection)
        if status != 200:
            raise RuntimeError(f"{address} answers {status}: {text[:500]}")
        return time.perf_counter() - started, len(text)

    def peaks_mb(self) -> tuple[int, int]:
        """The most memory of the server, and of the largest of its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return peak_mb(self.process.pid), max((peak_mb(int(child)) for child in children), default=0)


def peak_mb(pid: int) -> int:
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) // 1024


def main() -> int:
    kept = os.environ.get("DATA_DIR")
    folder = Path(kept or tempfile.mkdtemp(prefix="touchline-bench-"))
    try:
        if not (folder / "bench.key").exists():
            generate(folder)
        measure(folder)
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def generate(folder: Path) -> None:
    print(f"a shop with about {EVENTS:,} events in {folder} …", flush=True)
    demo = [BINARY, "--data-dir", folder, "demo", "--events", str(EVENTS), "--listen", "127.0.0.1:0", "--exit"]
    said = subprocess.run(demo, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    (folder / "bench.key").write_text(re.search(r"^Key\s+(\S+)", said, re.MULTILINE)[1])


def measure(folder: Path) -> None:
    with Server(folder, KEPT_NOTHING) as server:
        asked = {report: address_of(report) for report in reports(server)}
        print(f"computed anew each time (ms)\n{head()}")
        computed = {report: times(server, report, address) for report, address in asked.items()}
        print(f"peak memory of the server: {server.peaks_mb()[0]} MB\n")
    with Server(folder, {}) as server:
        print(f"asked before, of the same tables (ms)\n{head()}")
        warm = {report: times(server, report, address) for report, address in asked.items()}
        worst = max(warm, key=lambda report: p99(warm[report]))
        print(f"the slowest p99 of those, one at a time: {1000 * p99(warm[worst]):.1f} ms, {worst}\n")
        print("the same query by POST /api/v1/sql: its p50 as a part of the report's")
        for report, address in asked.items():
            if statement := same_query(server, address):
                through_sql = [server.seconds(SQL, statement)[0] for _ in range(TIMES)]
                mine, theirs = statistics.median(computed[report]), statistics.median(through_sql)
                print(f"{report:28}{1000 * mine:9.1f}{1000 * theirs:9.1f}{theirs / mine:9.2f}")
    # Each by a server of its own, whose peak is that of this answer.
    with Server(folder, LARGE_ANSWERS) as server:
        stream(server, "all events as CSV, by SQL", f"{SQL}?format=csv", ALL_EVENTS)
    with Server(folder, LARGE_ANSWERS) as server:
        stream(server, "all sessions as CSV", f"{REPORTS}sessions.csv?from=2000-01-01")


def head() -> str:
    return f"{'report':28}{'KB':>8}{'first':>9}{'p50':>9}{'p99':>9}{f'p50 of {AT_ONCE}':>10}{f'p99 of {AT_ONCE}':>10}"


def times(server: Server, report: str, address: str) -> list[float]:
    """Asks a report, prints how long it takes, and returns the times of those that were asked one at a time."""
    connection = server.connection()
    first, size = server.seconds(address, connection=connection)
    alone = [server.seconds(address, connection=connection)[0] for _ in range(TIMES)]
    crowd, refused = at_once(lambda connection: server.seconds(address, connection=connection)[0], server)
    cells = (first, statistics.median(alone), p99(alone), statistics.median(crowd), p99(crowd))
    texts = "".join(f"{1000 * cell:{width}.1f}" for cell, width in zip(cells, (9, 9, 9, 10, 10)))
    note = f"   {refused} of {AT_ONCE * TIMES} refused" if refused else ""
    print(f"{report:28}{size / 1000:8.1f}{texts}{note}", flush=True)
    return alone


def stream(server: Server, name: str, address: str, statement: str | None = None) -> None:
    """Reads an answer as it comes, and prints how fast that was."""
    connection = server.connection()
    headers = {"Authorization": f"Bearer {server.key}", "Content-Type": "application/json"}
    started = time.perf_counter()
    body = json.dumps({"sql": statement}) if statement else None
    connection.request("POST" if statement else "GET", address, body, headers)
    answer, size, rows = connection.getresponse(), 0, 0
    if answer.status != 200:
        print(f"{name}: answers {answer.status}: {answer.read()[:300]}", flush=True)
        return
    while part := answer.read(1 << 20):
        size += len(part)
        rows += part.count(b"\r\n")
    took = time.perf_counter() - started
    ours, worker = server.peaks_mb()
    rate = f"{size / 1e6:.0f} MB in {took:.1f} s, {size / 1e6 / took:.0f} MB/s"
    print(f"{name}: {rows:,} rows, {rate}; peak memory {ours} MB, of a worker {worker} MB", flush=True)


def same_query(server: Server, address: str) -> str | None:
    """The one statement whose rows are those of the report, if there is one."""
    status, text = server.ask("GET", f"{address}{'&' if '?' in address else '?'}explain=sql")
    statements = json.loads(text)["statements"] if status == 200 else []
    return statements[0]["sql"] if len(statements) == 1 and statements[0]["gives"] == "answer" else None


def reports(server: Server) -> list[str]:
    paths = json.loads(server.ask("GET", "/api/openapi.json")[1])["paths"]
    return sorted(path.removeprefix(REPORTS) for path in paths if path.startswith(REPORTS))


def address_of(report: str) -> str:
    query = urllib.parse.urlencode(NEEDED.get(report, {}))
    for part, value in PARTS.items():
        report = report.replace(part, value)
    return f"{REPORTS}{report}?{query}" if query else f"{REPORTS}{report}"


def at_once(ask: Callable[[http.client.HTTPConnection], float], server: Server) -> tuple[list[float], int]:
    """How long the answers took, and how often there was none: two large reports may need more memory than there is."""
    taken: list[float] = []
    refused: list[Exception] = []

    def ask_again() -> None:
        connection = server.connection()
        for _ in range(TIMES):
            try:
                taken.append(ask(connection))
            except RuntimeError as error:
                refused.append(error)

    threads = [threading.Thread(target=ask_again) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not taken:
        raise refused[0]
    return taken, len(refused)


def p99(taken: list[float]) -> float:
    return sorted(taken)[min(len(taken) - 1, int(0.99 * len(taken)))]


if __name__ == "__main__":
    sys.exit(main())
