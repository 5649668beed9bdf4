"""`kill -9` at random moments under load: every acknowledged event is in the lake exactly once.

Clients post batches of events with ids of their own, now and then the same batch again. The server is killed after a
random time, also while it recovers from the last kill, and started again on the same data. What a client was told is
the measure: an id in a 2xx must be in the lake, once; an id that was sent and never acknowledged may be there, once.

KILLS (default 100) is the number of kills, SEED repeats a run's choices.
"""

import json
import os
import random
import sys
import threading
import time
from datetime import timedelta
from http.client import HTTPException
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

import lake
from touchline import Checks, Key, Touchline, around_now, now, rfc3339

KILLS = int(os.environ.get("KILLS", "100"))
SEED = os.environ.get("SEED") or str(random.randrange(10**9))
CLIENTS = 3
BATCH_EVENTS = (1, 1, 3, 20, 100)
VISITORS = 300
# Short-lived segments, so that commits to the lake happen between most kills.
CONFIG = "[log]\nsegment_age_ms = 100\n"
DRAIN_TIMEOUT_S = 120
RESENT_OF_ACKNOWLEDGED = 0.1
RESENT_OF_UNANSWERED = 0.5
KILLED_WHILE_STARTING = 0.2


class Ledger:
    """What was sent and what was acknowledged; shared by the clients."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.unanswered: list[bytes] = []
        self.requests = 0
        self.turned_away = 0
        self.faults: list[str] = []

    def answered(self, status: int, text: str) -> bool:
        """Takes down an answer; whether it was an acknowledgement."""
        with self.lock:
            self.requests += 1
            if status == 503:
                self.turned_away += 1
                return False
            if status != 202:
                self.faults.append(f"{status}: {text[:300]}")
                return False
            self.acknowledged.update(item["id"] for item in json.loads(text)["events"])
            return True

    def lost(self, body: bytes, chance: random.Random) -> None:
        """No answer came. Half of such batches are sent again later, the others never."""
        if chance.random() < RESENT_OF_UNANSWERED:
            with self.lock:
                self.unanswered.append(body)

    def take_unanswered(self) -> bytes | None:
        with self.lock:
            return self.unanswered.pop() if self.unanswered else None


class Client(threading.Thread):
    """Posts until it is told to stop or the server is gone."""

    def __init__(self, touchline: Touchline, key: Key, ledger: Ledger, name: str, stop: threading.Event):
        super().__init__(name=name, daemon=True)
        self.touchline, self.key, self.ledger, self.stop = touchline, key, ledger, stop
        self.chance = random.Random(f"{SEED} {name}")

    def run(self) -> None:
        number = 0
        while not self.stop.is_set():
            body = self.ledger.take_unanswered() or self.make_batch(number)
            number += 1
            try:
                acknowledged = self.post(body)
            except (OSError, HTTPException, ValueError):
                self.ledger.lost(body, self.chance)
                time.sleep(0.01)
                continue
            if acknowledged and self.chance.random() < RESENT_OF_ACKNOWLEDGED:
                self.resend(body)

    def post(self, body: bytes) -> bool:
        answer = self.touchline.post("/api/v1/events", body, self.key)
        return self.ledger.answered(answer.status, answer.text())

    def resend(self, body: bytes) -> None:
        try:
            self.post(body)
        except (OSError, HTTPException, ValueError):
            # Its first copy was acknowledged already.
            return

    def make_batch(self, number: int) -> bytes:
        ids = [f"{self.name}-{number}-{place}" for place in range(self.chance.choice(BATCH_EVENTS))]
        with self.ledger.lock:
            self.ledger.sent.update(ids)
        return json.dumps({"events": [self.make_event(event_id) for event_id in ids]}).encode()

    def make_event(self, event_id: str) -> dict:
        event = {"event_id": event_id, "event_type": "page_view", "visitor_id": f"v{self.chance.randrange(VISITORS)}"}
        # Two in three have a time of their own, over three days, so that a commit writes several folders.
        if self.chance.random() < 2 / 3:
            event["timestamp"] = rfc3339(now() - timedelta(hours=self.chance.uniform(0, 48)))
        return event


def main() -> int:
    checks = Checks(f"{KILLS} times kill -9 under load (SEED={SEED})")
    chance, ledger = random.Random(SEED), Ledger()
    with Touchline(checks, CONFIG) as touchline:
        key = touchline.key("killed")
        started = time.monotonic()
        for number in range(KILLS):
            kill_once(touchline, key, ledger, chance, f"{number}")
            if (number + 1) % max(1, KILLS // 10) == 0:
                counts = f"{len(ledger.sent):,} events sent, {len(ledger.acknowledged):,} acknowledged"
                print(f"      {number + 1} kills in {time.monotonic() - started:.0f} s: {counts}", flush=True)
        check_lake(checks, touchline, key, ledger)
    return checks.finish()


def kill_once(touchline: Touchline, key: Key, ledger: Ledger, chance: random.Random, name: str) -> None:
    """One life of the server under load, ended by a kill, and the next one begun."""
    stop = threading.Event()
    clients = [Client(touchline, key, ledger, f"{name}-{place}", stop) for place in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(chance.uniform(0.01, 0.7))
    touchline.kill()
    stop.set()
    while chance.random() < KILLED_WHILE_STARTING:
        touchline.spawn()
        time.sleep(chance.uniform(0, 0.3))
        touchline.kill()
    for client in clients:
        client.join()
    touchline.start()


def check_lake(checks: Checks, touchline: Touchline, key: Key, ledger: Ledger) -> None:
    seconds = touchline.wait_drained(DRAIN_TIMEOUT_S)
    print(f"      drained {seconds:.1f} s after the last start; {ledger.requests:,} requests answered, "
          f"{ledger.turned_away:,} of them with 503", flush=True)
    checks.equal("no answer but 202 and 503", ledger.faults[:3], [])
    checks.true("the load was real", len(ledger.acknowledged) >= 20 * KILLS, len(ledger.acknowledged))
    rows = lake.table(touchline.data_dir, "events", touchline.account_id(key), key.environment)
    counts = dict(rows.group_by("event_id").len().collect().rows())
    missing = ledger.acknowledged - counts.keys()
    checks.true(f"{len(ledger.acknowledged):,} acknowledged events: none is missing", not missing, summary(missing))
    twice = {event_id for event_id, copies in counts.items() if copies > 1}
    checks.true(f"{len(counts):,} events in the lake: none is there twice", not twice, summary(twice))
    foreign = counts.keys() - ledger.sent
    checks.true("none is there that was not sent", not foreign, summary(foreign))
    check_reports(checks, touchline, key, len(counts))


def summary(ids: set[str]) -> str:
    return f"{len(ids)}: {sorted(ids)[:5]}"


def check_reports(checks: Checks, touchline: Touchline, key: Key, stored: int) -> None:
    totals = touchline.ingest_totals(key)
    checks.equal("the ingest report has as many stored", totals["stored"], stored)
    outcomes = totals["stored"] + totals["duplicates"] + totals["rejected"]
    checks.equal("received = stored + duplicates + rejected", totals["received"], outcomes)
    touchline.run_jobs()
    sessions = touchline.report(key, "sessions", *around_now(3), limit=10_000)
    checks.equal("each event is in one session", sum(row["event_count"] for row in sessions), stored)


if __name__ == "__main__":
    sys.exit(main())
