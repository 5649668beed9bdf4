#!/usr/bin/env bash
# Lets libFuzzer make up bodies and files for every receiver and parser, for a few seconds each (SECONDS_EACH), from the
# corpus in tests/fuzz/corpus. What breaks one is kept under $ARTIFACTS, to be put into the corpus with its mend.
# Needs a C++ compiler. Only our own crates are built anew, with what the fuzzer needs to see where it has been.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/.."
. "$here/lib/venv.sh"
command -v c++ >/dev/null || skip 'there is no C++ compiler'

seconds_each=${SECONDS_EACH:-10}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
artifacts=${ARTIFACTS:-$work/artifacts}
mkdir -p "$artifacts"
targets=${*:-$(ls tests/fuzz/corpus)}

export RUSTC_WORKSPACE_WRAPPER=$here/fuzz/rustc.sh
cargo build --workspace --features touchline-fuzz/libfuzzer --bin fuzz
fuzz=${CARGO_TARGET_DIR:-target}/debug/fuzz

failed=0
for target in $targets; do
  mkdir -p "$work/$target"
  # What it finds on its way goes into the first folder.
  if FUZZ_TARGET=$target "$fuzz" "$work/$target" "tests/fuzz/corpus/$target" -max_total_time="$seconds_each" \
    -max_len=4096 -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$artifacts/$target-" \
    >"$work/$target.log" 2>&1
  then
    echo "ok    $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$target.log") inputs"
  else
    tail -n 40 "$work/$target.log"
    echo "FAIL  $target"
    failed=1
  fi
done
[ -z "$(ls "$artifacts")" ] || for file in "$artifacts"/*; do echo "$(basename "$file"): $(base64 -w0 "$file")"; done
exit "$failed"
