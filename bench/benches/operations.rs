//! How long single operations take, each in the state of a fresh process: the work whose instructions
//! `.ci/instructions` counts, timed.
//!
//! ```sh
//! cargo bench -p mp-manager-bench --no-default-features --features instructions
//! cargo bench -p mp-manager-bench --no-default-features --features instructions -- client/get
//! ```

use divan::{Bencher, counter::ItemsCount};
use mp_manager_bench::operations::{ROWS, Row};

/// Operations in a sample: a multiple of what any of them does at a time.
const OPERATIONS: u32 = 10_240;

fn main() {
    divan::main();
}

#[divan::bench(args = ROWS, sample_count = 20, sample_size = 1)]
fn operation(bencher: Bencher<'_, '_>, row: &Row) {
    let work = || (row.work)(OPERATIONS).unwrap_or_else(|error| panic!("{row}: {error}"));
    bencher.counter(ItemsCount::new(OPERATIONS)).bench_local(work);
}
