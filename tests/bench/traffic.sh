#!/usr/bin/env bash
# Sessions and distinct visitors by day and campaign source, by our traffic pass and by DuckDB over the same files,
# taking turns; prints times and the ratio. EVENTS (default 10,000,000) is the size of the lake, ROUNDS (default 5) the
# turns, DATA_DIR a directory to keep and use again.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/turns.sh"
# Its files of sessions are made of those of events, if there are none.
generate sessions
beside_duckdb traffic "${ROUNDS:-5}" 3
"$python" "$here/at_most.py" "$results" duckdb 1.2
