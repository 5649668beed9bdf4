#!/usr/bin/env bash
# Drives Umami's unmodified client from npm, with and without faults on the way, and finds all it told.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
. "$here/../lib/node.sh"
requirements=$here/../requirements
tools=$(venv_python "$requirements/tools.txt") || skip "cannot install $requirements/tools.txt"
node_modules=$(node_modules_of "$requirements/umami.json") || skip "cannot install $requirements/umami.json"
exec "$tools" "$here/umami_check.py" "$node_modules"
