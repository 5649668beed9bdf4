#!/usr/bin/env bash
# Drives RudderStack's unmodified clients from PyPI and npm, with and without faults on the way, and finds all they
# told.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
. "$here/../lib/node.sh"
requirements=$here/../requirements
tools=$(venv_python "$requirements/tools.txt") || skip "cannot install $requirements/tools.txt"
python=$(venv_python "$requirements/rudder.txt") || skip "cannot install $requirements/rudder.txt"
node_modules=$(node_modules_of "$requirements/rudder.json") || skip "cannot install $requirements/rudder.json"
exec "$tools" "$here/rudder_check.py" "$python" "$node_modules"
