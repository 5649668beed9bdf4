#!/usr/bin/env bash
# The README's commands as a new user types them: the demo comes up, its curl lines answer, SIGTERM ends it with code 0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command=(cargo run --release -- demo)
limit_s=${DEMO_LIMIT_S:-240}
work=$(mktemp -d)
out=$work/stdout err=$work/stderr pid=

# Whatever happens, the server that was started here does not outlive the script.
finish() {
  local code=$?
  [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
  if [ "$code" -ne 0 ]; then
    echo "FAIL  the demo; the end of what it printed:"
    tail -n 40 "$out" "$err" || true
  fi
  rm -rf "$work"
}
trap finish EXIT

for line in "${command[*]}" 'cargo test --workspace'; do
  grep -qF "$line" README.md || { echo "FAIL  README.md does not say \`$line\`"; exit 1; }
  echo "ok    README.md says \`$line\`"
done

# Not into the checkout.
export TOUCHLINE_DATA_DIR=$work/data
started=$SECONDS
"${command[@]}" >"$out" 2>"$err" &
pid=$!

# The curl lines come last; a line that ends in a backslash goes on in the next.
curl_lines() {
  sed -e ':join' -e '/\\$/{N;s/\\\n//;bjoin' -e '}' "$out" | grep -oE 'curl .*' || true
}

until [ "$(curl_lines | wc -l)" -ge 3 ]; do
  kill -0 "$pid" 2>/dev/null || { echo "it ended by itself"; exit 1; }
  [ $((SECONDS - started)) -lt "$limit_s" ] || { echo "no curl lines within $limit_s s"; exit 1; }
  sleep 0.5
done
echo "ok    it printed three curl lines after $((SECONDS - started)) s"
cat "$out"
grep -qE 'http://[^ ]+:[0-9]+' "$out" || { echo "no address printed"; exit 1; }

while read -r line; do
  answer=$(bash -c "${line/#curl /curl --fail --silent --show-error --max-time 30 }")
  [ -n "$answer" ] || { echo "an empty answer to: $line"; exit 1; }
  echo "ok    ${#answer} characters in answer to: ${line:0:90}"
done < <(curl_lines)

kill -TERM "$pid"
code=0
wait "$pid" || code=$?
pid=
[ "$code" -eq 0 ] || { echo "exit code $code on SIGTERM"; exit 1; }
echo "ok    SIGTERM ends it with exit code 0"
! grep -q panicked "$err" || { echo "it panicked"; exit 1; }
echo "ok    nothing panicked"
