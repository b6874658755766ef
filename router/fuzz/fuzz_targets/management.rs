#![no_main]

#[path = "../src/drive.rs"]
mod drive;
#[path = "../src/requests.rs"]
mod requests;

libfuzzer_sys::fuzz_target!(|data: &[u8]| requests::management(data));
