//! The fuzzer: `FUZZ_TARGET=segment_batch fuzz CORPUS_FOLDER -max_total_time=60`, as `tests/fuzz.sh` builds and calls it.

#![no_main]
#![allow(unsafe_code, reason = "the fuzzer's library calls this program, and not the other way round")]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use touchline_fuzz::Target;

#[expect(clippy::disallowed_methods, clippy::panic, reason = "the fuzzer's own arguments cannot name a target")]
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    Target::find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET names no target: `{name}`"))
});

fuzz_target!(|bytes: &[u8]| TARGET.give(bytes));
