#!/usr/bin/env bash
# Drives Segment's unmodified client for browsers, from npm, in a real one, with and without faults on the way, and
# finds all it told.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
. "$here/../lib/node.sh"
. "$here/../lib/chromium.sh"
requirements=$here/../requirements
tools=$(venv_python "$requirements/tools.txt") || skip "cannot install $requirements/tools.txt"
packages=$requirements/segment_browser.json
node_modules=$(node_modules_of "$packages") || skip "cannot install $packages"
chromium=$(find_chromium) || skip "there is no Chromium, and none can be installed"
exec "$tools" "$here/segment_browser_check.py" "$node_modules" "$chromium"
