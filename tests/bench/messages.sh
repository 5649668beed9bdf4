#!/usr/bin/env bash
# Rollups of messages from their events, by our pass and by DuckDB over the same files, taking turns; prints times and
# the ratio. EVENTS (default 10,000,000) is the size of the lake, ROUNDS (default 3) the turns, DATA_DIR a directory to
# keep and use again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
events=${EVENTS:-10000000} rounds=${ROUNDS:-3}
python=$(venv_python "$here/../requirements/bench.txt") || skip "cannot install $here/../requirements/bench.txt"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data_dir=${DATA_DIR:-$work/data} results=$work/results.jsonl files=$work/files.txt

cd "$here/../.."
cargo build --release -p touchline -p touchline-tests
target=${CARGO_TARGET_DIR:-target}

if [ ! -d "$data_dir/lake/events" ]; then
  echo "generating $events events in $data_dir"
  "$target/release/bench_messages" generate "$data_dir" --events "$events"
fi
"$target/release/bench_messages" files "$data_dir" > "$files"
for round in $(seq "$rounds"); do
  echo "round $round of $rounds"
  "$target/release/bench_messages" "$data_dir" --times 2 | tail -n 1 | tee -a "$results"
  "$python" "$here/peers_messages.py" "$files" --times 2 | tee -a "$results"
done
"$target/release/bench_messages" "$data_dir" --write --times 1
"$python" "$here/at_most.py" "$results" duckdb 0.7
