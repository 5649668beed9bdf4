#!/usr/bin/env bash
# Asks a running server for more than it allows, and then, without limits of its own, for as much as a quick client does.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec "${PYTHON:-python3}" "$here/limits.py" "$@"
