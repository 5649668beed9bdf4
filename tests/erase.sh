#!/usr/bin/env bash
# Erases a person beside a running server and without one, then looks for them in every byte of the data directory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(venv_python "$here/requirements/tools.txt") || skip "cannot install $here/requirements/tools.txt"
exec "$python" "$here/erase.py" "$@"
