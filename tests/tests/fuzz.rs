//! The fuzz targets on known bytes and on random ones; `cargo fuzz` runs them for longer.

use std::collections::BTreeSet;

use mp_manager_tests::fuzz::TARGETS;
use proptest::prelude::*;

/// What once made a difference, or looks as if it could.
const CORPUS: [&[u8]; 16] = [
    b"",
    &[0],
    &[0xff; 64],
    // Containers that announce more than there is.
    &[0xdd, 0xff, 0xff, 0xff, 0xff],
    &[0xdf, 0xff, 0xff, 0xff, 0xff, 1],
    &[0xc6, 0xff, 0xff, 0xff, 0xff, 1],
    // Deeper than anything may be.
    &[0x91; 4096],
    &[0x81; 4096],
    // -0.0 and NaN.
    &[0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0, 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1],
    // A map whose keys stand in the wrong order.
    &[0x82, 2, 0, 1, 0],
    // A reference to dict 1 of manager 0, and one that is too short.
    &[0xc7, 18, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0],
    &[0xd6, 1, 0, 0, 0, 0],
    // A frame that acknowledges everything.
    &[8, 1, 18, 11, 16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    b"[::1]:7117",
    b"unix:///run/manager.sock",
    b"tcp://[::1",
];

#[test]
fn what_is_known_to_be_hard_breaks_nothing() {
    for data in CORPUS {
        for (_, target) in TARGETS {
            target(data);
        }
    }
}

#[test]
fn each_target_can_be_run_by_cargo_fuzz() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/fuzz_targets");
    let files: BTreeSet<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(files, TARGETS.map(|(name, _)| name.to_owned()).into());
}

proptest! {
    #[test]
    fn random_bytes_break_nothing(data in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, target) in TARGETS {
            target(&data);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_operations_break_no_object(data in prop::collection::vec(any::<u8>(), 0..1000)) {
        mp_manager_tests::fuzz::objects(&data);
    }
}
