//! Everything that the fuzzer was given to start with, and what it has found: each file whole, cut off, and damaged.

use std::fs;
use std::path::Path;

use touchline_fuzz::TARGETS;

#[test]
fn nothing_of_the_corpus_breaks_a_receiver_or_a_parser() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let files = fs::read_dir(corpus.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut given = 0;
        for file in files {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            target.give(&bytes);
            let step = (bytes.len() / 50).max(1);
            for place in (0..bytes.len()).step_by(step) {
                target.give(&bytes[..place]);
                let mut damaged = bytes.clone();
                damaged[place] ^= 0x10;
                target.give(&damaged);
            }
            given += 1;
        }
        assert!(given > 0, "{name} has no corpus");
    }
}
