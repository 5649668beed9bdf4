#!/usr/bin/env bash
# Asks a running server for more than it allows, and then, without limits of its own, for as much as a quick client does.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(new_python) || skip "Python 3.11 is needed"
exec "$python" "$here/limits.py" "$@"
