//! The corpus of the fuzz targets, and random input of the same kinds, on the stable toolchain.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

#[path = "../fuzz/src/drive.rs"]
mod drive;

use proptest::collection::vec;
use proptest::prelude::*;

fn replay(target: &str, run: fn(&[u8])) {
    let directory = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).unwrap() {
        run(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "{directory} is empty");
}

#[test]
fn frames_corpus() {
    replay("frames", drive::frames);
}

#[test]
fn engine_corpus() {
    replay("engine", drive::engine);
}

proptest! {
    #[test]
    fn random_peers(mode in any::<u8>(), data in vec(any::<u8>(), 0..600)) {
        let mut input = vec![mode - mode % 3];
        input.extend_from_slice(b"AMQP\0\x01\0\0");
        input.extend_from_slice(&data);
        drive::engine(&input);
    }

    #[test]
    fn random_scripts(data in vec(any::<u8>(), 0..3000)) {
        let mut input = vec![2];
        input.extend_from_slice(&data);
        drive::engine(&input);
    }
}
