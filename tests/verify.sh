#!/usr/bin/env bash
# The demo's traffic, its jobs, and then the second engine over it: not one cell of any table may differ. Then one file of
# sessions is taken away behind the lake's back, and it must be noticed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
touchline=${TOUCHLINE_BIN:-$target/release/touchline}
# `cargo test --workspace` has built it. Polars takes long to build a second time for release.
verifier=${VERIFIER_BIN:-$target/debug/touchline-verify}
# Enough of a shop for rows in every table.
events=20000
tables=(sessions identity_edges identities visitors touchpoints attribution traffic_rollups message_deliveries
  message_rollups sequence_runs sequence_metrics)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TOUCHLINE_DATA_DIR=$work/data TMPDIR=$work

# fail WHAT [OUTPUT]: ends the script, with the end of an output.
fail() {
  [ -z "${2:-}" ] || tail -n 40 "$2"
  echo "FAIL  $1"
  exit 1
}

# verify OUTPUT ARGUMENT…: returns the exit code.
verify() {
  local output=$1
  shift
  "$touchline" verify --verifier "$verifier" "$@" >"$output" 2>&1
}

for program in "$touchline" "$verifier"; do
  [ -x "$program" ] || fail "$program is not built"
done

"$touchline" demo --exit --events "$events" --listen 127.0.0.1:0 >"$work/demo.txt" 2>&1 || fail 'the demo' "$work/demo.txt"
echo "ok    the demo has run"

verify "$work/said.txt" || fail 'the engines do not agree' "$work/said.txt"
cat "$work/said.txt"
for table in "${tables[@]}"; do
  rows=$(sed -nE "s/^$table: ([0-9]+) rows, 0 differ$/\1/p" "$work/said.txt")
  [ "${rows:-0}" -gt 0 ] || fail "no row of $table was compared"
done
echo "ok    both engines agree on rows of all ${#tables[@]} tables"
known=$(grep -cE '^[a-z_]+: [0-9]+ rows, ' "$work/said.txt")
[ "$known" -eq "${#tables[@]}" ] || fail "$known tables were compared; this script knows ${#tables[@]}"
! grep -q 'not verified' "$work/said.txt" || fail 'something was not verified'
echo "ok    nothing was left out"

file=$(find "$work/data/lake/sessions" -path '*/account_id=*' -name '*.parquet' | sort | sed -n 1p)
[ -n "$file" ] || fail 'there is no file of sessions'
mv "$file" "$work/stolen.parquet"
code=0
verify "$work/stolen.txt" --tables sessions || code=$?
[ "$code" -eq 1 ] || fail "with a file of sessions missing it ends with $code, not 1" "$work/stolen.txt"
grep -qF "$(basename "$file")" "$work/stolen.txt" || fail 'it does not name the missing file' "$work/stolen.txt"
echo "ok    a missing file is noticed: $(tail -n 1 "$work/stolen.txt" | cut -c 1-120)"
mv "$work/stolen.parquet" "$file"
verify "$work/again.txt" --tables sessions || fail 'it is not content when the file is back' "$work/again.txt"
echo "ok    and when it is back, all is well"
