"""Hostile statements: each is refused or bounded, with a clear answer, while events keep coming in."""

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

from touchline import Checks, Key, Touchline, wait_until
from wire import Response

STATEMENTS = HERE / "data" / "sql" / "hostile.txt"
SQL = "/api/v1/sql"
TIMEOUT_S = 2
# Small limits, so that a statement reaches them soon.
CONFIG = f"""
[sql]
workers = 3
max_queued = 4
queue_timeout_s = 5
timeout_s = {TIMEOUT_S}
memory_limit_bytes = 67108864
process_memory_bytes = 402653184
max_rows = 200000
max_answer_bytes = 16777216
"""
# Statements that are sent at the same time. A worker is left for whoever asks something simple.
AT_ONCE = 2
# A worker answers again this soon after another was killed.
BACK_S = 1.0
# On a busy machine one in so many may take longer, and none longer than that.
ONE_IN = 50
BACK_AT_LAST_S = 5.0
# A worker that has computed for so long is at a statement: it takes less than that to start.
AT_WORK_CPU_S = 0.3
# A statement that needs longer than it may is told so this long after it began: killing takes a moment.
GRACE_S = 2.5
# A canary is what nobody but its owner may ever see.
CANARY = "canary-6f1d2b7c9a"
SLOW = "SELECT count(*) FROM generate_series(1, 9223372036854775807)"


@dataclass(frozen=True)
class Statement:
    place: str
    sql: str
    # Codes of problems, `answered` or `broken`.
    expected: frozenset[str]


@dataclass(frozen=True)
class Told:
    outcome: str
    text: str
    seconds: float
    retry_after: str | None = None


class Feeder(threading.Thread):
    """Sends events without a pause, and remembers what became of them."""

    def __init__(self, touchline: Touchline, key: Key):
        super().__init__(daemon=True)
        self.touchline, self.key = touchline, key
        self.stopping = threading.Event()
        self.sent = 0
        self.failures: list[str] = []
        self.slowest_s = 0.0

    def run(self) -> None:
        while not self.stopping.is_set():
            events = [{"event_type": "page_view", "visitor_id": f"v{self.sent + place}"} for place in range(5)]
            began = time.monotonic()
            try:
                answer = self.touchline.post("/api/v1/events", {"events": events}, self.key)
                if answer.status // 100 != 2:
                    self.failures.append(f"{answer.status}: {answer.text()[:200]}")
            except (OSError, HTTPException) as error:
                self.failures.append(repr(error))
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.sent += len(events)
            time.sleep(0.02)

    def stop(self) -> None:
        self.stopping.set()
        self.join()


def main() -> int:
    checks = Checks("hostile statements")
    with Touchline(checks, CONFIG) as touchline:
        key, other, test = touchline.key("shop"), touchline.key("other"), touchline.key("shop", "test")
        pid = touchline.process.pid
        plant(touchline, other, test)
        feeder = Feeder(touchline, touchline.key("feeder"))
        feeder.start()
        check_sight(checks, touchline, key, other)
        check_hostile(checks, touchline, key, other)
        check_kills(checks, touchline, key)
        check_leavers(checks, touchline, key)
        check_queue(checks, touchline, key)
        feeder.stop()
        checks.equal("no event was refused or lost on the way", feeder.failures[:5], [])
        checks.true(f"{feeder.sent} events in between, the slowest request took {feeder.slowest_s:.2f} s",
                    feeder.sent > 100 and feeder.slowest_s < 5)
        touchline.wait_drained()
        stored = touchline.sql(feeder.key, "SELECT count(*) AS n FROM events")
        checks.equal("all of them are in the table", stored, [{"n": feeder.sent}])
        checks.equal("the server is the same process", touchline.process.pid if touchline.running() else None, pid)
        check_schema(checks, touchline, key)
        check_command(checks, touchline)
        stolen = [str(path) for path in Path("/tmp").glob("touchline-stolen*")]
        checks.equal("no file was written", stolen, [])
    return checks.finish()


def plant(touchline: Touchline, *keys: Key) -> None:
    """Events with the canary in every text, for another account and for the other environment."""
    for key in keys:
        event = {"event_type": "page_view", "visitor_id": CANARY, "user_id": CANARY,
                 "url": f"https://a.example/{CANARY}", "properties": {"secret": CANARY}}
        # The second is refused, and kept as such.
        answer = touchline.post("/api/v1/events", {"events": [event, {"visitor_id": CANARY}]}, key).json()
        if (answer["accepted"], len(answer["rejected"])) != (1, 1):
            raise RuntimeError(f"the canary was not taken: {answer}")
    touchline.wait_drained()
    touchline.run_jobs()


def send(touchline: Touchline, key: Key, sql: str, **more: object) -> Told:
    """What comes of a statement, as one word, and all bytes of the answer."""
    began = time.monotonic()
    try:
        answer = touchline.post(SQL, {"sql": sql, **more}, key)
    except (OSError, HTTPException) as error:
        return Told("broken", repr(error), time.monotonic() - began)
    seconds = time.monotonic() - began
    return Told(outcome_of(answer), answer.text(), seconds, answer.headers.get("retry-after"))


def outcome_of(answer: Response) -> str:
    if answer.status == 200:
        return "answered"
    body = answer.json()
    clear = answer.headers.get("content-type", "").startswith("application/problem+json") and body["detail"]
    return body["code"] if clear else f"unclear {answer.status}"


def check_sight(checks: Checks, touchline: Touchline, key: Key, other: Key) -> None:
    seen = touchline.sql(other, "SELECT visitor_id, user_id FROM events")
    checks.equal("the owner sees the canary", seen, [{"visitor_id": CANARY, "user_id": CANARY}])
    checks.equal("and in derived tables", touchline.sql(other, "SELECT user_id FROM visitors"), [{"user_id": CANARY}])
    checks.equal("nobody else does", touchline.sql(key, "SELECT * FROM events"), [])
    bound = touchline.sql(other, "SELECT $1 AS a, $2 + 1 AS b FROM events WHERE visitor_id = $3",
                          params=["x' OR 1=1 --", 2, CANARY])
    checks.equal("parameters are bound", bound, [{"a": "x' OR 1=1 --", "b": 3}])
    named = touchline.sql(key, "SELECT $a AS a", params={"a": True})
    checks.equal("also by name", named, [{"a": True}])
    csv = touchline.post(f"{SQL}?format=csv", {"sql": "SELECT 1 AS a, 'x' AS b"}, key)
    checks.equal("CSV has the same rows", csv.body, b"a,b\r\n1,x\r\n")
    checks.equal("a key without the scope is refused",
                 send(touchline, touchline.key("shop", scopes=("ingest",)), "SELECT 1").outcome, "missing_scope")
    for body in ({}, {"sql": 1}, {"sql": "SELECT 1", "x": 1}, {"sql": "SELECT 1", "format": "xml"}, []):
        answer = touchline.post(SQL, body, key)
        told = (answer.status, answer.json()["code"])
        checks.equal(f"{json.dumps(body)} is no statement", told, (400, "invalid_body"))


def check_hostile(checks: Checks, touchline: Touchline, key: Key, other: Key) -> None:
    statements = read(touchline, other)
    checks.true(f"{len(statements)} statements", len(statements) >= 200)

    def judge(statement: Statement) -> tuple[Statement, Told, Told]:
        told = send(touchline, key, statement.sql)
        return statement, told, send(touchline, key, "SELECT 1 AS one")

    faults, outcomes, slow, slowest = [], {}, 0, 0.0
    with ThreadPoolExecutor(AT_ONCE) as executor:
        for statement, told, after in executor.map(judge, statements):
            outcomes[told.outcome] = outcomes.get(told.outcome, 0) + 1
            slow += after.seconds > BACK_S
            slowest = max(slowest, after.seconds)
            fault = fault_of(touchline, statement, told, after)
            if fault:
                faults.append(fault)
                print(f"FAIL  {fault}", flush=True)
    print(f"      outcomes: {outcomes}; the slowest `SELECT 1` took {slowest:.2f} s", flush=True)
    checks.equal("each statement is refused or bounded, and a worker is back", faults, [])
    checks.true(f"within {BACK_S} s, but for {slow} times", slow * ONE_IN <= len(statements))


def fault_of(touchline: Touchline, statement: Statement, told: Told, after: Told) -> str:
    """Empty when all is as it should be."""
    where = f"{statement.place} `{statement.sql[:100]}`"
    if told.outcome not in statement.expected:
        return f"{where}: {told.outcome}, {told.text[:300]}"
    if told.seconds > TIMEOUT_S + GRACE_S:
        return f"{where}: took {told.seconds:.1f} s"
    if told.outcome == "sql_limit" and "`sql." not in told.text:
        return f"{where}: no setting is named: {told.text[:300]}"
    leaks = [word for word in (CANARY, str(touchline.data_dir), "panicked", ".rs:", "/root/") if word in told.text]
    if [word for word in leaks if word not in statement.sql]:
        return f"{where}: says {leaks}"
    if after.outcome != "answered" or '"one":1' not in after.text or after.seconds > BACK_AT_LAST_S:
        return f"{where}: after it, `SELECT 1` is {after.outcome} after {after.seconds:.2f} s: {after.text[:200]}"
    return ""


def read(touchline: Touchline, other: Key) -> list[Statement]:
    names = {"⟨other⟩": touchline.account_id(other), "⟨lake⟩": str(touchline.data_dir / "lake")}
    statements, expected = [], frozenset()
    for number, line in enumerate(STATEMENTS.read_text().splitlines(), 1):
        if line.startswith("== "):
            expected = frozenset(line.split("|")[1].split())
        elif line and not line.startswith("#"):
            sql = re.sub(r"⟦(\d+)×(.*?)⟧", lambda found: found[2] * int(found[1]), line)
            for name, value in names.items():
                sql = sql.replace(name, value)
            statements.append(Statement(f"line {number}", sql.replace("\\n", "\n"), expected))
    return statements


def workers(touchline: Touchline) -> list[int]:
    """The processes that the server has started."""
    task = Path(f"/proc/{touchline.process.pid}/task")
    return sorted({int(child) for file in task.glob("*/children") for child in read_or_empty(file).split()})


def read_or_empty(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def cpu_seconds(touchline: Touchline) -> dict[int, float]:
    """How long each worker has computed."""
    stats = {pid: read_or_empty(Path(f"/proc/{pid}/stat")) for pid in workers(touchline)}
    # Behind the name, which may contain anything, come the state and ten numbers, and then the two times.
    times = {pid: stat.rpartition(")")[2].split()[11:13] for pid, stat in stats.items() if stat}
    return {pid: sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK") for pid, ticks in times.items()}


def at_work(touchline: Touchline, before: dict[int, float]) -> set[int]:
    """The workers that have computed since, and for longer than it takes to start."""
    return {pid for pid, seconds in cpu_seconds(touchline).items() if seconds - before.get(pid, 0) >= AT_WORK_CPU_S}


def kill_workers(touchline: Touchline) -> None:
    for pid in workers(touchline):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            # It ended by itself.
            pass


def check_kills(checks: Checks, touchline: Touchline, key: Key) -> None:
    seconds = []

    def is_back(when: str) -> None:
        told = send(touchline, key, "SELECT 1 AS one")
        seconds.append(told.seconds)
        checks.true(f"{when}: another answers after {told.seconds:.2f} s",
                    told.outcome == "answered" and told.seconds < BACK_AT_LAST_S, told)

    for round_number in range(3):
        kill_workers(touchline)
        is_back(f"idle workers are killed, round {round_number + 1}")
    with ThreadPoolExecutor(1) as executor:
        before = cpu_seconds(touchline)
        running = executor.submit(send, touchline, key, SLOW)
        # One that had not begun would be asked again of another worker.
        wait_until("a worker is at work", lambda: at_work(touchline, before), TIMEOUT_S)
        kill_workers(touchline)
        told = running.result()
    checks.equal("a worker killed at work", (told.outcome, told.retry_after is not None), ("sql_worker_died", True))
    is_back("after that")
    checks.true(f"all but one of these within {BACK_S} s", sum(one > BACK_S for one in seconds) <= 1, seconds)
    workers_alive = workers(touchline)
    checks.true("no more workers than are configured", len(workers_alive) <= 3, workers_alive)


def check_leavers(checks: Checks, touchline: Touchline, key: Key) -> None:
    """Who leaves takes the work along: a worker is free again before the statement's time is over."""
    before = cpu_seconds(touchline)
    body = json.dumps({"sql": SLOW}).encode()
    head = (f"POST {SQL} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {key.secret}\r\nContent-Length: {len(body)}\r\n\r\n").encode()
    connections = [socket.create_connection(("127.0.0.1", touchline.port)) for _ in range(3)]
    sent_at = time.monotonic()
    for connection in connections:
        connection.sendall(head + body)
    wait_until("all of them are worked for", lambda: len(at_work(touchline, before)) == len(connections), TIMEOUT_S)
    left = at_work(touchline, before)
    for connection in connections:
        connection.close()
    what = "the workers of those who left are gone"
    wait_until(what, lambda: not left & set(workers(touchline)), TIMEOUT_S + GRACE_S)
    seconds = time.monotonic() - sent_at
    checks.true(f"{what} {seconds:.2f} s after they asked, and had {TIMEOUT_S} s", seconds < TIMEOUT_S)


def check_queue(checks: Checks, touchline: Touchline, key: Key) -> None:
    with ThreadPoolExecutor(12) as executor:
        told = list(executor.map(lambda _: send(touchline, key, SLOW), range(12)))
    outcomes = sorted({one.outcome for one in told})
    checks.equal("more than can wait are turned away", outcomes, ["sql_busy", "sql_limit"])
    checks.true("and told when to come again", all(one.retry_after for one in told if one.outcome == "sql_busy"))


def check_schema(checks: Checks, touchline: Touchline, key: Key) -> None:
    tables = touchline.get("/api/v1/sql/schema", key).json()["data"]
    faults = []
    for table in tables:
        columns = ", ".join(f'"{column["name"]}"' for column in table["columns"])
        answer = send(touchline, key, f'SELECT {columns} FROM {table["table"]} LIMIT 1')
        if answer.outcome != "answered" or not table["description"]:
            faults.append((table["table"], answer.text[:300]))
    checks.equal(f"the {len(tables)} tables are as the schema says", faults, [])


def check_command(checks: Checks, touchline: Touchline) -> None:
    count = "SELECT count(*) AS n FROM events WHERE visitor_id = $1"
    told = touchline.command("sql", count, "--account", "other", "--param", CANARY, "--format", "csv")
    checks.equal("the command line asks the same tables", told.split(), ["n", "1"])
    told = touchline.command_json("sql", count, "--account", "shop", "--param", CANARY)
    checks.equal("of one account", told["data"], [{"n": 0}])
    table = touchline.command("sql", "SELECT 'x' AS letter, 2 AS number", "--account", "shop")
    checks.true("and prints tables", "| x      | 2      |" in table, table)
    try:
        touchline.command("sql", "SELECT * FROM nowhere", "--account", "shop")
        checks.true("a refused statement fails", False)
    except RuntimeError as error:
        checks.true("a refused statement fails", "there is no table `nowhere`" in str(error), error)


if __name__ == "__main__":
    sys.exit(main())
