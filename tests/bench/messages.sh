#!/usr/bin/env bash
# Rollups of messages from their events, by our pass and by DuckDB over the same files, taking turns; prints times and
# the ratio. EVENTS (default 10,000,000) is the size of the lake, ROUNDS (default 3) the turns, DATA_DIR a directory to
# keep and use again.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/turns.sh"
generate messages
beside_duckdb messages "${ROUNDS:-3}" 2
ours messages "$data_dir" --write --times 1
"$python" "$here/at_most.py" "$results" duckdb 0.7
