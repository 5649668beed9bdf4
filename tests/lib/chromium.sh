# shellcheck shell=bash
# Sourced, after venv.sh, by the test scripts that need a browser.

# find_chromium: prints the path of Chromium: `CHROMIUM`, or the system's, which is installed where that can be done
# without asking anybody (Debian, as root).
find_chromium() {
  local name
  for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
    [ -z "$name" ] || ! command -v "$name" || return 0
  done
  [ -z "${CHROMIUM:-}" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
  {
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends chromium
  } >&2 && command -v chromium
}
