#!/usr/bin/env bash
# Administers a running server with its API and its commands, and looks at what each makes of the other's changes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec "${PYTHON:-python3}" "$here/administration.py" "$@"
