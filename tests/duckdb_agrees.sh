#!/usr/bin/env bash
# Computes sessions, visitors and traffic once more with DuckDB, from the same Parquet files, and compares row for row.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(venv_python "$here/requirements/tools.txt") || skip "cannot install $here/requirements/tools.txt"
exec "$python" "$here/duckdb_agrees.py" "$@"
