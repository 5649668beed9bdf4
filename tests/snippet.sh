#!/usr/bin/env bash
# Opens pages that carry the snippet in a real Chromium, and looks at what arrives in the lake: through navigation,
# outages, closed tabs, refused consent, and answers that ask for another try.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
. "$here/lib/chromium.sh"
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || skip "$python is older than 3.11"
CHROMIUM=$(find_chromium) || skip "there is no Chromium here, and it cannot be installed"
export CHROMIUM
exec "$python" "$here/snippet.py" "$@"
