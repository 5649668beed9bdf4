#!/usr/bin/env bash
# Every job in full over 30 days, then with 1 % new events on the last day, then with 0.1 % late events over all days;
# prints time and bytes read of each as shares of the full run. EVENTS (default 10,000,000) is the size, DATA_DIR a
# directory for the lake, which must not exist.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
python=$(new_python) || skip "Python 3.11 is needed"
events=${EVENTS:-10000000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data_dir=${DATA_DIR:-$work/data}

cd "$here/../.."
cargo build --release -p touchline -p touchline-tests
"${CARGO_TARGET_DIR:-target}/release/bench_incremental" "$data_dir" --events "$events" | tee "$work/out.txt"
tail -n 1 "$work/out.txt" > "$work/result.json"
"$python" "$here/shares.py" "$work/result.json"
