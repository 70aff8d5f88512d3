use mp_manager::task;

#[task]
fn square(x: i64) -> i64 {
    x * x
}

fn main() {
    square("a");
    square(1, 2);
}
