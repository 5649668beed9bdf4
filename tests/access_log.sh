#!/usr/bin/env bash
# Imports a real access log twice and recomputes its sessions from the text.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(venv_python "$here/requirements/tools.txt") || skip "cannot install $here/requirements/tools.txt"
exec "$python" "$here/access_log.py" "$@"
