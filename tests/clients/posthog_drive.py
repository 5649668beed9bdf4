"""Tells a story with the installed PostHog client for Python, and prints as JSON how that went.

Arguments: `gzip` or `plain`, URL and KEY.
"""

import json
import sys
from datetime import datetime
from pathlib import Path

from posthog import Posthog
from posthog.version import VERSION

STORY = Path(__file__).with_name("posthog_story.json")
ORDER = datetime.fromisoformat("2025-03-02T09:05:00+00:00")
GIVE_UP_S = 60


def main(encoding: str, url: str, key: str) -> dict:
    errors = []
    client = Posthog(key, host=url, gzip=encoding == "gzip", on_error=lambda error, _: errors.append(str(error)))
    for part in (each["with"] for each in json.loads(STORY.read_text())):
        client.capture(part["event"], distinct_id=part["distinctId"], properties=part["properties"],
                       timestamp=datetime.fromisoformat(part["timestamp"]))
    client.group_identify("company", "acme", {"employees": 11}, distinct_id="user-1", timestamp=ORDER)
    client.alias("user-0", "user-1", timestamp=ORDER)
    client.flush(timeout_seconds=GIVE_UP_S)
    client.shutdown()
    return {"version": VERSION, "errors": errors}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
