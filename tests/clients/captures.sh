#!/usr/bin/env bash
# Sends recorded requests of Segment's and RudderStack's clients again, twice, and finds their events once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
tools=$(venv_python "$here/../requirements/tools.txt") || skip "cannot install $here/../requirements/tools.txt"
exec "$tools" "$here/captures_check.py"
