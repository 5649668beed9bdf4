"""Compares the lines of a run in turns: the same answer from both engines, and our time as a ratio to the peer's.

    at_most.py RESULTS.jsonl PEER RATIO

Each line has `engine`, `seconds`, `answer` and `max_rss_mb`. Exit 1 when the engines disagree, or when our median is
more than RATIO times the peer's.
"""

import json
import statistics
import sys
from pathlib import Path

OURS = "touchline"


def main(results: Path, peer: str, at_most: float) -> int:
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    seconds = {engine: [s for line in lines if line["engine"] == engine for s in line["seconds"]] for engine in (OURS, peer)}
    medians = {engine: statistics.median(times) for engine, times in seconds.items()}
    print(f"{'engine':<12}{'median s':>10}{'best s':>10}{'peak MB':>10}")
    for engine, times in seconds.items():
        memory = max(line["max_rss_mb"] for line in lines if line["engine"] == engine)
        print(f"{engine:<12}{medians[engine]:>10.3f}{min(times):>10.3f}{memory:>10}")
    answers = {tuple(line["answer"]) for line in lines}
    ratio = medians[OURS] / medians[peer]
    print(f"answers: {sorted(answers)}; {ratio:.2f} times {peer}'s time, at most {at_most} is the aim")
    faults = [
        *(["the engines disagree"] if len(answers) > 1 else []),
        *([f"{ratio:.2f} times {peer}'s time"] if ratio > at_most else []),
    ]
    for fault in faults:
        print(f"FAIL  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
