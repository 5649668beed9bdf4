#!/usr/bin/env bash
# Sessions and distinct visitors by day and campaign source, by our traffic pass and by DuckDB over the same files,
# taking turns; prints times and the ratio. EVENTS (default 10,000,000) is the size of the lake, ROUNDS (default 5) the
# turns, DATA_DIR a directory to keep and use again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
events=${EVENTS:-10000000} rounds=${ROUNDS:-5}
python=$(venv_python "$here/../requirements/bench.txt") || skip "cannot install $here/../requirements/bench.txt"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data_dir=${DATA_DIR:-$work/data} results=$work/results.jsonl files=$work/files.txt

cd "$here/../.."
cargo build --release -p touchline -p touchline-tests
target=${CARGO_TARGET_DIR:-target}

if [ ! -d "$data_dir/lake/events" ]; then
  echo "generating $events events in $data_dir"
  "$target/release/bench_sessions" generate "$data_dir" --events "$events"
fi
"$target/release/bench_traffic" files "$data_dir" > "$files"
for round in $(seq "$rounds"); do
  echo "round $round of $rounds"
  "$target/release/bench_traffic" "$data_dir" --times 3 | tail -n 1 | tee -a "$results"
  "$python" "$here/peers_traffic.py" "$files" --times 3 | tee -a "$results"
done
"$python" "$here/at_most.py" "$results" duckdb 1.2
