"""Compares the lines of one run of sessions.sh: the same answer from every engine, and our time as a ratio to theirs.

    ratios.py RESULTS.jsonl

Each line has `engine`, `seconds`, `answer` and `max_rss_mb`. Exit 1 when the engines disagree, or when our median is
more than 0.7 times chDB's, 0.4 times Polars' or 0.25 times DuckDB's, or more than 1.5 GB of memory: the aims that the
project has set itself.
"""

import json
import statistics
import sys
from pathlib import Path

OURS = "touchline"
RATIOS = {"chdb": 0.7, "polars": 0.4, "duckdb": 0.25}
MEMORY_MB = 1_536


def main(results: Path) -> int:
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    engines = sorted({line["engine"] for line in lines}, key=lambda engine: (engine != OURS, engine))
    seconds = {engine: [s for line in lines if line["engine"] == engine for s in line["seconds"]] for engine in engines}
    memory = {engine: max(line["max_rss_mb"] for line in lines if line["engine"] == engine) for engine in engines}
    medians = {engine: statistics.median(times) for engine, times in seconds.items()}
    print(f"{'engine':<12}{'median s':>10}{'best s':>10}{'peak MB':>10}{'ours/theirs':>14}")
    for engine in engines:
        ratio = medians[OURS] / medians[engine]
        print(f"{engine:<12}{medians[engine]:>10.2f}{min(seconds[engine]):>10.2f}{memory[engine]:>10}{ratio:>14.2f}")
    return report_faults(lines, medians, memory)


def report_faults(lines: list[dict], medians: dict[str, float], memory: dict[str, int]) -> int:
    answers = {tuple(line["answer"]) for line in lines}
    print(f"sessions, events, page views, sessions with a source: {sorted(answers)}")
    ratios = {engine: medians[OURS] / medians[engine] for engine in RATIOS if engine in medians}
    faults = [
        *(["the engines disagree"] if len(answers) > 1 else []),
        *(f"{ratio:.2f} times {engine}, at most {RATIOS[engine]} is the aim"
          for engine, ratio in ratios.items() if ratio > RATIOS[engine]),
        *([f"{memory[OURS]} MB, at most {MEMORY_MB} is the aim"] if memory[OURS] > MEMORY_MB else []),
    ]
    for fault in faults:
        print(f"FAIL  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
