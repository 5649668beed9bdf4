#!/usr/bin/env bash
# Drives PostHog's unmodified clients from PyPI and npm, with and without faults on the way, and finds all they told.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../lib/venv.sh"
. "$here/../lib/node.sh"
requirements=$here/../requirements
tools=$(venv_python "$requirements/tools.txt") || skip "cannot install $requirements/tools.txt"
python=$(venv_python "$requirements/posthog.txt") || skip "cannot install $requirements/posthog.txt"
node_modules=$(node_modules_of "$requirements/posthog.json") || skip "cannot install $requirements/posthog.json"
exec "$tools" "$here/posthog_check.py" "$python" "$node_modules"
