#!/usr/bin/env bash
# Merges a lake as ingest leaves it at 100,000 events a second, on one core, and says whether that keeps up with it.
# EVENTS (default 6,000,000: a minute) is the size, DATA_DIR a directory that is used for it and kept.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
python=$(new_python) || skip "Python 3.11 is needed"
events=${EVENTS:-6000000}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data_dir=${DATA_DIR:-$work/data}

cd "$here/../.."
cargo build --release -p touchline -p touchline-tests
bench=${CARGO_TARGET_DIR:-target}/release/bench_compaction
if command -v taskset >/dev/null; then bench="taskset -c 0 $bench"; fi
$bench "$data_dir" --events "$events" | tail -n 1 | tee "$work/result.json"
"$python" - "$work/result.json" <<'PY'
import json, sys

result = json.load(open(sys.argv[1]))
rate, bytes_per_event = result["events_per_second"], result["bytes_per_event"][1]
print(f"{rate:,.0f} events a second on one core (aim: 100,000), {bytes_per_event:.1f} bytes per event (aim: 45), "
      f"written {result['written_times']:.1f} times, {result['max_rss_mb']} MB")
sys.exit(rate < 100_000 or bytes_per_event > 45)
PY
