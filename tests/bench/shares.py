"""Shows what incremental runs cost as shares of the full run: `shares.py RESULT.json` (one line of bench_incremental).

Exit 1 when a job misses the project's aims: at most 5 % of a full run's time and bytes for 1 % new events on the last
day, at most 35 % for 0.1 % late events over all days.
"""

import json
import sys
from pathlib import Path

AIMS = {"last_day": 0.05, "late": 0.35}


def main(result: Path) -> int:
    runs = json.loads(result.read_text())["runs"]
    full = runs["full"]
    missed = []
    print(f"{'job':<14}{'full s':>9}{'full MB':>9}{'peak MB':>9}", *(f"{run + ' time':>15}{'bytes':>8}" for run in AIMS), sep="")
    for job, whole in full.items():
        cells = []
        for run, aim in AIMS.items():
            part = runs[run][job]
            time = part["seconds"] / max(whole["seconds"], 1e-9)
            read = part["bytes_read"] / max(whole["bytes_read"], 1)
            cells.append(f"{time:>15.1%}{read:>8.1%}")
            missed += [f"{job}, {run}: {share:.1%} of the {what}, at most {aim:.0%} is the aim"
                       for what, share in (("time", time), ("bytes", read)) if share > aim]
        megabytes = whole["bytes_read"] / 1e6
        print(f"{job:<14}{whole['seconds']:>9.2f}{megabytes:>9.0f}{whole['max_rss_mb']:>9}", *cells, sep="")
    for line in missed:
        print(f"MISSED  {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
