#!/usr/bin/env bash
# The demo's traffic, its jobs, and then the second engine over it: not one cell may differ. Then one file of sessions is
# taken away behind the lake's back, and it must be noticed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
touchline=${TOUCHLINE_BIN:-$target/release/touchline}
# `cargo test --workspace` has built it. Polars takes long to build a second time for release.
verifier=${VERIFIER_BIN:-$target/debug/touchline-verify}
for program in "$touchline" "$verifier"; do
  [ -x "$program" ] || { echo "FAIL  $program is not built"; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TOUCHLINE_DATA_DIR=$work/data

"$touchline" demo --exit >"$work/demo.txt" 2>&1 || { tail -n 30 "$work/demo.txt"; echo "FAIL  the demo"; exit 1; }
echo "ok    the demo has run"
"$touchline" verify --verifier "$verifier" | tee "$work/verify.txt"
echo "ok    both engines agree"
grep -q sessions "$work/verify.txt" || { echo "FAIL  it says nothing of sessions"; exit 1; }

file=$(find "$work/data/lake/sessions" -name '*.parquet' -not -path '*/_changes/*' | sort | sed -n 1p)
mv "$file" "$work/stolen.parquet"
if "$touchline" verify --verifier "$verifier" --tables sessions >"$work/stolen.txt" 2>&1; then
  echo "FAIL  a missing file of sessions was not noticed"
  exit 1
fi
echo "ok    a missing file is noticed: $(tail -n 1 "$work/stolen.txt" | cut -c 1-120)"
