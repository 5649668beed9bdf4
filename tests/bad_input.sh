#!/usr/bin/env bash
# Sends what must be refused, and checks each answer and that nothing else is lost.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(venv_python "$here/requirements/tools.txt") || skip "cannot install $here/requirements/tools.txt"
exec "$python" "$here/bad_input.py" "$@"
