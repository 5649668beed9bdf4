#!/usr/bin/env bash
# Opens pages that carry the snippet in a real Chromium, and looks at what arrives in the lake: through navigation,
# outages, closed tabs, refused consent, and answers that ask for another try.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
. "$here/lib/chromium.sh"
python=$(new_python) || skip "Python 3.11 is needed"
CHROMIUM=$(find_chromium) || skip "there is no Chromium, and none can be installed"
export CHROMIUM
exec "$python" "$here/snippet.py" "$@"
