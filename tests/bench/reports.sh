#!/usr/bin/env bash
# How long each report takes over a month of a shop's traffic, first and again, one at a time and eight at once; how fast
# rows come as CSV; and how much memory the server takes. EVENTS (default 10,000,000) is the size of the shop, DATA_DIR a
# directory to keep.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
python=$(new_python) || skip "Python 3.11 is needed"
cd "$here/../.."
cargo build --release -p touchline
exec "$python" "$here/reports.py" "$@"
