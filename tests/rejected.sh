#!/usr/bin/env bash
# Sends what must be refused, puts it right and sends it again, by command and over the API: each event is stored once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec "${PYTHON:-python3}" "$here/rejected.py" "$@"
