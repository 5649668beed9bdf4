"""Exports on schedules, to a folder and to an S3 of one's own, while the server is killed and late events come.

A reader who has nothing but the files and the secrets follows the manifests after every kill, and finds no set that is
broken, unsigned or out of order. When all is quiet it has, row for row, what the report answers. KILLS (default 10) is
the number of kills, SEED repeats a run's choices.
"""

import base64
import csv
import gzip
import io
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

import boto3
import pyarrow.parquet as pq

from export_consumer import Bucket, Consumer, Folder
from hooks import Hooks, is_signed
from touchline import Checks, Key, Touchline, free_port, now, rfc3339, wait_until

KILLS = int(os.environ.get("KILLS", "10"))
SEED = os.environ.get("SEED") or str(random.randrange(10**9))
VISITORS = 40
DAYS = 4
QUIET_S = 60
SCOPES = ("ingest", "can_view_reports", "can_manage_settings")
REGION = "us-east-1"
S3_KEYS = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "not-so-secret"}
SQL = """
SELECT session_id, visitor_id, channel, started_at, event_count FROM sessions
WHERE started_at >= $from AND started_at < $to ORDER BY session_id
"""
CONFIG = """
[log]
segment_age_ms = 100
[jobs]
lease_ttl_s = 5
[exports]
max_attempts = 20
retry_pause_s = 1
webhook_networks = ["127.0.0.1/32"]
webhook_ca_file = "{authority}"
[exports.s3]
endpoint = "http://127.0.0.1:{port}"
region = "{region}"
access_key_id = "{aws_access_key_id}"
secret_access_key = "{aws_secret_access_key}"
allow_http = true
"""


class Bucketeer:
    """An S3 of one's own, with one bucket. As a context: started, and at the end stopped."""

    def __enter__(self) -> "Bucketeer":
        self.port = free_port()
        self.client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name=REGION, **S3_KEYS)
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until("the S3 is ready", self.makes_a_bucket, 60)
        except BaseException:
            # No exit follows a failed entry.
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def makes_a_bucket(self) -> bool:
        try:
            self.client.create_bucket(Bucket="reports")
            return True
        except Exception:
            return False


def create(touchline: Touchline, key: Key, **definition: object) -> dict:
    return touchline.post("/api/v1/exports", definition, key).expect(201).json()


def runs(touchline: Touchline, key: Key, export: dict) -> list[dict]:
    return touchline.get(f"/api/v1/exports/{export['export_id']}/runs", key, limit=1_000).json()["data"]


def send(touchline: Touchline, key: Key, chance: random.Random, count: int) -> None:
    """Events of the last days, in any order: most are late."""
    events = []
    for _ in range(count):
        at = now() - timedelta(hours=chance.uniform(0, 24 * DAYS))
        page = f"https://shop.example/{chance.randrange(5)}?utm_source=s{chance.randrange(3)}&utm_medium=cpc"
        event = {"event_type": "page_view", "visitor_id": f"v{chance.randrange(VISITORS)}", "timestamp": rfc3339(at)}
        events.append(event | {"properties": {"url": page}})
    touchline.post("/api/v1/events", {"events": events}, key).expect(202)


def compute(touchline: Touchline) -> None:
    touchline.wait_drained()
    for job in ("identities", "sessions"):
        touchline.command("jobs", "run", job)


def csv_rows(content: bytes) -> Counter:
    return Counter(tuple(row) for row in list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))[1:])


def parquet_rows(content: bytes) -> Counter:
    table = pq.read_table(io.BytesIO(content))
    return Counter(tuple(map(str, row.values())) for row in table.to_pylist())


def answer_of(touchline: Touchline, key: Key, report: str, form: str, **parameters: object) -> bytes:
    begin, end = now() - timedelta(days=DAYS + 2), now() + timedelta(days=2)
    span = {"from": rfc3339(begin), "to": rfc3339(end)}
    return touchline.get(f"/api/v1/reports/{report}.{form}", key, **span, **parameters).expect(200).body


def wait_quiet(touchline: Touchline, key: Key, exports: list[dict]) -> None:
    """Waits until each export has had a run that began after now."""
    begin = rfc3339(now())

    def has_run(export: dict) -> bool:
        return any(run["state"] == "succeeded" and run["started_at"] > begin for run in runs(touchline, key, export))

    for export in exports:
        wait_until(f"{export['name']} has run", lambda: has_run(export), QUIET_S, 0.2)


def refusals(checks: Checks, touchline: Touchline, key: Key) -> None:
    good = {"name": "x", "source": {"report": "traffic"}, "format": "csv", "destination": "file:x"}
    sql = lambda text, **more: {"sql": text, **more}
    for what, fields in {
        "a report that there is not": {"source": {"report": "trafic"}},
        "a parameter that the report has not": {"source": {"report": "traffic", "params": {"colour": "red"}}},
        "a column that there is not": {"source": sql("SELECT colour FROM sessions")},
        "what is no query": {"source": sql("DROP TABLE sessions")},
        "changes of a report whose days do not stand alone": {"source": {"report": "retention"}, "mode": "changes"},
        "changes of a comparison": {"source": {"report": "traffic", "params": {"compare": "previous"}}, "mode": "changes"},
    }.items():
        answer = touchline.post("/api/v1/exports", good | fields, key)
        pointers = [error["pointer"] for error in answer.json().get("errors", [])]
        checks.equal(f"{what} is refused when it is defined", (answer.status, pointers), (422, ["/source"]))


def webhooks(checks: Checks, touchline: Touchline, key: Key, hooks: Hooks) -> None:
    common = {"source": {"report": "traffic"}, "format": "csv", "destination": "file:hooks"}
    refused = "leads to an address that is not public"
    for name, url, state, said in (
        ("told", f"https://localhost:{hooks.port}/hook", "delivered", None),
        ("private", "https://10.0.0.1/hook", "failed", refused),
        ("metadata", "https://169.254.169.254/latest/meta-data", "failed", refused),
        ("mapped", f"https://[::ffff:127.0.0.2]:{hooks.port}/hook", "failed", refused),
        ("neighbour", f"https://127.0.0.2:{hooks.port}/hook", "failed", refused),
        # It is tried again later.
        ("redirect", f"https://localhost:{hooks.port}/redirect", "pending", "answered 302"),
    ):
        export = create(touchline, key, name=name, webhook=url, **common)
        touchline.command("export", "run", name, "--account", key.slug)
        last = lambda: runs(touchline, key, export)[0]
        wait_until(f"{name} was tried", lambda: last()["webhook_attempts"] > 0, 30)
        run = last()
        checks.equal(f"webhook {name}", (run["state"], run["webhook_state"]), ("succeeded", state))
        error = run["webhook_error"]
        checks.true(f"webhook {name}: why", error is None if said is None else said in (error or ""), error)
        if state == "delivered":
            headers, body = hooks.at("/hook")[-1]
            message = json.loads(body)
            checks.true("the message is signed", is_signed(headers, body, export["signing_secret"]), headers)
            expected = ("export.succeeded", run["run_id"], f"{run['folder']}/manifest.json", run["manifest_sha256"])
            data = message["data"]
            found = (message["type"], data["run_id"], data["manifest"], data["manifest_sha256"])
            checks.equal("the message says which manifest", found, expected)
        touchline.request("DELETE", f"/api/v1/exports/{export['export_id']}", key=key)
    checks.equal("a redirection is not followed", hooks.at("/elsewhere"), [])


def verifying(checks: Checks, touchline: Touchline, here: Path, secret: str) -> None:
    def verify(*arguments: object) -> tuple[int, list[str]]:
        done = touchline.run("export", "verify", *arguments)
        return done.returncode, done.stdout.splitlines()

    manifest = max(here.rglob("manifest.json"), key=lambda path: json.loads(path.read_bytes())["manifest"]["totals"]["rows"])
    code, lines = verify(manifest)
    checks.true("a set verifies with the key of the installation", code == 0 and len(lines) == 1, lines)
    secret_file = touchline.root / "secret.txt"
    secret_file.write_text(secret + "\n")
    checks.equal("and with the secret from a file", verify(manifest, "--secret-file", secret_file)[0], 0)
    secret_file.write_text("whsec_" + base64.b64encode(bytes(32)).decode())
    code, lines = verify(manifest, "--secret-file", secret_file)
    checks.true("another secret has not signed it", code == 1 and "not signed" in lines[0], lines)

    entry = json.loads(manifest.read_bytes())["manifest"]["files"][0]
    file = manifest.parent / entry["path"]
    content = file.read_bytes()
    file.write_bytes(content[:-3] + b"9\r\n" if content[-3:-2] != b"9" else content[:-3] + b"8\r\n")
    code, lines = verify(manifest)
    checks.true("a changed byte is found", code == 1 and len(lines) == 1 and entry["path"] in lines[0], lines)
    file.unlink()
    checks.equal("a missing file is found", verify(manifest), (1, [f"{entry['path']}: missing"]))
    file.write_bytes(content)
    checks.equal("and all is well again", verify(manifest)[0], 0)


def main() -> int:
    checks = Checks(f"exports, {KILLS} times kill -9 (SEED={SEED})")
    chance = random.Random(SEED)
    with Bucketeer() as bucketeer:
        with_exports(checks, chance, bucketeer)
    return checks.finish()


def with_exports(checks: Checks, chance: random.Random, bucketeer: Bucketeer) -> None:
    touchline = Touchline(checks, " ")
    hooks = Hooks(touchline.root)
    config = CONFIG.format(authority=hooks.authority, port=bucketeer.port, region=REGION, **S3_KEYS)
    touchline.config_file.write_text(config)
    with touchline, hooks:
        key = touchline.key("shop", scopes=SCOPES)
        send(touchline, key, chance, 200)
        compute(touchline)
        refusals(checks, touchline, key)
        webhooks(checks, touchline, key, hooks)
        exports = scheduled(touchline, key, hooks)
        root = touchline.data_dir / "exports"
        secrets = {name: export["signing_secret"] for name, export in exports.items()}
        consumers = {
            "csv-here": Consumer(Folder(root / "here/csv-here"), [secrets["csv-here"]]),
            "sql-here": Consumer(Folder(root / "here/sql-here"), [secrets["sql-here"]]),
            "parquet-s3": Consumer(Bucket(bucketeer.client, "reports", "out/parquet-s3"), [secrets["parquet-s3"]]),
            "traffic-s3": Consumer(Bucket(bucketeer.client, "reports", "out/traffic-s3"), [secrets["traffic-s3"]]),
        }
        started = time.monotonic()
        for number in range(KILLS):
            send(touchline, key, chance, chance.choice((1, 5, 60)))
            compute(touchline)
            # Runs come every second: somewhere in one of them, or between two.
            time.sleep(chance.uniform(0, 2.5))
            touchline.kill()
            # What is complete in this moment is in order, whatever was under way.
            new = {name: consumer.follow() for name, consumer in consumers.items()}
            print(f"      {number + 1} kills in {time.monotonic() - started:.0f} s: {new}", flush=True)
            touchline.start()
        send(touchline, key, chance, 30)
        compute(touchline)
        wait_quiet(touchline, key, list(exports.values()))
        touchline.command("export", "pause", "traffic-s3", "--account", "shop")
        for consumer in consumers.values():
            consumer.follow()
        compare(checks, touchline, key, consumers)
        history(checks, touchline, key, exports, consumers)
        hooked(checks, hooks, secrets["csv-here"], runs(touchline, key, exports["csv-here"]))
        verifying(checks, touchline, root / "here/csv-here", secrets["csv-here"])
        bucketed = next(name for name in consumers["parquet-s3"].place.names() if name.endswith("manifest.json"))
        said = touchline.command("export", "verify", f"s3://reports/out/parquet-s3/{bucketed}")
        checks.true("a set in a bucket verifies", "are as signed by" in said, said)
        rotated(checks, touchline, key, exports["csv-here"], consumers["csv-here"])
        leading_out(checks, touchline, key)
        checks.equal("the server stops", touchline.stop(), 0)
        without_a_server(checks, touchline)
        manifests = list(root.rglob("manifest.json"))
        places = [touchline.log_file, *manifests]
        telling = [str(path) for path in places if any(secret in path.read_text() for secret in secrets.values())]
        checks.true("there are manifests and a log", manifests and touchline.log_text())
        checks.equal("none of them tells a secret", telling, [])


def scheduled(touchline: Touchline, key: Key, hooks: Hooks) -> dict[str, dict]:
    every_second = {"cron": "* * * * * *"}
    sessions = {"source": {"report": "sessions"}, "mode": "changes", "schedule": every_second}
    return {
        "csv-here": create(touchline, key, name="csv-here", format="csv", destination="file:here",
                           webhook=f"https://localhost:{hooks.port}/csv", **sessions),
        "parquet-s3": create(touchline, key, name="parquet-s3", format="parquet", destination="s3://reports/out", **sessions),
        "sql-here": create(touchline, key, name="sql-here", format="ndjson", destination="file:here", mode="changes",
                           source={"sql": SQL, "tables": ["sessions"]}, schedule=every_second),
        "traffic-s3": create(touchline, key, name="traffic-s3", format="csv.gz", destination="s3://reports/out",
                             source={"report": "traffic", "params": {"by": "utm_source"}}, last_days=DAYS + 2,
                             schedule={"cron": "*/3 * * * * *", "time_zone": "Europe/Vienna"}),
    }


def compare(checks: Checks, touchline: Touchline, key: Key, consumers: dict[str, Consumer]) -> None:
    expected = csv_rows(answer_of(touchline, key, "sessions", "csv"))
    found = sum((csv_rows(content) for content in consumers["csv-here"].files.values()), Counter())
    checks.true("the report has rows of several days", len(expected) > 30 and len(consumers["csv-here"].files) >= DAYS)
    checks.true("CSV: the reader has the rows of the report", found == expected, (found - expected, expected - found))

    expected = parquet_rows(answer_of(touchline, key, "sessions", "parquet"))
    found = sum((parquet_rows(content) for content in consumers["parquet-s3"].files.values()), Counter())
    checks.true("Parquet: the reader has the rows of the report", found == expected, (found - expected, expected - found))

    body = {"sql": SQL, "params": {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}, "format": "ndjson"}
    expected = Counter(touchline.post("/api/v1/sql", body, key).body.splitlines())
    found = sum((Counter(content.splitlines()) for content in consumers["sql-here"].files.values()), Counter())
    checks.true("SQL: the reader has the rows of the answer", found == expected, (found - expected, expected - found))

    newest = consumers["traffic-s3"].manifests[-1]
    span = {"from": newest["range"]["from"], "to": newest["range"]["to"], "by": "utm_source"}
    answer = touchline.get("/api/v1/reports/traffic.csv", key, **span)
    checks.equal("a snapshot has the bytes of the answer", gzip.decompress(consumers["traffic-s3"].files[None]), answer.body)


def history(checks: Checks, touchline: Touchline, key: Key, exports: dict, consumers: dict[str, Consumer]) -> None:
    for name, export in exports.items():
        ledger = runs(touchline, key, export)
        succeeded = {run["sequence"]: run["manifest_sha256"] for run in ledger if run["state"] == "succeeded"}
        followed = consumers[name].sequence
        checks.equal(f"{name}: numbers have no gap", sorted(succeeded), list(range(1, len(succeeded) + 1)))
        known = succeeded.get(followed)
        checks.equal(f"{name}: the ledger knows what was followed", known, consumers[name].manifest_sha256)
        failed = [run["error"] for run in ledger if run["state"] == "failed"]
        checks.equal(f"{name}: no run has failed for good", failed, [])
        attempts = Counter(run["attempt"] for run in ledger)
        print(f"      {name}: {len(ledger)} runs, attempts {dict(attempts)}", flush=True)


def hooked(checks: Checks, hooks: Hooks, secret: str, ledger: list[dict]) -> None:
    messages = hooks.at("/csv")
    checks.true("messages came and all are signed", messages and all(is_signed(*found, secret) for found in messages))
    told = {json.loads(body)["data"]["run_id"]: headers["webhook-id"] for headers, body in messages}
    checks.equal("each run has an id of its own", len(set(told.values())), len(told))
    delivered = {run["run_id"] for run in ledger if run["webhook_state"] == "delivered"}
    checks.true("whatever was delivered has come", delivered <= set(told), delivered - set(told))


def rotated(checks: Checks, touchline: Touchline, key: Key, export: dict, consumer: Consumer) -> None:
    secret = touchline.post(f"/api/v1/exports/{export['export_id']}/secret", {}, key).json()["signing_secret"]
    wait_quiet(touchline, key, [export])
    consumer.keys.append(base64.b64decode(secret.removeprefix("whsec_")))
    checks.true("a new secret signs, and the reader goes on", consumer.follow() > 0)


def leading_out(checks: Checks, touchline: Touchline, key: Key) -> None:
    outside = touchline.root / "outside"
    outside.mkdir()
    (touchline.data_dir / "exports" / "link").symlink_to(outside)
    export = create(touchline, key, name="out", format="csv", destination="file:link", source={"report": "traffic"})
    touchline.post(f"/api/v1/exports/{export['export_id']}/run", {}, key)
    failed = lambda: (runs(touchline, key, export)[0]["error"] or "")
    wait_until("it was tried", lambda: failed() != "", 30)
    checks.equal("a link is not followed out of the root", failed(), "the destination leads out of the export root")
    checks.equal("nothing was written there", list(outside.iterdir()), [])
    touchline.request("DELETE", f"/api/v1/exports/{export['export_id']}", key=key)


def without_a_server(checks: Checks, touchline: Touchline) -> None:
    ended = touchline.command_json("export", "run", "sql-here", "--account", "shop")[0]
    checks.equal("a command runs an export without a server", ended["state"], "succeeded")
    manifest = touchline.data_dir / "exports" / ended["folder"].removeprefix("file:") / "manifest.json"
    touchline.command("export", "verify", manifest)


if __name__ == "__main__":
    sys.exit(main())
