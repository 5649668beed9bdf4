"""A Touchline of one's own for a test: the binary, a data directory, accounts, keys, a server, requests, reports."""

import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from http.client import HTTPException
from pathlib import Path

from wire import Response, exchange

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60
COMMAND_TIMEOUT_S = 300
# What is promised: an event can be queried this long after its 2xx. A test that claims nothing of it waits longer, so
# that it does not fail because the machine is busy.
FRESHNESS_S = 10
DRAIN_S = 60
BOTH_SCOPES = ("ingest", "can_view_reports")


def skip(reason: str) -> None:
    """Ends the script: fine by hand, an error in CI, where nothing may be left out."""
    print(f"skipped: {reason}")
    sys.exit(1 if os.environ.get("CI") else 0)


def find_binary() -> Path:
    """`TOUCHLINE_BIN`, or else what cargo built last in release or dev profile, in this order."""
    named = os.environ.get("TOUCHLINE_BIN")
    if named:
        if not Path(named).is_file():
            sys.exit(f"TOUCHLINE_BIN={named} is not a file")
        return Path(named).resolve()
    targets = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    for profile in ("release", "debug"):
        binary = targets / profile / "touchline"
        if binary.is_file():
            return binary.resolve()
    skip(f"no binary `touchline` under {targets}; build it, or name it in TOUCHLINE_BIN")


class Checks:
    """Prints each check as it is made, and remembers whether any failed."""

    def __init__(self, title: str):
        self.passed = 0
        self.failed = 0
        print(f"== {title}", flush=True)

    def true(self, name: str, holds: bool, detail: object = "") -> bool:
        if holds:
            self.passed += 1
            print(f"ok    {name}", flush=True)
        else:
            self.failed += 1
            print(f"FAIL  {name}: {shorten(detail)}", flush=True)
        return bool(holds)

    def equal(self, name: str, actual: object, expected: object) -> bool:
        return self.true(name, actual == expected, f"is {shorten(actual)}, should be {shorten(expected)}")

    def finish(self) -> int:
        """The exit code of the script."""
        print(f"{self.passed} checks hold, {self.failed} do not", flush=True)
        return 1 if self.failed or not self.passed else 0


def shorten(value: object, limit: int = 1_500) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


@dataclass(frozen=True)
class Key:
    """A key that has been shown once, and whose it is."""

    slug: str
    environment: str
    secret: str
    key_id: str


class Touchline:
    """The binary on a data directory of its own. As a context: started, and at the end stopped and checked."""

    def __init__(self, checks: Checks, config: str = ""):
        self.checks = checks
        self.binary = find_binary()
        self.root = Path(tempfile.mkdtemp(prefix="touchline-test-"))
        self.data_dir = self.root / "data"
        # What a process that is killed leaves behind goes with everything else.
        self.temporary = self.root / "tmp"
        self.temporary.mkdir()
        self.environment = {**os.environ, "TMPDIR": str(self.temporary)}
        self.log_file = self.root / "server.log"
        self.port = free_port()
        self.process: subprocess.Popen | None = None
        self.started: list[subprocess.Popen] = []
        self.slugs: set[str] = set()
        self.config_file = self.root / "touchline.toml" if config else None
        if self.config_file:
            self.config_file.write_text(config)

    def __enter__(self) -> "Touchline":
        print(f"binary {self.binary}, data in {self.data_dir}", flush=True)
        try:
            self.start()
        except BaseException:
            # No exit follows a failed entry, and a server must not outlive its test.
            if self.running():
                self.kill()
            raise
        return self

    def __exit__(self, error_type: type | None, _error: object, _trace: object) -> None:
        if self.running():
            self.checks.equal("the server stops with exit code 0 on SIGTERM", self.stop(), 0)
        for process in self.started:
            process.kill()
            process.wait()
        log = self.log_text()
        panics = [line for line in log.splitlines() if "panicked" in line]
        self.checks.equal("nothing panicked", panics, [])
        if self.checks.failed or error_type:
            print(f"kept {self.root}; the end of the server's log:\n{log[-3_000:]}", flush=True)
        else:
            shutil.rmtree(self.root, ignore_errors=True)

    # The process

    def spawn(self) -> None:
        """Starts the server and does not wait for it."""
        with self.log_file.open("ab") as log:
            self.process = self.popen("serve", "--listen", f"127.0.0.1:{self.port}", stdin=subprocess.DEVNULL,
                                      stdout=log, stderr=log)

    def start(self) -> float:
        """Starts the server; returns the seconds until it was ready."""
        started = time.monotonic()
        self.spawn()
        wait_until("the server is ready", self.ready, START_TIMEOUT_S)
        return time.monotonic() - started

    def ready(self) -> bool:
        if not self.running():
            sys.exit(f"the server ended with code {self.process.returncode}:\n{self.log_text()[-3_000:]}")
        try:
            return self.get("/readyz", timeout_s=2).status == 200
        except (OSError, HTTPException):
            return False

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> int:
        """Asks the server to end; returns its exit code, which is not 0 when it had to be killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def kill(self) -> None:
        """As a power switch would: no chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def log_text(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def peak_memory_mb(self) -> float:
        """The most memory that the running server ever held."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1_024
        raise LookupError("VmHWM")

    # The command line

    def command_line(self, *arguments: object) -> list[str]:
        """The binary with a subcommand, on the same data directory and with the same configuration."""
        line = [self.binary, *arguments, "--data-dir", self.data_dir]
        if self.config_file:
            line += ["--config", self.config_file]
        return [str(part) for part in line]

    def popen(self, *arguments: object, **streams: object) -> subprocess.Popen:
        """Starts a subcommand, which does not outlive the context."""
        self.started.append(subprocess.Popen(self.command_line(*arguments), env=self.environment, **streams))
        return self.started[-1]

    def run(self, *arguments: object, told: str = "") -> subprocess.CompletedProcess:
        """Runs a subcommand to its end, whatever that is; `told` is its standard input."""
        return subprocess.run(self.command_line(*arguments), input=told, capture_output=True, text=True,
                              timeout=COMMAND_TIMEOUT_S, env=self.environment)

    def command(self, *arguments: object) -> str:
        """Runs a subcommand that must succeed; returns its standard output."""
        done = self.run(*arguments)
        if done.returncode != 0:
            said = done.stderr[-2_000:]
            raise RuntimeError(f"`touchline {' '.join(done.args[1:])}` ended with {done.returncode}: {said}")
        return done.stdout

    def command_json(self, *arguments: object) -> dict:
        """The last line of a subcommand's output, as JSON."""
        return json.loads(self.command(*arguments, "--json").strip().splitlines()[-1])

    def key(self, slug: str, environment: str = "live", scopes: tuple[str, ...] = BOTH_SCOPES,
            kind: str = "secret") -> Key:
        """A new key of the account, which is created when it is not there yet."""
        if slug not in self.slugs:
            self.command("account", "create", slug, "--name", f"The account {slug}", "--json")
            self.slugs.add(slug)
        made = self.command_json("key", "create", "--account", slug, "--env", environment, "--scope", ",".join(scopes),
                                 "--kind", kind)
        return Key(slug, environment, made["key"], made["key_id"])

    def run_jobs(self) -> None:
        self.command("jobs", "run", "all")

    # Requests

    def request(self, method: str, target: str, body: bytes = b"", headers: list[tuple[str, str]] | None = None,
                key: Key | None = None, timeout_s: float = 60) -> Response:
        """One request on a connection of its own; header names and values go out as given."""
        lines = [("Host", f"127.0.0.1:{self.port}"), ("Connection", "close"), *(headers or [])]
        if key:
            lines.append(("Authorization", f"Bearer {key.secret}"))
        if body or method in ("POST", "PUT"):
            lines.append(("Content-Length", str(len(body))))
        return exchange(("127.0.0.1", self.port), method, target, lines, body, timeout_s)

    def get(self, path: str, key: Key | None = None, timeout_s: float = 60, **parameters: object) -> Response:
        query = urllib.parse.urlencode({name: value for name, value in parameters.items() if value is not None})
        return self.request("GET", f"{path}?{query}" if query else path, key=key, timeout_s=timeout_s)

    def post(self, path: str, body: object, key: Key | None, headers: list[tuple[str, str]] | None = None) -> Response:
        """Posts `body`: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, [("Content-Type", "application/json"), *(headers or [])], key)

    def sql(self, key: Key, statement: str, **more: object) -> list[dict]:
        """The rows of a statement."""
        return self.post("/api/v1/sql", {"sql": statement, **more}, key).expect(200).json()["data"]

    def account_id(self, key: Key) -> str:
        return self.get("/api/v1/validate", key).json()["account"]["id"]

    # Reports

    def report(self, key: Key, name: str, start: datetime, end: datetime, **parameters: object) -> list[dict]:
        """All rows of a report over `[start, end)`, page by page, from its JSON."""
        rows, target = [], report_target(name, start, end, "json", parameters)
        while target:
            answer = self.request("GET", target, key=key).expect(200).json()
            rows += answer["data"]
            following = answer.get("links", {}).get("next")
            target = following and request_target(following)
        return rows

    def report_csv(self, key: Key, name: str, start: datetime, end: datetime, **parameters: object) -> list[dict]:
        """All rows of a report over `[start, end)`, page by page, from its CSV: every cell is text."""
        rows, target = [], report_target(name, start, end, "csv", parameters)
        while target:
            answer = self.request("GET", target, key=key).expect(200)
            rows += csv.DictReader(io.StringIO(answer.body.decode(), newline=""), strict=True)
            target = next_link(answer.headers.get("link", ""))
        return rows

    def ingest_totals(self, key: Key) -> dict[str, int]:
        """What `/reports/ingest` says of everything that arrived in these days, summed over the hours."""
        rows = self.report(key, "ingest", *around_now(days=2))
        return {column: sum(row[column] or 0 for row in rows) for column in INGEST_COUNTS}

    def metric(self, name: str) -> float:
        """The sum of a metric's samples; a metric that is not there is an error, not a zero."""
        lines = self.get("/metrics").text().splitlines()
        samples = [line for line in lines if line.split("{")[0].split(" ")[0] == name]
        if not samples:
            raise LookupError(f"/metrics has no {name}")
        return sum(float(line.rsplit(" ", 1)[1]) for line in samples)

    def wait_drained(self, timeout_s: float = DRAIN_S) -> float:
        """Waits until the lake has all that the log has; returns the seconds that it took."""
        return wait_until("the log is drained", lambda: self.metric("touchline_log_pending_bytes") == 0, timeout_s)


INGEST_COUNTS = ("received", "stored", "duplicates", "rejected")


def wait_until(what: str, holds, timeout_s: float, pause_s: float = 0.05) -> float:
    """Polls until `holds()`; returns the seconds that it took."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > timeout_s:
            raise TimeoutError(f"not within {timeout_s} s: {what}")
        time.sleep(pause_s)
    return time.monotonic() - started


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def now() -> datetime:
    return datetime.now(timezone.utc)


def rfc3339(instant: datetime) -> str:
    return instant.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def around_now(days: int) -> tuple[datetime, datetime]:
    """A range, whole days long, that has the present in its middle."""
    today = now().replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days), today + timedelta(days=days + 1)


def report_target(name: str, start: datetime, end: datetime, form: str, parameters: dict[str, object]) -> str:
    query = {"from": rfc3339(start), "to": rfc3339(end), "format": form, **parameters}
    return f"/api/v1/reports/{name}?{urllib.parse.urlencode(query)}"


def request_target(link: str) -> str:
    parts = urllib.parse.urlsplit(link)
    return f"{parts.path}?{parts.query}"


def next_link(header: str) -> str | None:
    """The target of `Link: <…>; rel="next"`."""
    for link in header.split(","):
        address, _, relation = link.partition(";")
        if "next" in relation:
            return request_target(address.strip().strip("<>"))
    return None


def same_cell(value: object, cell: str) -> bool:
    """Whether a JSON value and a CSV cell say the same. CSV has one word for null and the empty text."""
    if value is None:
        return cell == ""
    if isinstance(value, bool):
        return cell == str(value).lower()
    if isinstance(value, (int, Decimal)):
        try:
            return Decimal(cell) == value
        except InvalidOperation:
            return False
    return cell == str(value)


def rows_differ(json_rows: list[dict], csv_rows: list[dict]) -> str:
    """Empty when both hold the same rows with the same columns in the same order, else the first difference."""
    if len(json_rows) != len(csv_rows):
        return f"{len(json_rows)} rows in JSON, {len(csv_rows)} in CSV"
    for place, (row, cells) in enumerate(zip(json_rows, csv_rows)):
        if list(row) != list(cells):
            return f"row {place}: columns {list(row)} in JSON, {list(cells)} in CSV"
        for column, value in row.items():
            if not same_cell(value, cells[column]):
                return f"row {place}, {column}: {value!r} in JSON, {cells[column]!r} in CSV"
    return ""
