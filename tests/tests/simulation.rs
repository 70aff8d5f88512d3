//! A few hundred seeds of the simulation; the program `sim` runs as many as there is time for.

use mp_manager_sim::run;

#[test]
fn nothing_goes_wrong_that_must_not() {
    for seed in 1..=300 {
        let report = run(seed, false);
        assert!(report.violations.is_empty(), "{report:#?}");
    }
}

#[test]
fn a_seed_decides_everything_that_happens() {
    for seed in 1..=30 {
        assert_eq!(run(seed, false).hash, run(seed, false).hash, "seed {seed}");
    }
}
