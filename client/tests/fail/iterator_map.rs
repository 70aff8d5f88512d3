use mp_manager::task;

#[task]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {
    let _: Vec<i64> = (0..3).map(square).collect();
}
