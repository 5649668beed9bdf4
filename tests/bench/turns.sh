# shellcheck shell=bash
# Sourced by the benchmarks in which we and a peer take turns over the same files.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
events=${EVENTS:-10000000}
python=$(venv_python "$here/../requirements/bench.txt") || skip "cannot install $here/../requirements/bench.txt"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
data_dir=${DATA_DIR:-$work/data} results=$work/results.jsonl files=$work/files.txt

cd "$here/../.."
# Built together with the server and run as they are: building them alone would build their dependencies a second time.
cargo build --release -p touchline -p touchline-tests
target=${CARGO_TARGET_DIR:-target}

# ours BENCH ARGUMENT…
ours() {
  "$target/release/bench_$1" "${@:2}"
}

# generate BENCH: a lake of that size, unless there is one to be used again.
generate() {
  if [ ! -d "$data_dir/lake/events" ]; then
    echo "generating $events events in $data_dir"
    ours "$1" generate "$data_dir" --events "$events"
  fi
}

# beside_duckdb BENCH ROUNDS TIMES: our pass and DuckDB's over the same files, each so many times in each round.
beside_duckdb() {
  local bench=$1 rounds=$2 times=$3 round
  ours "$bench" files "$data_dir" > "$files"
  for round in $(seq "$rounds"); do
    echo "round $round of $rounds"
    ours "$bench" "$data_dir" --times "$times" | tail -n 1 | tee -a "$results"
    "$python" "$here/peers_$bench.py" "$files" --times "$times" | tee -a "$results"
  done
}
