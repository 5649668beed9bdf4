#!/usr/bin/env bash
# Imports tables and lines, is killed meanwhile and started again: every row is in the lake once, and every one is counted.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(new_python) || skip "Python 3.11 is needed"
exec "$python" "$here/import.py" "$@"
