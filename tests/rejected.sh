#!/usr/bin/env bash
# Sends what must be refused, puts it right and sends it again, by command and over the API: each event is stored once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(new_python) || skip "Python 3.11 is needed"
exec "$python" "$here/rejected.py" "$@"
