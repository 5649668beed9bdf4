#!/usr/bin/env bash
# Reads every report in every format with readers that are not ours, and compares the rows.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(venv_python "$here/requirements/tools.txt") || skip "cannot install $here/requirements/tools.txt"
exec "$python" "$here/formats.py" "$@"
