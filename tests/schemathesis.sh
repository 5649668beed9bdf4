#!/usr/bin/env bash
# Lets Schemathesis make up requests from the description of the API: nothing it thinks of may end in a 5xx, or be
# answered in another way than the description says.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(venv_python "$here/requirements/schemathesis.txt") || skip "cannot install $here/requirements/schemathesis.txt"
exec "$python" "$here/schemathesis_run.py" "$@"
