#!/usr/bin/env bash
# Drives Plausible's unmodified clients from npm in a real browser, with and without faults on the way, and finds all
# they told.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
. "$here/../lib/node.sh"
. "$here/../lib/chromium.sh"
requirements=$here/../requirements
tools=$(venv_python "$requirements/tools.txt") || skip "cannot install $requirements/tools.txt"
node_modules=$(node_modules_of "$requirements/plausible.json") || skip "cannot install $requirements/plausible.json"
chromium=$(find_chromium) || skip "there is no Chromium, and none can be installed"
exec "$tools" "$here/plausible_check.py" "$node_modules" "$chromium"
