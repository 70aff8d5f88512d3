//! The fuzz targets on their corpus and on random bytes; `.ci/fuzz` runs them for longer.

use std::{collections::BTreeSet, fs, path::Path};

use mp_manager_tests::fuzz::{TARGETS, corpus, objects, seeds};
use proptest::prelude::*;

#[test]
fn the_corpus_breaks_nothing() {
    for (name, _) in TARGETS {
        for file in files(&corpus(name)) {
            let data = fs::read(corpus(name).join(file)).unwrap();
            // Also what is meant for others.
            for (_, target) in TARGETS {
                target(&data);
            }
        }
    }
}

#[test]
fn the_corpus_is_what_the_seeds_are() {
    let hint = "`cargo run -p mp-manager-tests --bin seeds` writes the seeds";
    for (target, _) in TARGETS {
        let seeds: Vec<_> = seeds().into_iter().filter(|seed| seed.0 == target).collect();
        let names = seeds.iter().map(|seed| seed.1.to_owned()).collect();
        let mut there = files(&corpus(target));
        there.retain(|name| !is_added_by_libfuzzer(name));
        assert_eq!(there, names, "{target}: {hint}, and does not remove what is none any more");
        assert!(!there.is_empty(), "{target} has no seeds");
        for (_, name, data) in seeds {
            assert!(
                fs::read(corpus(target).join(name)).unwrap() == data,
                "{target}/{name}: {hint}"
            );
        }
    }
}

#[test]
fn each_target_can_be_run_by_cargo_fuzz() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"));
    let names = TARGETS.map(|(name, _)| name);
    let sources = names.map(|name| format!("{name}.rs"));
    assert_eq!(files(&directory.join("fuzz_targets")), sources.into());
    let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap();
    let declared = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let declared = declared.map(|path| path.trim_end_matches(".rs\"").to_owned()).collect();
    assert_eq!(BTreeSet::from(names.map(str::to_owned)), declared);
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
        objects(&data);
    }
}

fn files(directory: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(directory).expect("the directory is there").flatten();
    files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

/// Its names are hashes.
fn is_added_by_libfuzzer(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
