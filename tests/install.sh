#!/usr/bin/env bash
# Installs what the scripts need, once: Python environments, npm packages, Chromium. Each script would do that for itself,
# in the time that it has. What only the benchmarks need is left to them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
. "$here/lib/node.sh"
. "$here/lib/chromium.sh"
for requirements in "$here"/requirements/*.txt; do
  [ "$requirements" != "$here/requirements/bench.txt" ] || continue
  venv_python "$requirements" || skip "cannot install $requirements"
done
for packages in "$here"/requirements/*.json; do
  node_modules_of "$packages" || skip "cannot install $packages"
done
find_chromium || skip "there is no Chromium, and none can be installed"
