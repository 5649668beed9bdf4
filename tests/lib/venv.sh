# shellcheck shell=bash
# Sourced by the test scripts: the Python that they need, and environments made once from a requirements file and used
# again.

# No compiled files beside the sources.
export PYTHONDONTWRITEBYTECODE=1

# Says why a script cannot run here. By hand that is no error; in CI nothing may be left out.
skip() {
  echo "skipped: $1"
  [ -z "${CI:-}" ] || exit 1
  exit 0
}

# new_python: prints the interpreter, if it is new enough.
new_python() {
  local python=${PYTHON:-python3}
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >&2 && printf '%s\n' "$python"
}

# venv_python REQUIREMENTS: prints the interpreter of the environment with those packages.
# Another content of the file or another Python makes another environment.
venv_python() {
  local requirements=$1 cache=${TOUCHLINE_TEST_CACHE:-$HOME/.cache/touchline-tests}
  local python version digest folder
  python=$(new_python) || return 1
  version=$("$python" -c 'import sys; print(sys.version, sys.prefix)')
  digest=$( (echo "$version" && cat "$requirements") | cksum | cut -d ' ' -f 1)
  folder=$cache/$(basename "$requirements" .txt)-$digest
  mkdir -p "$cache"
  (
    # Two scripts at once must not fill the same folder.
    if command -v flock >/dev/null; then flock 9; fi
    [ -e "$folder/.ready" ] || make_venv "$python" "$folder" "$requirements"
  ) 9>"$folder.lock" >&2 || return 1
  printf '%s\n' "$folder/bin/python"
}

make_venv() {
  local python=$1 folder=$2 requirements=$3
  echo "installing $(basename "$requirements") into $folder"
  rm -rf "$folder"
  "$python" -m venv "$folder" \
    && "$folder/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" \
    && touch "$folder/.ready"
}
