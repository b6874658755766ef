//! The corpus of the fuzz targets, and random input of the same kinds, on the stable toolchain.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

#[path = "../fuzz/src/drive.rs"]
mod drive;
#[path = "../fuzz/src/requests.rs"]
mod requests;

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
fn control_corpus() {
    replay("control", drive::control);
}

#[test]
fn streams_corpus() {
    replay("streams", drive::streams);
}

#[test]
fn management_corpus() {
    replay("management", requests::management);
}

proptest! {
    #[test]
    fn random_requests(data in vec(any::<u8>(), 0..600)) {
        requests::management(&data);
    }

    #[test]
    fn random_control_messages(data in vec(any::<u8>(), 0..2000)) {
        drive::control(&data);
    }

    #[test]
    fn random_streams(data in vec(any::<u8>(), 0..600)) {
        drive::streams(&data);
    }
}
