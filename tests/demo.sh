#!/usr/bin/env bash
# The README's commands as a new user types them: the demo comes up and its curl lines answer; then a server for real,
# with an account, an event, reports, an import, and other engines over its tables. What the README shows is what comes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
python=$(venv_python "$here/requirements/tools.txt") || skip "cannot install $here/requirements/tools.txt"
cd "$here/.."
# How long that takes says nothing of the demo.
cargo build --release
exec timeout --kill-after=10 "${DEMO_LIMIT_S:-600}" "$python" "$here/demo.py" "$@"
