"""Tells a story with an installed client of the Segment family for Python, and prints as JSON how that went.

Arguments: the client's module (`segment.analytics` or `rudderstack.analytics`), `gzip` or `plain`, URL and KEY.
"""

import importlib
import json
import re
import sys
from datetime import datetime
from pathlib import Path

STORY = Path(__file__).with_name("segment_story.json")


def main(module: str, encoding: str, url: str, key: str) -> dict:
    library = importlib.import_module(f"{module}.client")
    version = importlib.import_module(f"{module}.version").VERSION
    story, errors = json.loads(STORY.read_text()), []
    client = library.Client(key, host=url, gzip=encoding == "gzip", on_error=lambda error, _: errors.append(str(error)))
    for part in story:
        getattr(client, part["call"])(**arguments(part["with"]))
    client.flush()
    client.join()
    return {"version": version, "errors": errors}


def arguments(told: dict) -> dict:
    """The client's keyword arguments: `anonymousId` is `anonymous_id`, and times are objects."""
    named = {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name): value for name, value in told.items()}
    return named | {"timestamp": datetime.fromisoformat(told["timestamp"])}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
