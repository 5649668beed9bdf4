#!/usr/bin/env bash
# Sessions over the same files by our job and by chDB, Polars and DuckDB, taking turns; prints times and ratios.
# WRITE=1 lets everybody write the sessions to a Parquet file as well. EVENTS (default 10,000,000) is the size, ROUNDS (default 3) the turns, DATA_DIR a directory to keep and use again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
events=${EVENTS:-10000000} rounds=${ROUNDS:-3} write=${WRITE:+--write}
python=$(venv_python "$here/../requirements/bench.txt") || skip "cannot install $here/../requirements/bench.txt"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data_dir=${DATA_DIR:-$work/data} results=$work/results.jsonl

cd "$here/../.."
cargo build --release -p touchline -p touchline-tests
target=${CARGO_TARGET_DIR:-target}
# Built together with the server and run as it is: building it alone would build its dependencies a second time.
ours() { "$target/release/bench_sessions" "$@"; }

if [ ! -d "$data_dir/lake/events" ]; then
  echo "generating $events events in $data_dir"
  ours generate "$data_dir" --events "$events"
fi
for round in $(seq "$rounds"); do
  echo "round $round of $rounds"
  ours "$data_dir" --times 2 $write | tail -n 1 | tee -a "$results"
  for engine in chdb polars duckdb; do
    POLARS_MAX_THREADS=2 "$python" "$here/peers_sessions.py" "$engine" "$data_dir" --times 2 $write | tee -a "$results"
  done
done
"$python" "$here/ratios.py" "$results"
