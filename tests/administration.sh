#!/usr/bin/env bash
# Administers a running server with its API and its commands, and looks at what each makes of the other's changes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(new_python) || skip "Python 3.11 is needed"
exec "$python" "$here/administration.py" "$@"
