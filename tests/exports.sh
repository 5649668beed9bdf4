#!/usr/bin/env bash
# Exports on schedules, to a folder and to an S3 of one's own, while the server is killed and late events come: a reader
# who follows the manifests has the rows of the report. KILLS=10 by default, SEED=… to repeat.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(venv_python "$here/requirements/exports.txt") || skip "cannot install $here/requirements/exports.txt"
exec "$python" "$here/exports.py" "$@"
