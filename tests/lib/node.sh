# shellcheck shell=bash
# Sourced by the test scripts after venv.sh: npm packages installed once from a package file and used again.

# node_modules_of PACKAGE_JSON: prints the folder `node_modules` with those packages, for NODE_PATH.
# Another content of the file or another Node makes another folder.
node_modules_of() {
  local manifest=$1 cache=${TOUCHLINE_TEST_CACHE:-$HOME/.cache/touchline-tests}
  local version digest folder
  version=$(node --version) && command -v npm >/dev/null || return 1
  digest=$( (echo "$version" && cat "$manifest") | cksum | cut -d ' ' -f 1)
  folder=$cache/$(basename "$manifest" .json)-npm-$digest
  mkdir -p "$cache"
  (
    # Two scripts at once must not fill the same folder.
    if command -v flock >/dev/null; then flock 9; fi
    [ -e "$folder/.ready" ] || make_node_modules "$folder" "$manifest"
  ) 9>"$folder.lock" >&2 || return 1
  printf '%s\n' "$folder/node_modules"
}

make_node_modules() {
  local folder=$1 manifest=$2
  echo "installing $(basename "$manifest") into $folder"
  rm -rf "$folder"
  mkdir "$folder" \
    && cp "$manifest" "$folder/package.json" \
    && npm install --prefix "$folder" --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error \
    && touch "$folder/.ready"
}
