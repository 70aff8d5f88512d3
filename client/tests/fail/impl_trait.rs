use mp_manager::task;

#[task]
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.sum()
}

#[task]
fn numbers() -> impl Iterator<Item = u64> {
    0..3
}

fn main() {}
