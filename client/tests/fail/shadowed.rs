use mp_manager::task;

#[task]
fn count(x: i64) -> i64 {
    x
}

fn main() {
    let count = count(3);
}
