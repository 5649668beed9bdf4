"""Schemathesis over the description of the API, against a started binary with an account, goals and events."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

from touchline import REPOSITORY, Checks, Key, Touchline, now, rfc3339

SEED = int(os.environ.get("SEED", "1"))
EXAMPLES = int(os.environ.get("EXAMPLES", "20"))
# Not checked: positive_data_acceptance, because the description cannot say that `from` lies before `to`, or which tables
# a statement may name; and ignored_auth, which a test of our own asks every route.
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance", "negative_data_rejection", "unsupported_method", "missing_required_header",
    "allow_header_conformance",
)


def main() -> int:
    checks = Checks("requests made up from the description")
    with Touchline(checks) as touchline:
        key = touchline.key("north", scopes=("ingest", "can_view_reports"))
        touchline.command("account", "settings", "north", "goals=bought=purchase")
        post_events(touchline, key)
        touchline.wait_drained()
        touchline.run_jobs()
        ended = run(touchline, key)
        checks.equal("Schemathesis finds nothing", ended, 0)
        answer = touchline.get("/api/v1/reports/sessions", key)
        checks.equal("reports are answered afterwards", answer.status, 200)
    return checks.finish()


def post_events(touchline: Touchline, key: Key) -> None:
    """A visit with an order, and the events of messages and sequences that the documentation shows."""
    events = [
        {"event_type": event_type, "visitor_id": "v1", "timestamp": rfc3339(now() - timedelta(minutes=minutes)),
         "properties": {"url": "https://shop.example/?utm_source=news", "revenue": 5}}
        for minutes, event_type in ((9, "page_view"), (8, "purchase"))
    ]
    for line in (REPOSITORY / "docs" / "messages.md").read_text().splitlines():
        if line.startswith('{"event_type":"$'):
            events.append({**json.loads(line), "timestamp": rfc3339(now() - timedelta(minutes=5))})
    touchline.post("/api/v1/events", {"events": events}, key).expect(202)


def run(touchline: Touchline, key: Key) -> int:
    """The exit code. One worker: up to Python 3.11 two threads that parse source at once can fail with "AST constructor
    recursion depth mismatch", and Hypothesis parses source."""
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{touchline.port}/api/openapi.json",
        "--url", f"http://127.0.0.1:{touchline.port}", "--header", f"Authorization: Bearer {key.secret}",
        "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES),
        "--seed", str(SEED), "--workers", "1", "--request-timeout", "60", "--continue-on-failure", "--no-color",
        "--warnings", "off",
    ]
    return subprocess.run(command, cwd=touchline.root, timeout=270, env=touchline.environment).returncode


if __name__ == "__main__":
    sys.exit(main())
