#!/usr/bin/env bash
# Sends hostile statements while events keep coming in, and checks that each is refused or bounded, that nobody else's
# rows come back, and that nothing of it is felt by ingest.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(new_python) || skip "Python 3.11 is needed"
exec "$python" "$here/sql.py" "$@"
