#!/usr/bin/env bash
# Posts a mix of events and reads the lake with Polars and DuckDB.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(venv_python "$here/requirements/tools.txt") || skip "cannot install $here/requirements/tools.txt"
exec "$python" "$here/lake_readers.py" "$@"
