#!/usr/bin/env bash
# Kills the server at random moments under load; KILLS=100 by default, SEED=… to repeat.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(venv_python "$here/requirements/tools.txt") || skip "cannot install $here/requirements/tools.txt"
exec "$python" "$here/kill.py" "$@"
