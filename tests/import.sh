#!/usr/bin/env bash
# Imports tables and lines, is killed meanwhile and started again: every row is in the lake once, and every one is counted.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
exec "${PYTHON:-python3}" "$here/import.py" "$@"
