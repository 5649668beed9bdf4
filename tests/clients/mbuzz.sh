#!/usr/bin/env bash
# Drives the unmodified PyPI client mbuzz, 0.1.0 and 0.11.1, replays recordings, and finds all of it in the reports.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
requirements=$here/../requirements
tools=$(venv_python "$requirements/tools.txt") || skip "cannot install $requirements/tools.txt"
oldest=$(venv_python "$requirements/mbuzz-0.1.0.txt") || skip "cannot install mbuzz 0.1.0"
newest=$(venv_python "$requirements/mbuzz-0.11.1.txt") || skip "cannot install mbuzz 0.11.1"
exec "$tools" "$here/mbuzz_check.py" "$oldest" "$newest"
