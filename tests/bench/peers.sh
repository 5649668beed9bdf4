#!/usr/bin/env bash
# peers.sh DATA_DIR: chDB, Polars and DuckDB one after the other over the event files of a data directory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
data_dir=${1:?usage: peers.sh DATA_DIR}
python=$(venv_python "$here/../requirements/bench.txt") || skip "cannot install $here/../requirements/bench.txt"
for engine in chdb polars duckdb; do
  POLARS_MAX_THREADS=2 "$python" "$here/peers_sessions.py" "$engine" "$data_dir"
done
