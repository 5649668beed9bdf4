#!/usr/bin/env bash
# Sessions over the same files by our job and by chDB, Polars and DuckDB, taking turns; prints times and ratios.
# WRITE=1 lets everybody write the sessions to a Parquet file as well. EVENTS (default 10,000,000) is the size, ROUNDS
# (default 3) the turns, DATA_DIR a directory to keep and use again.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/turns.sh"
rounds=${ROUNDS:-3} write=${WRITE:+--write}
generate sessions
for round in $(seq "$rounds"); do
  echo "round $round of $rounds"
  ours sessions "$data_dir" --times 2 $write | tail -n 1 | tee -a "$results"
  for engine in chdb polars duckdb; do
    POLARS_MAX_THREADS=2 "$python" "$here/peers_sessions.py" "$engine" "$data_dir" --times 2 $write | tee -a "$results"
  done
done
"$python" "$here/ratios.py" "$results"
